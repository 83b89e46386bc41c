"""Comparison of trained models on the same test clips: leaderboard, tests of all pairs, and advice. Uses no timings."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from actionrec.evaluation import leaderboard
from actionrec.evaluation.advice import Advice, advise
from actionrec.evaluation.clip_cost import BackboneCost
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.leaderboard import LeaderboardRow, Pair
from actionrec.evaluation.trained_models import TrainedModel, check_comparable
from actionrec.features.settings import described_streams
from actionrec.version import __version__


@dataclass(frozen=True)
class Comparison:
    """Models in order of rank, all pairs of models, and the advice."""

    leaderboard: tuple[LeaderboardRow, ...]
    pairs: tuple[Pair, ...]
    majority_accuracy: float
    """Share of the most frequent class among the test clips."""
    advice: Advice
    backbone: BackboneCost

    def row(self, name: str) -> LeaderboardRow:
        return next(row for row in self.leaderboard if row.name == name)

    def pair(self, one: str, other: str) -> Pair:
        return next(pair for pair in self.pairs if {pair.a, pair.b} == {one, other})

    def against_first(self, name: str) -> Pair | None:
        """The test of a model against the one ranked first; None for the first itself."""
        first = self.leaderboard[0].name
        return None if name == first else self.pair(first, name)

    @property
    def baselines(self) -> list[str]:
        """Names of the models that ignore the order of frames, in order of rank."""
        return [row.name for row in self.leaderboard if row.order_blind]


def compare(models: Sequence[TrainedModel], margin: float, backbone: BackboneCost) -> Comparison:
    """Rank models and test every pair of them on the test clips.

    Args:
        margin: `compare.margin`, see `advise`.
        backbone: what the backbone of all models costs.

    Raises:
        DataError: see `check_comparable`.
    """
    check_comparable(models)
    rows = leaderboard.leaderboard(models, backbone)
    pairs = leaderboard.pairs(models, rows)
    sources = len(np.unique(models[0].test.clusters))
    return Comparison(rows, pairs, rows[0].majority_accuracy, advise(rows, pairs, margin, sources), backbone)


def chosen_by_validation(comparison: Comparison) -> tuple[str, ...]:
    """The models with the highest validation top-1, in order of rank; empty without a validation set."""
    known = [row.val_top1 for row in comparison.leaderboard if row.val_top1 is not None]
    return tuple(row.name for row in comparison.leaderboard if known and row.val_top1 == max(known))


def at_a_glance(comparison: Comparison, order: Sequence[str]) -> dict[str, Any]:
    """The content of summary.json, which `dvc metrics show` prints as one row: the model to deploy, and each model's top-1."""
    return {"best": comparison.advice.deploy, **{name: comparison.row(name).top1 for name in order}}


def summary(comparison: Comparison, context: EvaluationContext, order: Sequence[str]) -> dict[str, Any]:
    """The content of compare.json, the same on every run; models in the fixed `order`."""
    advice = asdict(comparison.advice)
    return {
        "actionrec_version": __version__,
        "best": advice.pop("deploy"),
        "dataset": context.dataset,
        "protocol": context.protocol,
        "fold": context.fold,
        "folds": context.folds,
        "evaluated_folds": context.evaluated_folds,
        "seed": context.seed,
        "epoch_chosen_on": context.epoch_chosen_on,
        "backbone": context.backbone,
        "backbone_parameters": comparison.backbone.parameters,
        "backbone_flops": comparison.backbone.flops,
        "weights": context.weights,
        **described_streams(context.streams),
        "classes": len(context.class_names),
        "test_clips": context.test_clips,
        "test_sources": context.test_sources,
        "most_frequent_class": comparison.majority_accuracy,
        "advice": {key: value for key, value in advice.items() if value is not None},
        "models": {name: _model_summary(comparison, name) for name in order},
        "pairs": [_pair_summary(pair) for pair in comparison.pairs],
    }


def _model_summary(comparison: Comparison, name: str) -> dict[str, Any]:
    row = comparison.row(name)
    pair = comparison.against_first(name)
    return {
        "rank": row.rank,
        "order_blind": row.order_blind,
        "top1": row.top1,
        "top1_low": row.interval.low,
        "top1_high": row.interval.high,
        **({} if row.std is None else {"top1_std": row.std}),
        **({"fold_top1": list(row.fold_top1)} if len(row.fold_top1) > 1 else {}),
        "top1_wilson_low": row.wilson.low,
        "top1_wilson_high": row.wilson.high,
        "top5": row.top5,
        "top5_low": row.top5_interval.low,
        "top5_high": row.top5_interval.high,
        "mean_class": row.mean_class,
        "macro_f1": row.macro_f1,
        **({} if row.val_top1 is None else {"val_top1": row.val_top1, "val_loss": row.val_loss}),
        "best_epoch": row.best_epoch,
        "parameters": row.parameters,
        "flops": row.flops,
        "total_params": row.total_params,
        "total_flops": row.total_flops,
        "efficiency": row.efficiency,
        "p_guessing": row.p_majority,
        "beats_guessing": row.beats_majority,
        "p_against_best": 1.0 if pair is None else pair.test.p,
        "tied_with_best": pair is None or not pair.apart,
    }


def _pair_summary(pair: Pair) -> dict[str, Any]:
    return {
        "a": pair.a,
        "b": pair.b,
        "difference": pair.test.difference,
        "difference_low": pair.test.interval.low,
        "difference_high": pair.test.interval.high,
        "p": pair.test.p,
        "only_a_correct": pair.only_a_correct,
        "only_b_correct": pair.only_b_correct,
        "p_mcnemar": pair.p_mcnemar,
        "verdict": pair.verdict,
    }
