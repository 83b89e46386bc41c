"""Leaderboard: each model's accuracies with intervals, in order of rank, and a test of every pair of models.

n clips, K classes; accuracies are fractions from 0 to 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from actionrec.evaluation import metrics
from actionrec.evaluation.clip_cost import BackboneCost
from actionrec.evaluation.intervals import LEVEL, Interval, cluster_interval, wilson
from actionrec.evaluation.significance_tests import SIGNIFICANCE, PairedTest, better_than, holm, mcnemar, paired_tests
from actionrec.evaluation.trained_models import TrainedModel


@dataclass(frozen=True)
class LeaderboardRow:
    """One model's rank and results."""

    name: str
    rank: int
    """From 1, by test top-1, then validation loss, then fewer operations."""
    order_blind: bool
    """Whether the model is a baseline that ignores the order of frames."""
    top1: float
    """Mean over the seeds."""
    std: float | None
    """Over the seeds; None with one seed."""
    fold_top1: tuple[float, ...]
    """Of each evaluated fold, by number; mean over the seeds."""
    interval: Interval
    """Of top-1, from whole clusters, and over training runs if there are several."""
    wilson: Interval
    """Of top-1, as if clips were independent."""
    top5: float
    """From here on: of the saved model."""
    top5_interval: Interval
    mean_class: float
    macro_f1: float
    val_top1: float | None
    val_loss: float | None
    parameters: int
    """Without the backbone, like `flops`."""
    flops: int
    """For one clip."""
    total_params: int
    """With the backbone, like `total_flops`."""
    total_flops: int
    best_epoch: int
    epochs: int
    majority_accuracy: float
    """Top-1 of always answering the most frequent class of the test clips."""
    p_majority: float
    """Top-1 against majority_accuracy: one-sided binomial test of independent clips, Holm-corrected."""
    majority_low: float
    """Lower end of the interval of top-1 at the level of `majority_level`."""

    @property
    def efficiency(self) -> float:
        """Top-1 in percent per million parameters without the backbone: the study's efficiency score."""
        return 100 * self.top1 / (self.parameters / 1e6)

    @property
    def beats_majority(self) -> bool:
        """Whether top-1 is significantly better than always answering the most frequent class.

        The binomial test alone treats siblings as independent, so `majority_low` must be above the majority-class accuracy as well.
        `python -m benchmarks.coverage --table majority` prints how often both are wrong.
        """
        return self.p_majority < SIGNIFICANCE and self.majority_low > self.majority_accuracy


@dataclass(frozen=True)
class Pair:
    """Two models on the same test clips; `a` ranks before `b`."""

    a: str
    b: str
    test: PairedTest
    """Of top-1 of a minus that of b; joint over all pairs."""
    only_a_correct: int
    only_b_correct: int
    p_mcnemar: float
    """Exact McNemar on the saved models, two-sided, not corrected: for information."""

    @property
    def apart(self) -> bool:
        """Whether the test finds a difference."""
        return self.test.is_real

    @property
    def verdict(self) -> str:
        return f"{self.a} is better" if self.apart else "no difference shown"


def leaderboard(models: Sequence[TrainedModel], backbone: BackboneCost) -> tuple[LeaderboardRow, ...]:
    """Measure the models and rank them."""
    labels = models[0].test.labels
    majority_accuracy = float(np.bincount(labels).max() / len(labels))
    correct_top1 = [int(metrics.correct_at_k(model.test.logits, labels, 1).sum()) for model in models]
    # If all test clips are of one class, the majority class is always correct, and no model can be better.
    p_majority = holm([better_than(count, len(labels), majority_accuracy) for count in correct_top1])
    level = majority_level(len(models))
    measured = [_measured(model, backbone, majority_accuracy, p, level) for model, p in zip(models, p_majority, strict=True)]
    order = sorted(measured, key=lambda one: (-one["top1"], one["val_loss"] or 0.0, one["flops"], one["name"]))
    return tuple(LeaderboardRow(rank=place, **one) for place, one in enumerate(order, start=1))


def majority_level(models: int) -> float:
    """Level of the two-sided interval that is compared with the majority class.

    Its lower end alone counts. So with m models it misses with chance 5 % / m (Bonferroni). It is never inside the 95 % interval.
    """
    return min(LEVEL, 2 * SIGNIFICANCE / models)


def _measured(
    model: TrainedModel, backbone: BackboneCost, majority_accuracy: float, p_majority: float, level: float
) -> dict[str, Any]:
    """The fields of a model's LeaderboardRow, without its rank."""
    test, val, folds = model.test, model.val, model.predictions.test_folds
    correct = model.predictions.correct()
    by_seed = correct.mean(axis=1)
    top1 = float(by_seed.mean())
    return {
        "name": model.name,
        "order_blind": model.order_blind,
        "top1": top1,
        "std": float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 else None,
        "fold_top1": tuple(float(correct[:, folds == fold].mean()) for fold in np.unique(folds)),
        "interval": cluster_interval(correct, test.clusters),
        "wilson": wilson(round(top1 * len(test.labels)), len(test.labels)),
        "top5": metrics.top_k(test.logits, test.labels, 5),
        "top5_interval": cluster_interval(metrics.correct_at_k(test.logits, test.labels, 5).astype(np.float64), test.clusters),
        "mean_class": metrics.mean_class(test.logits, test.labels),
        "macro_f1": metrics.macro_f1(test.logits, test.labels),
        "val_top1": metrics.top_k(val.logits, val.labels, 1) if len(val.labels) else None,
        "val_loss": metrics.cross_entropy(val.logits, val.labels) if len(val.labels) else None,
        "parameters": model.parameters,
        "flops": model.flops,
        "total_params": backbone.parameters + model.parameters,
        "total_flops": backbone.flops + model.flops,
        "best_epoch": model.best_epoch,
        "epochs": model.epochs,
        "majority_accuracy": majority_accuracy,
        "p_majority": p_majority,
        "majority_low": cluster_interval(correct, test.clusters, level=level).low,
    }


def pairs(models: Sequence[TrainedModel], rows: Sequence[LeaderboardRow]) -> tuple[Pair, ...]:
    """Test every pair of models, jointly."""
    test = models[0].test
    correct = {model.name: model.predictions.correct() for model in models}
    saved = {model.name: metrics.correct_at_k(model.test.logits, test.labels, 1) for model in models}
    names = [(a.name, b.name) for a, b in combinations(rows, 2)]
    tests = paired_tests([(correct[a], correct[b]) for a, b in names], test.clusters)
    exact = [mcnemar(saved[a], saved[b]) for a, b in names]
    return tuple(
        Pair(a, b, joint, one.only_first, one.only_second, one.p) for (a, b), joint, one in zip(names, tests, exact, strict=True)
    )
