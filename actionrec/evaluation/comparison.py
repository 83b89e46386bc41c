"""Comparison of trained models on the same test clips: ranking, intervals, paired tests, and advice on which model to use.

Uses no timings, which change from run to run. n clips, K classes; accuracies are fractions from 0 to 1.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrec.evaluation import metrics
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.intervals import Interval, cluster_interval, wilson
from actionrec.evaluation.significance_tests import SIGNIFICANCE, better_than, cluster_difference, holm, mcnemar
from actionrec.evaluation.trained_models import TrainedModel, check_comparable
from actionrec.version import __version__


@dataclass(frozen=True)
class LeaderboardRow:
    """One model's rank and results."""

    name: str
    rank: int  # from 1, by test top-1, then mean-class, then fewer parameters
    top1: float  # mean over the seeds
    std: float | None  # over the seeds; None with one seed
    interval: Interval  # of top-1, from whole clusters
    wilson: Interval  # of top-1, as if clips were independent
    top5: float  # from here on: of the saved model
    top5_interval: Interval
    mean_class: float
    val_top1: float | None
    parameters: int
    best_epoch: int
    epochs: int
    majority_accuracy: float  # top-1 of always answering the most frequent class of the test clips
    p_majority: float  # top-1 against majority_accuracy: one-sided binomial test of independent clips, Holm-corrected

    @property
    def efficiency(self) -> float:
        """Top-1 in percent per million parameters: the study's efficiency score."""
        return 100 * self.top1 / (self.parameters / 1e6)

    @property
    def beats_majority(self) -> bool:
        """Whether top-1 is significantly better than always answering the most frequent class.

        The binomial test alone treats siblings as independent. In simulations of models that answer at random, it called 4 to 18 %
        of them better, and at least one of seven in up to 56 %. If the low end of the clusters' interval must be above the
        majority-class accuracy as well, these are 0 to 2 % and up to 8 %.
        """
        return self.p_majority < SIGNIFICANCE and self.interval.low > self.majority_accuracy


@dataclass(frozen=True)
class Pair:
    """Two models on the same test clips; `a` ranks before `b`."""

    a: str
    b: str
    difference: float  # top-1 of a minus top-1 of b
    only_a_right: int
    only_b_right: int
    p: float  # exact McNemar on the saved models, two-sided
    p_holm: float  # the same, corrected for all pairs of models
    interval: Interval  # of the difference, from whole clusters
    p_sources: float  # paired test that exchanges the two on whole clusters
    p_sources_holm: float

    @property
    def p_both(self) -> float:
        """The larger of the two corrected p-values: below 0.05 only if both tests are significant."""
        return max(self.p_holm, self.p_sources_holm)

    @property
    def apart(self) -> bool:
        """Whether both tests are significant: McNemar's ignores siblings, the clusters' test averages over seeds."""
        return self.p_both < SIGNIFICANCE

    @property
    def verdict(self) -> str:
        return f"{self.a} is better" if self.apart else "tie"


@dataclass(frozen=True)
class Advice:
    """Which models to use and which to avoid. The rules are in `advise`."""

    most_accurate: str
    tied: tuple[str, ...]  # models without a significant difference from the most accurate
    cheapest_tied: str
    smallest: str
    balanced: str
    avoid: dict[str, str]  # model -> reason


@dataclass(frozen=True)
class Comparison:
    """Models in order of rank, all pairs of models, and the advice."""

    leaderboard: tuple[LeaderboardRow, ...]
    pairs: tuple[Pair, ...]
    majority_accuracy: float  # share of the most frequent class among the test clips
    advice: Advice

    def row(self, name: str) -> LeaderboardRow:
        return next(row for row in self.leaderboard if row.name == name)

    def pair(self, one: str, other: str) -> Pair:
        return next(pair for pair in self.pairs if {pair.a, pair.b} == {one, other})

    def against_first(self, name: str) -> Pair | None:
        """The test of a model against the one ranked first; None for the first itself."""
        first = self.leaderboard[0].name
        return None if name == first else self.pair(first, name)


