"""What the folds of a cross-validation come to: a mean over folds, and one ranking and one set of tests over all clips.

Accuracies are fractions from 0 to 1. n clips over all folds, each tested once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from actionrec.evaluation import metrics
from actionrec.evaluation.analyses import Difference, differences
from actionrec.evaluation.intervals_and_tests import Interval, cluster_interval
from actionrec.evaluation.predictions import Answers, Predictions


@dataclass(frozen=True)
class FoldScore:
    """One model in one fold."""

    fold: int
    clips: int
    """Tested."""
    top1: float
    """Mean over the seeds."""
    top5: float
    """This and what follows: of the saved model, the best seed by validation."""
    mean_class: float
    """Over the classes that have test clips in this fold."""


@dataclass(frozen=True)
class Spread:
    """Over folds."""

    mean: float
    std: float
    """With one degree of freedom less than folds."""


@dataclass(frozen=True)
class Result:
    """One model over all folds."""

    model: str
    rank: int
    """From 1, by top-1 over all clips, then mean class, then fewer parameters."""
    top1: float
    """Over all clips at once; the mean over seeds."""
    interval: Interval
    """Of it, from whole sources."""
    fold_top1: Spread
    fold_top5: Spread
    fold_mean_class: Spread
    parameters: int
    behind: Difference | None
    """The first model's top-1 less this one's, paired on whole sources, Holm-corrected over the models; None for the first."""
    folds: tuple[FoldScore, ...]

    @property
    def verdict(self) -> str:
        return "" if self.behind is None else "worse than the first" if self.behind.is_real else "tie with the first"


def summarise(found: Mapping[str, Sequence[Predictions]], parameters: Mapping[str, int]) -> list[Result]:
    """Rank models.

    Args:
        found: model -> its predictions in each fold, from the first on; the same folds for all.

    Returns:
        In order of rank.

    Raises:
        ValueError: a clip is tested twice, or the models were tested on different clips.
    """
    scores = {model: tuple(_score(fold, one) for fold, one in enumerate(folds)) for model, folds in found.items()}
    pooled = {model: _pooled([one.test for one in folds]) for model, folds in found.items()}
    correct = {model: np.concatenate([one.correct() for one in folds]) for model, folds in found.items()}
    first_of_all = next(iter(pooled.values()))
    if len(np.unique(first_of_all.clips)) < len(first_of_all.clips):
        raise ValueError("a clip is tested in two folds")
    if any(not np.array_equal(answers.clips, first_of_all.clips) for answers in pooled.values()):
        raise ValueError("the models were tested on different clips")

    mean_class = {model: metrics.mean_class(answers.logits, answers.labels) for model, answers in pooled.items()}
    order = sorted(found, key=lambda model: (-correct[model].mean(), -mean_class[model], parameters[model], model))
    clusters = first_of_all.clusters
    behind = differences({model: (correct[order[0]], correct[model]) for model in order[1:]}, clusters)
    return [
        Result(
            model,
            rank,
            float(correct[model].mean()),
            cluster_interval(correct[model], clusters),
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
    """The folds' clips one after the other."""
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
