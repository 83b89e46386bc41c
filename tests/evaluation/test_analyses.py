from dataclasses import replace

import fabricate
import numpy as np
import pytest

from actionrec.evaluation import analyses
from actionrec.evaluation.leaderboard import leaderboard
from actionrec.training.record import calibrate

CLASSES = 4
LABELS = np.arange(160) % CLASSES
CLIPS = np.array([f"{place:04}.avi" for place in range(160)])
SUBSETS = np.array(["val"] * 40 + ["test"] * 120)


def model(correct, *, sure=3.0, changes=("shuffled", "reversed", "one_frame")):
    """Predictions that are correct with probability `correct`, and otherwise the next class."""
    random = np.random.default_rng(int(100 * correct))
    answers = np.where(random.random(160) < correct, LABELS, (LABELS + 1) % CLASSES)
    logits = np.zeros((160, CLASSES), dtype=np.float32)
    logits[np.arange(160), answers] = sure
    return fabricate.predictions(CLIPS, LABELS, SUBSETS, logits, changes=changes)


def test_a_model_far_above_a_baseline_is_better_and_an_equal_one_is_not_shown_to_be():
    models = {"good": model(0.95), "same": model(0.5), "mean_pool": model(0.5)}
    [baseline] = analyses.against_baselines(models, ["mean_pool"])
    assert baseline.gains.keys() == {"good", "same"}
    assert baseline.gains["good"].verdict == "better"
    assert baseline.gains["same"].verdict == "not shown"
    assert baseline.gains["same"].difference == 0


def test_the_order_of_frames_matters_if_shuffling_costs_accuracy():
    sees, blind = model(0.95), model(0.9)
    same = dict.fromkeys(blind.answers.changed, blind.answers.logits)
    blind = fabricate.replace(blind, answers=fabricate.replace(blind.answers, changed=same))
    first, second = analyses.order_of_frames({"sees": sees, "blind": blind})
    assert first.shuffling.verdict == "better"
    assert first.changed["shuffled"] < first.top1
    assert (second.shuffling.difference, second.shuffling.p) == (0, 1)
    assert set(second.changed.values()) == {second.top1}


def test_a_temperature_from_validation_clips_brings_confidence_to_accuracy():
    predictions = model(0.7, sure=12.0)
    temperature = calibrate(predictions)["temperature"]
    too_sure = fabricate.trained("too sure", [], predictions=predictions, temperature=temperature)
    [row] = analyses.calibrations([too_sure])
    assert row.temperature == temperature > 2
    assert row.calibrated_error < row.error / 2


def test_an_ensemble_of_models_with_different_errors_is_better_than_each():
    random = np.random.default_rng(0)
    models = {}
    for number in range(3):
        logits = random.normal(0, 1, (160, CLASSES)).astype(np.float32)
        logits[np.arange(160), LABELS] += 1
        models[f"m{number}"] = fabricate.predictions(CLIPS, LABELS, SUBSETS, logits)
    everything, pair, triple = analyses.combined(models, "m0")
    single = models["m0"].correct().mean()
    assert everything.members == triple.members == ("m0", "m1", "m2")
    assert everything.top1 > single
    assert everything.gain.difference == pytest.approx(everything.top1 - single)
    assert len(pair.members) == 2


def test_without_validation_clips_no_pair_is_chosen():
    test_only = {name: fabricate.replace(model(0.8), subsets=np.array(["test"] * 160)) for name in ("a", "b", "c")}
    assert [row.name for row in analyses.combined(test_only, "a")] == ["all"]


def test_the_pareto_front_holds_what_nothing_cheaper_matches():
    correct = np.arange(100) < 80
    models = [
        fabricate.trained("best", np.arange(100) < 95, flops=900),
        fabricate.trained("same_but_dearer", np.arange(100) < 95, flops=1000),
        fabricate.trained("cheap", correct, flops=10),
        fabricate.trained("as_cheap_and_worse", np.arange(100) < 60, flops=10),
    ]

    def front(backbone):
        rows = analyses.costs(models, {one.name: (1.0, 2.0) for one in models}, backbone, fabricate.CLIP_TIMING)
        return [row.model for row in rows if row.on_front]

    assert front(fabricate.NO_BACKBONE) == ["best", "cheap"]
    assert front(replace(fabricate.NO_BACKBONE, flops=8_900)) == ["best", "cheap"]  # more than 1 % apart
    assert front(replace(fabricate.NO_BACKBONE, flops=90_000)) == ["best", "same_but_dearer"]  # less than 1 %: accuracy decides


