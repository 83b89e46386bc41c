import re
from dataclasses import replace

import pytest
from fabricate import AUDIT, CONTEXT

from actionrec.evaluation.analyses import ClassScore, Missed
from actionrec.report import errors

MODELS = ("gru", "lstm", "transformer")


def score(name, f1=0.5, clips=4):
    return ClassScore(name, clips, 0.5, 0.25, f1)


def audited(**changes):
    return {**AUDIT, "siblings": 0, "copied": 0, "copies": [], **changes}


def near(**changes):
    return {**AUDIT["near"], **changes}


def tables(text):
    """Cells of each row of each table."""
    found = []
    for block in text.split("\n\n"):
        if block.startswith("| "):
            found.append([[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in block.splitlines()])
    return found


@pytest.mark.parametrize("classes", [1, 60, 61, 700])
def test_classes_are_in_order_of_their_scores_and_many_are_cut(classes):
    scores = [score(f"class{place}", f1=1 - place / classes, clips=1 + place) for place in range(classes)]
    text = errors.class_scores(scores, "gru", CONTEXT)
    assert text.startswith("## Scores per class of gru\n")
    body = tables(text)[0][2:]
    names = [f"class{place}" for place in range(classes - 1, -1, -1)]
    assert [row[0] for row in body] == (names if classes <= 60 else [*names[:20], "…", *names[-20:]])
    assert ("[per_class.csv](per_class.csv) has all classes of all models." in text) == (classes > 60)
    assert "it depends on a single clip" in text


def test_missed_clips_are_named_and_counted():
    answers = {"gru": "c", "lstm": "b", "transformer": "c"}
    rows = [Missed(f"a/{place:02}.avi", "a", answers) for place in range(25)]
    text = errors.missed([*rows, Missed("z.avi", "a", dict.fromkeys(MODELS, "d"))], CONTEXT)
    body = tables(text)[0][2:]
    assert len(body) == 20
    assert body[0] == ["a/00.avi", "a", "c", "2 of 3"]
    assert "And 6 more." in text
    assert "26 of 100 test clips, 26.0 %. All models agree on 1 of them" in text
    assert "(../plots/missed_by_all.png)" in text
    assert "And " not in errors.missed(rows[:20], CONTEXT)


def test_equal_votes_go_to_the_first_name():
    rows = [Missed("a", "a", {"gru": "c", "lstm": "b"}), Missed("a", "a", {"lstm": "b", "gru": "c"})]
    assert {tuple(row[2:]) for row in tables(errors.missed(rows, CONTEXT))[0][2:]} == {("b", "1 of 2")}


def test_without_missed_clips_there_is_no_table():
    text = errors.missed([], CONTEXT)
    assert "None: at least one model classifies each test clip correctly." in text
    assert "|" not in text
    assert "png" not in text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"siblings": 39, "sibling_share": 0.975}, "**Siblings in training: 39 of 40 test clips.**"),
        ({"copied": 2, "copied_share": 0.05}, "**Copies in training: 2 of 40 test clips.**"),
        ({"near": near()}, "**Near-duplicates that are not siblings by name: 1 of 40 test clips.**"),
        ({"near": near(flagged=0, strangers=0, threshold=0.995)}, "No siblings, copies or near-duplicates found."),
        (
            {"near": near(flagged=0, strangers=0, threshold=0.995)},
            "Most similar pair: a/v_1.avi and a/v_2.avi in training, 0.991.",
        ),
        ({"near": None}, "No siblings or copies found."),
        ({"near": None}, "Near-duplicates were not searched"),
        ({"near": near(unrelated_pairs=0)}, "its threshold is a default."),
        ({"copies": [{"clips": ["a.avi", "b.avi"], "subsets": ["test", "val"]}]}, "a.avi (test), b.avi (val)"),
    ],
)
def test_audit_states_its_findings(changes, sentence):
    assert sentence in errors.audit(audited(**changes), CONTEXT)


def test_audit_lists_only_flagged_pairs_and_their_relation():
    pairs = [
        {"test": f"t{place}", "train": "r", "similarity": 0.999 - place / 1000, "same_class": place < 2, "sibling": place < 1}
        for place in range(20)
    ]
    text = errors.audit(audited(near=near(top=pairs, threshold=0.9955, flagged=4, strangers=3)), CONTEXT)
    assert [row[-1] for row in tables(text)[1][2:]] == ["siblings", "same class", "different classes", "different classes"]
    text = errors.audit(audited(near=near(top=pairs, threshold=0.9, flagged=33)), CONTEXT)
    assert "And 13 more." in text


def test_audit_states_its_limits():
    text = errors.audit(audited(), replace(CONTEXT, weights="random", clips_without_group=7))
    assert "**The backbone is untrained**" in text
    assert "The names of 7 clips do not tell their source video" in text
    plain = errors.audit(audited(), CONTEXT)
    assert "untrained" not in plain
    assert "The search can miss leaks." in plain
