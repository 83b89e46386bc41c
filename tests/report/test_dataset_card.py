import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from fabricate import AUDIT, CONTEXT
from ruamel.yaml import YAML

from actionrec.data.clips import Clip
from actionrec.report.card import RIGHTS
from actionrec.report.dataset_card import CLASSES_HEADER, LICENCES, PUBLISHED, DatasetRecords, class_rows, dataset_card
from actionrec.video.frame_settings import Snippet

ROOT = Path(__file__).parents[2]
SUBSET_OF_GROUP = {"g1": "train", "g2": "train", "g3": "val", "g4": "test"}


def ledger_row(clip, frames, *, padded=0, warning="", error=""):
    values = {"header_frames": frames, "decoded_frames": frames, "unique_frames": 32, "padded": padded}
    return {"clip": clip, **{key: str(value) for key, value in values.items()}, "decoder": "", "warning": warning, "error": error}


def records(**changes):
    """Two classes in four groups; each group has two clips of class a and one of class b."""
    clips = [
        Clip(f"{label}/{group}-{number}.avi", label, group, 500_000, f"{label}{group}{number}")
        for label, count in (("a", 2), ("b", 1))
        for group in SUBSET_OF_GROUP
        for number in range(count)
    ]
    values = {
        "context": replace(CONTEXT, dataset="mine", clips=len(clips), padded=0, failed=0, class_names=("a", "b")),
        "validation": 0.2,
        "clips": clips,
        "subset_of": {clip.id: SUBSET_OF_GROUP[clip.group] for clip in clips},
        "ledger": [ledger_row(clip.id, 40 + place) for place, clip in enumerate(clips)],
        "frames": {"count": 32, "resolution": 224, "format": "jpeg", "quality": 95},
        "audit": AUDIT,
    }
    return DatasetRecords(**{**values, **changes})


def about(dataset):
    known = records()
    return replace(known, context=replace(known.context, dataset=dataset))


def front(text):
    _, yaml, body = text.split("---\n", 2)
    return YAML(typ="safe", pure=True).load(yaml), body