def test_totals_are_sums_of_the_backbone_and_the_model():
    [row] = analyses.costs(
        [fabricate.trained("a", [1, 1], parameters=5, flops=7)], {"a": (1.5, 2.5)}, fabricate.BACKBONE, fabricate.CLIP_TIMING
    )
    assert (row.total_params, row.total_flops) == (23_508_037, 261_576_720_391)
    assert (row.total_ms, row.total_memory_mb) == (1001.5, 454.8)


def test_the_front_compares_the_accuracies_of_the_leaderboard():
    """The saved model of one seed or fold may be better than the mean."""
    lucky = fabricate.trained("lucky", [1, 0, 0, 0], test_top1=1.0)
    [row] = analyses.costs([lucky], {"lucky": (1.0, 2.0)}, fabricate.BACKBONE, fabricate.CLIP_TIMING)
    assert row.top1 == 0.25


def test_class_scores_by_hand():
    """Class 0: 2 clips, 1 right, 1 taken for class 1; class 1: 2 clips, both right; class 2 has no clips."""
    logits = np.eye(3, dtype=np.float32)[[0, 1, 1, 1]]
    made = fabricate.predictions(["a", "b", "c", "d"], [0, 0, 1, 1], ["test"] * 4, logits)
    zero, one = analyses.class_scores(made, ["zero", "one", "two"])
    assert (zero.name, zero.clips, zero.precision, zero.recall, zero.f1) == ("zero", 2, 1, 0.5, pytest.approx(2 / 3))
    assert (one.clips, one.precision, one.recall, one.f1) == (2, pytest.approx(2 / 3), 1, pytest.approx(0.8))


def test_clips_that_all_models_get_wrong_are_named_with_their_answers():
    clips, labels = ["a", "b", "c"], [0, 1, 1]
    first = fabricate.predictions(clips, labels, ["test"] * 3, np.eye(3, dtype=np.float32)[[0, 2, 0]])
    second = fabricate.predictions(clips, labels, ["test"] * 3, np.eye(3, dtype=np.float32)[[1, 2, 1]])
    assert analyses.missed_by_all({"m": first, "n": second}, ["x", "y", "z"]) == [analyses.Missed("b", "y", {"m": "z", "n": "z"})]


def test_a_clip_that_two_folds_test_is_missed_if_no_model_is_right_in_either():
    clips, labels, folds = ["a", "a", "b", "b"], [1, 1, 1, 1], np.array([0, 1, 0, 1])
    made = fabricate.predictions(clips, labels, ["test"] * 4, np.eye(3, dtype=np.float32)[[0, 1, 2, 0]])
    missed = analyses.missed_by_all({"m": replace(made, folds=folds)}, ["x", "y", "z"])
    assert missed == [analyses.Missed("b", "y", {"m": "z"})]


def test_costs_round_accuracies_as_the_leaderboard_does():
    """155 of 400 answers, 38.75 %, is 38.7 or 38.8 % by the last bit of the mean."""
    one, other = (fabricate.trained("gru", np.arange(200) < right) for right in (86, 69))
    logits = np.stack([one.test.logits, other.test.logits])
    answers = replace(one.predictions.answers, seed_logits=logits)
    both = replace(one, predictions=replace(one.predictions, answers=answers, seeds=(0, 1)))
    [row] = leaderboard([both], fabricate.BACKBONE)
    [cost] = analyses.costs([both], {"gru": (1.0, 1.0)}, fabricate.BACKBONE, fabricate.CLIP_TIMING)
    assert cost.top1 == row.top1
