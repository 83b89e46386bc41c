"""Results of a cross-validation: means over folds, and a ranking with tests over the clips of all folds.

Accuracies are fractions from 0 to 1. n clips over all folds, each tested once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from actionrec.evaluation import metrics
from actionrec.evaluation.intervals import Interval, cluster_interval
from actionrec.evaluation.predictions import Answers, Predictions
from actionrec.evaluation.significance_tests import PairedTest, paired_tests


@dataclass(frozen=True)
class FoldScore:
    """One model in one fold."""

    fold: int
    clips: int
    """Test clips."""
    top1: float
    """Mean over the seeds."""
    top5: float
    """From here on: of the saved model, the seed with the best validation result."""
    mean_class: float
    """Over the classes that have test clips in this fold."""


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over folds."""

    mean: float
    std: float
    """With folds - 1 degrees of freedom."""


@dataclass(frozen=True)
class FoldResult:
    """One model over all folds."""

    model: str
    rank: int
    """From 1, by top-1 over all clips, then mean-class accuracy, then fewer parameters."""
    top1: float
    """Over all clips at once; the mean over seeds."""
    interval: Interval
    """Of top1, from whole clusters."""
    fold_top1: Spread
    fold_top5: Spread
    fold_mean_class: Spread
    parameters: int
    behind: PairedTest | None
    """The first model's top-1 minus this one's, tested jointly over the models; None for the first."""
    folds: tuple[FoldScore, ...]

    @property
    def verdict(self) -> str:
        return "" if self.behind is None else "worse than the first" if self.behind.is_real else "not shown to differ"


def summarise(predictions: Mapping[str, Sequence[Predictions]], parameters: Mapping[str, int]) -> list[FoldResult]:
    """Rank models.

    Args:
        predictions: model -> its predictions in each fold, in the order of folds; the same folds for all models.

    Returns:
        Results in order of rank.

    Raises:
        ValueError: a clip is tested twice, or the models were tested on different clips.
    """
    scores = {model: tuple(_score(fold, one) for fold, one in enumerate(folds)) for model, folds in predictions.items()}
    pooled = {model: _pooled([one.test for one in folds]) for model, folds in predictions.items()}
    correct = {model: np.concatenate([one.correct() for one in folds], axis=1) for model, folds in predictions.items()}
    first = next(iter(pooled.values()))
    if len(np.unique(first.clips)) < len(first.clips):
        raise ValueError("a clip is tested in two folds")
    if any(not np.array_equal(answers.clips, first.clips) for answers in pooled.values()):
        raise ValueError("the models were tested on different clips")

    mean_class = {model: metrics.mean_class(answers.logits, answers.labels) for model, answers in pooled.items()}
    order = sorted(predictions, key=lambda model: (-correct[model].mean(), -mean_class[model], parameters[model], model))
    clusters = first.clusters
    tests = paired_tests([(correct[order[0]], correct[model]) for model in order[1:]], clusters)
    behind = dict(zip(order[1:], tests, strict=True))
    return [
        FoldResult(
            model,
            rank,
            float(correct[model].mean()),
            cluster_interval(correct[model].mean(axis=0), clusters),
            _spread([score.top1 for score in scores[model]]),
            _spread([score.top5 for score in scores[model]]),
            _spread([score.mean_class for score in scores[model]]),
            parameters[model],
            behind.get(model),
            scores[model],
        )
        for rank, model in enumerate(order, start=1)
    ]


def _score(fold: int, predictions: Predictions) -> FoldScore:
    test = predictions.test
    top5, mean_class = metrics.top_k(test.logits, test.labels, 5), metrics.mean_class(test.logits, test.labels)
    return FoldScore(fold, len(test.labels), float(predictions.correct().mean()), top5, mean_class)


def _pooled(folds: Sequence[Answers]) -> Answers:
    """The answers of all folds, concatenated."""
    return Answers(
        np.concatenate([one.clips for one in folds]),
        np.concatenate([one.labels for one in folds]),
        np.concatenate([one.clusters for one in folds]),
        np.concatenate([one.logits for one in folds]),
        np.concatenate([one.seed_logits for one in folds], axis=1),
        {},
    )


def _spread(values: Sequence[float]) -> Spread:
    return Spread(float(np.mean(values)), float(np.std(values, ddof=1)))
