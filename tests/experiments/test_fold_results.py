import numpy as np
import pytest

from actionrec.evaluation.predictions import Answers, Predictions
from actionrec.experiments import fold_results
from actionrec.report import cross_validation as texts


def fold(number: int, correct: list[list[bool]], *, first_clip: int | None = None) -> Predictions:
    """One fold's predictions of two classes in turn; `right` (S, n) for each seed, the first being the saved one.

    One more clip, of validation, is always wrong.
    """
    count = len(correct[0])
    start = number * count if first_clip is None else first_clip
    clips = np.array([*(f"{start + place:03d}.avi" for place in range(count)), f"val{number}.avi"])
    labels = np.arange(count + 1) % 2
    logits = np.zeros((len(correct), count + 1, 2), dtype=np.float32)
    for seed, row in enumerate(correct):
        for place, hit in enumerate([*row, False]):
            logits[seed, place, labels[place] if hit else 1 - labels[place]] = 1
    clusters = np.append(start + np.arange(count), 10_000)
    subsets = np.array(["test"] * count + ["val"])
    return Predictions(Answers(clips, labels, clusters, logits[0], logits, {}), subsets, tuple(range(len(correct))))


T, F = True, False


def test_the_mean_is_over_folds_and_the_ranking_over_all_clips():
    good, poor = [fold(0, [[T, T, T, T]]), fold(1, [[T, T, T, F]])], [fold(0, [[T, T, F, F]]), fold(1, [[F, F, F, F]])]
    first, second = fold_results.summarise({"poor": poor, "good": good}, {"poor": 1, "good": 2})
    assert (first.model, first.rank, first.top1, first.behind, first.verdict) == ("good", 1, 7 / 8, None, "")
    assert (second.model, second.rank, second.top1, second.parameters) == ("poor", 2, 2 / 8, 1)
    assert first.fold_top1 == fold_results.Spread(0.875, pytest.approx(np.std([1, 0.75], ddof=1)))
    assert first.fold_mean_class.mean == pytest.approx(0.875)
    assert first.fold_top5.mean == 1
    assert second.behind.difference == pytest.approx(5 / 8)
    assert second.verdict == "not shown to differ"  # five clips
    assert [score.clips for score in first.folds] == [4, 4]
    assert first.interval.low < 7 / 8 < first.interval.high


def test_over_seeds_the_mean_is_counted():
    [only] = fold_results.summarise({"gru": [fold(0, [[T, T], [T, F]]), fold(1, [[T, T], [F, F]])]}, {"gru": 1})
    assert only.top1 == pytest.approx(5 / 8)
    assert [score.top1 for score in only.folds] == [0.75, 0.5]
    assert [score.mean_class for score in only.folds] == [1, 1]  # of the saved one


def test_a_difference_on_many_sources_is_shown():
    found = {
        "better": [fold(number, [[T] * 10]) for number in range(3)],
        "worse": [fold(number, [[T, F] * 5]) for number in range(3)],
    }
    assert fold_results.summarise(found, {"better": 1, "worse": 1})[1].verdict == "worse than the first"


def test_folds_that_share_a_clip_are_refused():
    with pytest.raises(ValueError, match="two folds"):
        fold_results.summarise({"gru": [fold(0, [[T, T]]), fold(1, [[T, T]], first_clip=1)]}, {"gru": 1})


def test_models_that_were_tested_on_different_clips_are_refused():
    found = {"gru": [fold(0, [[T, T]]), fold(1, [[T, T]])], "lstm": [fold(0, [[T, T]]), fold(1, [[T, T]], first_clip=7)]}
    with pytest.raises(ValueError, match="different clips"):
        fold_results.summarise(found, {"gru": 1, "lstm": 1})


def context(**changes) -> texts.FoldContext:
    values = {"dataset": "ucf50", "folds": 2, "validation": 0.2, "seed": 0, "seeds": 1, "clips": 4, "tested": 4, "sources": 4}
    return texts.FoldContext(**values | {"backbone": "resnet50", "weights": "IMAGENET1K_V1"} | changes)


def test_the_caption_says_what_the_numbers_hold_for():
    assert context().phrase == (
        "ucf50, group split, 2 folds, seed 0; 4 clips of 4 source videos, each tested once; "
        "epoch chosen on validation clips, 20.0 % of the others; resnet50, weights IMAGENET1K_V1"
    )
    odd = context(validation=0.0, seeds=3, clips=5, weights="random").phrase
    for words in (
        "the test clips",
        "3 training runs per model and fold",
        "1 of classes with a single group never tested",
        "UNTRAINED",
    ):
        assert words in odd


def test_every_table_has_its_protocol_and_a_row_a_model():
    found = {"gru": [fold(0, [[T, T]]), fold(1, [[T, F]])], "lstm": [fold(0, [[T, F]]), fold(1, [[T, F]])]}
    results = fold_results.summarise(found, {"gru": 1, "lstm": 1})
    text = texts.text(results, context())
    assert "Protocol: ucf50, group split" in text
    assert "75.0 ± 35.4" in text
    rows = [*texts.model_rows(results, context())]
    assert [dict(zip(texts.MODELS_HEADER, row, strict=True))["model"] for row in rows] == ["gru", "lstm"]
    assert {len(row) for row in texts.fold_rows(results)} == {len(texts.FOLDS_HEADER)}