def cells(text, title):
    """First cell -> the others, of the tables in a section."""
    part = text.split(f"\n## {title}\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line[2:-2].split(" | ")] for line in part.splitlines() if line.startswith("| ")]
    return {row[0]: row[1:] for row in rows}


def test_classes_and_subsets_are_counted():
    text = dataset_card(records())
    assert "12 video clips of 2 actions, 6.0 MB, in 4 groups." in text
    assert cells(text, "Classes")["a"] == ["8", "4", "4", "2", "2"]
    assert cells(text, "Classes")["b"] == ["4", "4", "2", "1", "1"]
    assert cells(text, "Split")["training"] == ["6", "2", "2", "0"]
    assert cells(text, "Split")["test"] == ["3", "1", "2", "0"]
    assert cells(text, "Frames")["40"] == ["46", "51", "546"]


def test_front_matter_has_the_entries_that_hugging_face_reads():
    known, body = front(dataset_card(records()))
    assert (known["pretty_name"], known["license"], known["task_categories"]) == ("mine", "unknown", ["video-classification"])
    assert known["size_categories"] == ["n<1K"]
    assert known["dataset_info"]["features"][1]["dtype"]["class_label"]["names"] == {"0": "a", "1": "b"}
    assert known["dataset_info"]["splits"] == [
        {"name": "train", "num_bytes": 3_000_000, "num_examples": 6},
        {"name": "validation", "num_bytes": 1_500_000, "num_examples": 3},
        {"name": "test", "num_bytes": 1_500_000, "num_examples": 3},
    ]
    assert body.startswith("\n# Data set mine\n")


def test_the_same_records_give_the_same_text_whatever_the_order_of_the_ledger_s_keys():
    assert dataset_card(records()) == dataset_card(records())
    turned = [dict(reversed(row.items())) for row in records().ledger]
    assert dataset_card(records(ledger=turned)) == dataset_card(records())


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_data_sets_have_their_page_and_rights(name):
    known, body = front(dataset_card(about(name)))
    assert f"- {PUBLISHED[name].title}, described at <{PUBLISHED[name].page}>." in body
    assert f"- Rights: {RIGHTS[name]}." in body
    assert (known["pretty_name"], known["license"]) == (PUBLISHED[name].title, LICENCES[name])


def test_every_data_set_with_known_rights_has_a_licence():
    assert LICENCES.keys() == RIGHTS.keys() == {*PUBLISHED, "sample"}


def test_own_clips_have_no_known_rights():
    text = dataset_card(records())
    assert "Clips in the folder `data/raw/mine`; the run does not know where they come from." in text
    assert "- Rights: its owner's; the terms are not known here." in text


@pytest.mark.parametrize(
    ("protocol", "sentence"),
    [
        ("group", "all clips of a group are in one subset. Fold 1 of 5 is the test set; seed 7."),
        ("random", "so clips of one source video can be in several subsets. Fold 1 of 5 is the test set; seed 7."),
        ("official", "list 1 of the data set assigns the clips; seed 7 for validation clips"),
    ],
)
def test_the_split_and_its_seed_are_named(protocol, sentence):
    known = records()
    context = replace(known.context, protocol=protocol, fold=1, seed=7)
    text = dataset_card(replace(known, context=context))
    assert sentence in text
    assert "Validation: 20.0 % of the clips that are not tested" in text
    without = dataset_card(replace(known, validation=0.0))
    assert "There are no validation clips: the epoch was chosen on the test clips." in without


def test_with_all_folds_the_saved_one_is_described():
    known = records()
    assert "The results are those of" not in dataset_card(known)
    text = dataset_card(replace(known, context=replace(known.context, evaluated_folds=5)))
    assert "The results are those of all 5 folds. These numbers are of the one whose models are saved." in text


def test_differences_of_frames_are_named():
    known = records()
    assert "differences" not in dataset_card(known)
    for streams, words in ((("rgb", "diff"), "frames and differences of"), (("diff",), "from differences of")):
        text = dataset_card(replace(known, context=replace(known.context, streams=streams)))
        assert f"{words} neighbouring stored frames; the differences are not stored." in text


def test_snippets_are_named():
    known = records()
    text = dataset_card(replace(known, context=replace(known.context, snippet=Snippet(8)), frames={**known.frames, "fit": "crop"}))
    assert "evenly spaced snippets of 8 consecutive frames per clip are stored as" in text
    assert "pixels, the centre of each picture, jpeg" in text


def test_clips_in_no_subset_are_counted():
    known = records()
    fewer = {clip: subset for clip, subset in known.subset_of.items() if subset != "val"}
    assert "3 clips are in no subset." in dataset_card(replace(known, subset_of=fewer))
    assert "in no subset" not in dataset_card(known)


def test_failed_and_damaged_clips_are_listed_with_the_reason():
    known = records()
    assert "All 12 clips could be decoded." in dataset_card(known)
    ledger = list(known.ledger)
    ledger[0] = ledger_row(ledger[0]["clip"], 0, error="the file is empty")
    ledger[1] = ledger_row(ledger[1]["clip"], 9, padded=23, warning="3 frames are damaged")
    text = dataset_card(replace(known, ledger=ledger, context=replace(known.context, failed=1, padded=1)))
    assert "**1 of 12 clips could not be decoded**, so no model saw them." in text
    assert cells(text, "Failed and damaged clips")["a/g1-0.avi"] == ["the file is empty"]
    assert cells(text, "Failed and damaged clips")["a/g1-1.avi"] == ["3 frames are damaged"]
    assert cells(text, "Split")["training"][-1] == "1"
    assert cells(text, "Frames")["9"] == ["46", "51", "474"]
    assert "1 clips are too short for 32 different frames" in text


def test_the_leak_audit_is_in_the_card():
    text = dataset_card(records())
    assert "## Leaks from training to test" in text
    assert cells(text, "Leaks from training to test")["near-duplicates, similarity above 0.980"] == ["1", "2.5"]


def test_groups_that_are_not_known_are_not_counted():
    known = records()
    clips = [replace(clip, group=clip.id) for clip in known.clips]
    text = dataset_card(replace(known, clips=clips, context=replace(known.context, clips_without_group=12)))
    assert "in 12 groups" not in text
    assert cells(text, "Classes")["a"][:2] == ["8", "unknown"]
    assert "No group is known: each clip counts as its own source." in text


def test_names_from_outside_are_safe():
    clips = [replace(clip, label={"a": "x|*\x1b", "b": "b"}[clip.label]) for clip in records().clips]
    text = dataset_card(records(clips=clips))
    assert "x\\|\\*\\\\x1b" in text
    assert "\x1b" not in text


def test_links_work():
    links = re.findall(r"\]\(([^)]+)\)", dataset_card(about("ucf50")))
    assert links
    assert all(Path(os.path.normpath(ROOT / "metrics/cards" / link)).is_file() for link in links)


def test_many_classes_are_cut_and_their_file_has_all():
    known = records()
    clips = [Clip(f"c{number:03}/{group}.avi", f"c{number:03}", group, 1, "") for number in range(700) for group in SUBSET_OF_GROUP]
    many = replace(known, clips=clips, subset_of={clip.id: SUBSET_OF_GROUP[clip.group] for clip in clips})
    shown = cells(dataset_card(many), "Classes")
    assert shown["c019"] == shown["c680"] == ["4", "4", "2", "1", "1"]
    assert not {"c020", "c679"} & set(shown)
    assert "700 classes; 660 are left out. [classes.csv](../../metrics/cards/classes.csv) has all classes." in dataset_card(many)
    complete = class_rows(many)
    assert len(complete) == 700
    assert dict(zip(CLASSES_HEADER, complete[20], strict=True)) == {
        "class": "c020",
        "clips": 4,
        "groups": 4,
        "train": 2,
        "val": 1,
        "test": 1,
    }
    assert class_rows(replace(many, clips=[replace(clip, group=clip.id) for clip in clips]))[0][2] is None
