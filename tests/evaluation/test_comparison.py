import dataclasses
import json

import numpy as np
import pytest
from fabricate import BACKBONE, CONTEXT, first_right, predictions, trained

from actionrec.core.errors import DataError
from actionrec.evaluation import comparison, intervals
from actionrec.evaluation.context import EvaluationContext


def compare(models, margin=0.02):
    return comparison.compare(models, margin, BACKBONE)


def test_ranking_is_by_top1_then_validation_loss_then_operations():
    def sure(name, confidence, flops):
        logits = np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0, 1]] * confidence
        logits[3] = 0  # wrong
        subsets = ["test"] * 4 + ["val"] * 2
        return trained(
            name, [1, 1, 1, 0], flops=flops, predictions=predictions(list("uvwxyz"), [0, 1, 2, 3, 0, 1], subsets, logits)
        )

    result = compare([sure("a", 1, 10), sure("b", 2, 20), sure("c", 2, 10)])
    assert [one.name for one in result.leaderboard] == ["c", "b", "a"]
    assert [one.rank for one in result.leaderboard] == [1, 2, 3]


def test_ranking_does_not_depend_on_the_order_of_the_models():
    models = [trained(name, first_right(count)) for name, count in (("a", 50), ("b", 50), ("c", 90))]
    forward, backward = compare(models), compare(models[::-1])
    assert forward.leaderboard == backward.leaderboard
    assert forward.pairs == backward.pairs
    assert forward.advice == backward.advice


def test_a_row_holds_what_the_clips_say():
    one = compare([trained("a", first_right(96), parameters=2_000_000, val_right=first_right(5, 10))]).leaderboard[0]
    assert one.top1 == 0.96
    assert one.val_top1 == 0.5
    assert one.efficiency == pytest.approx(48)
    assert 0.90 < one.wilson.low < 0.96 < one.wilson.high < 0.99
    assert 0.85 < one.interval.low < 0.96 < one.interval.high < 1


def test_pairs_are_tested_on_the_same_clips_and_jointly():
    result = compare([trained("a", first_right(90)), trained("b", first_right(82)), trained("c", first_right(81))])
    pair = result.pair("b", "a")
    assert (pair.a, pair.b, pair.only_a_correct, pair.only_b_correct) == ("a", "b", 8, 0)
    assert pair.test.difference == pytest.approx(0.08)
    assert pair.p_mcnemar == pytest.approx(2 / 2**8)
    assert pair.p_mcnemar < pair.test.p < 0.05
    assert result.pair("b", "c").verdict == "no difference shown"
    assert len(result.pairs) == 3