def compare(models: Sequence[TrainedModel]) -> Comparison:
    """Rank models and test every pair of them on the test clips.

    Raises:
        DataError: see `check_comparable`.
    """
    check_comparable(models)
    test = models[0].test
    labels, clusters = test.labels, test.clusters
    correct_top1 = {model.name: metrics.correct_at_k(model.test.logits, labels, 1) for model in models}
    correct = {model.name: model.predictions.correct() for model in models}
    majority_accuracy = float(np.bincount(labels).max() / len(labels))
    # If all test clips are of one class, the majority class is always correct, and no model can be better.
    p_majority = holm([better_than(int(correct_top1[model.name].sum()), len(labels), majority_accuracy) for model in models])

    measured = [_measured(model, correct[model.name], majority_accuracy, p) for model, p in zip(models, p_majority, strict=True)]
    order = sorted(measured, key=lambda one: (-one["top1"], -one["mean_class"], one["parameters"], one["name"]))
    leaderboard = tuple(LeaderboardRow(rank=place, **one) for place, one in enumerate(order, start=1))

    rows = list(combinations(leaderboard, 2))
    exact = [mcnemar(correct_top1[a.name], correct_top1[b.name]) for a, b in rows]
    by_cluster = [cluster_difference(correct[a.name], correct[b.name], clusters) for a, b in rows]
    corrected = holm([test.p for test in exact]), holm([test.p for test in by_cluster])
    pairs = tuple(
        Pair(
            a.name, b.name, a.top1 - b.top1, one.only_first, one.only_second, one.p, p_holm, other.interval, other.p, p_sources_holm
        )
        for (a, b), one, other, p_holm, p_sources_holm in zip(rows, exact, by_cluster, *corrected, strict=True)
    )
    return Comparison(leaderboard, pairs, majority_accuracy, advise(leaderboard, pairs))


def _measured(model: TrainedModel, correct: NDArray[np.float64], majority_accuracy: float, p_majority: float) -> dict[str, Any]:
    """The fields of a model's LeaderboardRow, without its rank."""
    test, val = model.test, model.val
    by_seed = [metrics.top_k(logits, test.labels, 1) for logits in test.seed_logits]
    top1 = float(np.mean(by_seed))
    return {
        "name": model.name,
        "top1": top1,
        "std": float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 else None,
        "interval": cluster_interval(correct, test.clusters),
        "wilson": wilson(round(top1 * len(test.labels)), len(test.labels)),
        "top5": metrics.top_k(test.logits, test.labels, 5),
        "top5_interval": cluster_interval(metrics.correct_at_k(test.logits, test.labels, 5).astype(np.float64), test.clusters),
        "mean_class": metrics.mean_class(test.logits, test.labels),
        "val_top1": metrics.top_k(val.logits, val.labels, 1) if len(val.labels) else None,
        "parameters": model.parameters,
        "best_epoch": model.best_epoch,
        "epochs": model.epochs,
        "majority_accuracy": majority_accuracy,
        "p_majority": p_majority,
    }


def advise(leaderboard: Sequence[LeaderboardRow], pairs: Sequence[Pair]) -> Advice:
    """Derive the deployment advice.

    - avoid: not significantly better than the majority class (`LeaderboardRow.beats_majority`); or another model is significantly
      more accurate (both tests, Holm) and no larger.
    - most accurate: the model ranked first. Models without a significant difference from it are tied with it; the cheapest of
      these and the first has the fewest parameters.
    - smallest: the fewest parameters.
    - balanced: the highest efficiency among the first and those tied with it.

    Cheapest, smallest and balanced skip models to avoid, unless all models are to be avoided.
    """
    by_name = {row.name: row for row in leaderboard}
    avoid: dict[str, str] = {}
    for row in leaderboard:
        better = [pair.a for pair in pairs if pair.b == row.name and pair.apart]
        no_larger = [name for name in better if by_name[name].parameters <= row.parameters]
        if not row.beats_majority:
            avoid[row.name] = "not shown to be better than always answering the most frequent class"
        elif no_larger:
            avoid[row.name] = f"{no_larger[0]} is significantly more accurate and no larger"

    first = leaderboard[0]
    tied = [pair.b for pair in pairs if pair.a == first.name and not pair.apart]
    usable = [row for row in leaderboard if row.name not in avoid] or list(leaderboard)
    leaders = [row for row in usable if row.name == first.name or row.name in tied] or usable
    return Advice(
        most_accurate=first.name,
        tied=tuple(tied),
        cheapest_tied=min(leaders, key=lambda one: one.parameters).name,
        smallest=min(usable, key=lambda one: one.parameters).name,
        balanced=max(leaders, key=lambda one: one.efficiency).name,
        avoid=avoid,
    )


def chosen_by_validation(comparison: Comparison) -> tuple[str, ...]:
    """The models with the highest validation top-1, in order of rank; empty without a validation set."""
    known = [row.val_top1 for row in comparison.leaderboard if row.val_top1 is not None]
    return tuple(row.name for row in comparison.leaderboard if known and row.val_top1 == max(known))


def at_a_glance(comparison: Comparison, order: Sequence[str]) -> dict[str, Any]:
    """The content of summary.json, which `dvc metrics show` prints as one row: the best model, and each model's top-1."""
    return {"best": comparison.advice.most_accurate, **{name: comparison.row(name).top1 for name in order}}


def summary(comparison: Comparison, context: EvaluationContext, order: Sequence[str]) -> dict[str, Any]:
    """The content of compare.json, the same on every run; models in the fixed `order`.

    `dvc metrics show` prints a column for each number in a mapping and leaves lists out. So the pairs are a list, and each model
    has its test against the model ranked first.
    """
    advice = comparison.advice
    return {
        "actionrec_version": __version__,
        "best": advice.most_accurate,
        "dataset": context.dataset,
        "protocol": context.protocol,
        "fold": context.fold,
        "folds": context.folds,
        "seed": context.seed,
        "epoch_chosen_on": context.epoch_chosen_on,
        "backbone": context.backbone,
        "weights": context.weights,
        "classes": len(context.class_names),
        "test_clips": context.test_clips,
        "most_frequent_class": comparison.majority_accuracy,
        "advice": {
            "most_accurate": advice.most_accurate,
            "cheapest_tied": advice.cheapest_tied,
            "smallest": advice.smallest,
            "balanced": advice.balanced,
            "avoid": advice.avoid,
        },
        "models": {name: _model_summary(comparison, name) for name in order},
        "pairs": [{**asdict(pair), "verdict": pair.verdict} for pair in comparison.pairs],
    }


def _model_summary(comparison: Comparison, name: str) -> dict[str, Any]:
    row = comparison.row(name)
    test = comparison.against_first(name)
    return {
        "rank": row.rank,
        "top1": row.top1,
        "top1_low": row.interval.low,
        "top1_high": row.interval.high,
        **({} if row.std is None else {"top1_std": row.std}),
        "top1_wilson_low": row.wilson.low,
        "top1_wilson_high": row.wilson.high,
        "top5": row.top5,
        "top5_low": row.top5_interval.low,
        "top5_high": row.top5_interval.high,
        "mean_class": row.mean_class,
        **({} if row.val_top1 is None else {"val_top1": row.val_top1}),
        "best_epoch": row.best_epoch,
        "parameters": row.parameters,
        "efficiency": row.efficiency,
        "p_guessing": row.p_majority,
        "beats_guessing": row.beats_majority,
        "p_against_best": 1.0 if test is None else test.p_both,
        "tied_with_best": test is None or not test.apart,
    }