def test_siblings_that_are_correct_together_do_not_beat_the_majority_class():
    """40 of 100 right where the most frequent class has 25: significant for 100 sources, not for the same clips from 10."""
    correct = first_right(40)
    alone = compare([trained("a", correct)]).row("a")
    together = compare([trained("a", correct, clusters=np.arange(100) // 10)]).row("a")
    assert alone.p_majority == together.p_majority < 0.001
    assert (alone.beats_majority, together.beats_majority) == (True, False)
    assert together.interval.low < 0.25 < alone.interval.low


def test_models_that_only_guess_are_seldom_called_better(monkeypatch):
    """60 sets of 24 sources of 5 clips, two classes alike: each source is wholly right or wrong by chance."""
    monkeypatch.setattr(intervals, "RESAMPLES", 199)
    rng = np.random.default_rng(0)
    source = np.repeat(np.arange(24), 5)
    binomial = better = 0
    for _ in range(60):
        one = compare([trained("a", rng.integers(0, 2, 24)[source], classes=2, clusters=source)]).row("a")
        binomial += one.p_majority < 0.05
        better += one.beats_majority
    assert binomial >= 8  # 24 %
    assert better <= 3  # 2.5 % are expected


def test_any_of_seven_models_that_only_guess_is_seldom_called_better(monkeypatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 199)
    rng = np.random.default_rng(0)
    source = np.repeat(np.arange(24), 5)
    one_by_one = together = 0
    for _ in range(30):
        models = [trained(name, rng.integers(0, 2, 24)[source], classes=2, clusters=source) for name in "abcdefg"]
        rows = compare(models).leaderboard
        one_by_one += any(row.p_majority < 0.05 and row.interval.low > row.majority_accuracy for row in rows)
        together += any(row.beats_majority for row in rows)
        assert all(row.majority_low <= row.interval.low for row in rows)
    assert one_by_one >= 3  # about 12 %, without a correction for seven models
    assert together <= 2  # 3 %


def test_validation_may_choose_another_model():
    models = [
        trained("a", first_right(90), val_right=first_right(5, 10)),
        trained("b", first_right(80), val_right=first_right(8, 10)),
    ]
    assert comparison.chosen_by_validation(compare(models)) == ("b",)
    assert comparison.chosen_by_validation(compare([trained("a", first_right(9))])) == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_names": ("a", "b", "c", "z")}, "b and a have different classes (4 and 4; not in both: d, z)"),
        ({"class_names": ("b", "a", "c", "d")}, "(4 and 4; not in both: the same names in another order)"),
        (
            {"features": {"backbone": "resnet50", "weights": "random", "weights_sha256": "beef"}},
            "b and a were trained on different features (weights_sha256: beef and 1234). Run `dvc repro`",
        ),
        ({"frames": {"count": 16}}, "b and a were trained on different frames (count: 16 and 32)"),
        (
            {"clips": ["0000.avi", "0001.avi", "0002.avi", "new.avi"]},
            "b and a have predictions for different clips (4 and 4; not in both: 0003.avi (test), new.avi (test))",
        ),
        ({"subsets": ["test", "test", "test", "val"]}, "not in both: 0003.avi (test), 0003.avi (val)"),
        ({"labels": [0, 1, 2, 2]}, "b and a disagree about the true class or the source of 0003.avi (2 and 3)"),
        ({"test_top1": 0.5}, "b: metrics.json says test_top1 = 0.500000, but its predictions give 0.750000"),
    ],
)
def test_models_that_cannot_be_compared_are_refused(change, message):
    a = trained("a", [1, 1, 1, 0])
    answers = a.predictions.answers
    parts = {"clips": answers.clips, "labels": answers.labels, "subsets": a.predictions.subsets, "logits": answers.logits}
    b = dataclasses.replace(a, name="b", **{key: value for key, value in change.items() if key not in parts})
    if parts.keys() & change.keys():
        b = dataclasses.replace(b, predictions=predictions(**{**parts, **change}))
    with pytest.raises(DataError) as error:
        compare([a, b])
    assert message in str(error.value)
    assert "Run `dvc repro" in str(error.value)


def test_no_test_clips_is_an_error():
    with pytest.raises(DataError, match="a has no predictions for test clips"):
        compare([trained("a", [], val_right=[1, 0], test_top1=1.0)])


def test_summary_is_json_without_nothing_and_without_timings():
    models = [trained("a", first_right(90)), trained("b", first_right(20))]
    context = EvaluationContext.of(
        models[0],
        {
            "dataset": "sample",
            "protocol": "group",
            "folds": 5,
            "fold": 0,
            "seed": 0,
            "test_clips_with_sibling_in_training": 0.0,
            "clips_without_group": 0,
            "duplicated_clips": 0,
            "classes_without_test_clips": [],
        },
        {"clips": 400, "padded": 0, "failed": 0},
    )
    text = json.dumps(comparison.summary(compare(models), context, ["b", "a"]), allow_nan=False)
    summary = json.loads(text)
    assert summary["best"] == "a"
    assert list(summary["models"]) == ["b", "a"]
    assert summary["models"]["a"]["rank"] == 1
    assert (summary["backbone_parameters"], summary["backbone_flops"]) == (23_508_032, 261_576_720_384)
    assert {key: summary["models"]["a"][key] for key in ("parameters", "flops", "total_params", "total_flops")} == {
        "parameters": 1_000_000,
        "flops": 64_000_000,
        "total_params": 24_508_032,
        "total_flops": 261_640_720_384,
    }
    assert summary["models"]["b"]["tied_with_best"] is False
    assert summary["epoch_chosen_on"] == "test"
    assert summary["pairs"][0]["verdict"] == "a is better"
    assert "null" not in text
    assert "second" not in text


def test_the_protocol_in_one_line_tells_which_official_list():
    official = dataclasses.replace(CONTEXT, protocol="official", fold=2)
    assert official.phrase == "sample, official split 2, 100 test clips"


def test_clips_of_two_sources_prove_nothing():
    """20 clips apart, all in one direction: McNemar is sure; but they come from two sources."""
    correct, wrong = np.ones(100, dtype=bool), np.arange(100) >= 20
    spread, lumped = np.arange(100) // 2, np.where(np.arange(100) < 20, np.arange(100) % 2, np.arange(100) // 2)
    apart = compare([trained("a", correct, clusters=spread), trained("b", wrong, clusters=spread)]).pair("a", "b")
    alike = compare([trained("a", correct, clusters=lumped), trained("b", wrong, clusters=lumped)]).pair("a", "b")
    assert (apart.verdict, alike.verdict) == ("a is better", "no difference shown")
    assert alike.p_mcnemar < 0.001
    assert alike.test.p > 0.05
