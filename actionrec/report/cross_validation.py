"""Report of a cross-validation for people and spreadsheets, with accuracies in percent."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np

from actionrec.core.text import percent
from actionrec.evaluation.predictions import Predictions
from actionrec.experiments.fold_results import FoldResult, Spread
from actionrec.features.feature_store import FeatureSet
from actionrec.report import escape_markdown, table
from actionrec.report.wording import DIFFERENCE_HEADER, difference_cells, span

REPORT = "report.md"
MODELS = "report.csv"
FOLDS = "folds.csv"
FOLDS_HEADER = ("model", "fold", "test_clips", "top1_percent", "top5_percent", "mean_class_percent")
MODELS_HEADER = (
    "rank",
    "model",
    "folds",
    "test_clips",
    "top1_percent",
    "top1_low_percent",
    "top1_high_percent",
    *(f"fold_{what}_{number}_percent" for what in ("top1", "top5", "mean_class") for number in ("mean", "std")),
    "parameters",
    "behind_first_points",
    "p_against_first",
    "verdict",
    "protocol",
)


@dataclass(frozen=True)
class FoldContext:
    """The data, split, training and backbone behind the numbers."""

    dataset: str
    folds: int
    validation: float
    """Validation share of the clips that are not tested; with 0, the epoch is chosen on the test clips."""
    seed: int
    seeds: int
    """Training runs per model and fold."""
    clips: int
    """Clips with features."""
    tested: int
    """Tested clips in all folds. Clips of a class with a single group are only trained on."""
    sources: int
    """Clusters that the tested clips come from, see actionrec.data.clips.Clip.cluster."""
    backbone: str
    weights: str

    @classmethod
    def of(
        cls, dataset: str, validation: float, seed: int, features: FeatureSet, predictions: Mapping[str, Sequence[Predictions]]
    ) -> Self:
        """Collect the fields; `predictions` maps each model to its predictions in each fold."""
        folds = next(iter(predictions.values()))
        clusters = np.concatenate([one.test.clusters for one in folds])
        source = features.source
        return cls(
            dataset=dataset,
            folds=len(folds),
            validation=validation,
            seed=seed,
            seeds=max(len(one[0].seeds) for one in predictions.values()),
            clips=len(features.clips),
            tested=len(clusters),
            sources=len(np.unique(clusters)),
            backbone=source["backbone"],
            weights=source["weights"],
        )

    @property
    def phrase(self) -> str:
        """The protocol in one line, for captions."""
        never = self.clips - self.tested
        chosen = f"validation clips, {percent(self.validation)} % of the others" if self.validation else "the test clips"
        parts = [
            f"{self.dataset}, group split, {self.folds} folds, seed {self.seed}",
            f"{self.tested:,} clips of {self.sources:,} source videos, each tested once"
            + (f" ({never:,} of classes with a single group never tested)" if never else ""),
            f"epoch chosen on {chosen}",
            *([f"{self.seeds} training runs per model and fold"] if self.seeds > 1 else []),
            self.backbone + (", UNTRAINED" if self.weights == "random" else f", weights {self.weights}"),
        ]
        return "; ".join(parts)


def text(results: Sequence[FoldResult], context: FoldContext) -> str:
    """The protocol, the table, and notes on it."""
    rows = [
        [
            str(one.rank),
            one.model,
            percent(one.top1),
            span(one.interval),
            *(_spread(spread) for spread in (one.fold_top1, one.fold_top5, one.fold_mean_class)),
            f"{one.parameters:,}",
            *([""] * 4 if one.behind is None else difference_cells(one.behind, one.verdict)),
        ]
        for one in results
    ]
    header = ["", "model", "top-1, all clips", "95 % interval", "top-1, folds", "top-5, folds", "mean class, folds", "parameters"]
    mean = " (mean over training runs)" if context.seeds > 1 else ""
    note = (
        f"In percent. All clips: top-1 over the clips of all folds{mean}; the interval is a bootstrap over source videos. Folds: "
        "mean and standard deviation over folds. The deviation is not the error of the mean, since folds share most of their "
        "training clips. Points: the first model minus this one on the same clips; the test treats each source video as one unit "
        "and is joint over the table, like its intervals. Not shown to differ does not mean equal."
    )
    caption = f"Protocol: {escape_markdown(context.phrase)}."
    return f"{caption}\n\n{table([*header, *DIFFERENCE_HEADER], rows, 'rlrrrrrrrrrl')}\n\n{note}\n"


def model_rows(results: Sequence[FoldResult], context: FoldContext) -> Iterator[list[str | int]]:
    """Rows under MODELS_HEADER, in order of rank."""
    for one in results:
        shares = [one.top1, one.interval.low, one.interval.high]
        for spread in (one.fold_top1, one.fold_top5, one.fold_mean_class):
            shares += [spread.mean, spread.std]
        against = ["", ""] if one.behind is None else [f"{100 * one.behind.difference:.2f}", f"{one.behind.p:.4g}"]
        cells = [f"{100 * share:.2f}" for share in shares]
        cells += [str(one.parameters), *against, one.verdict, context.phrase]
        yield [one.rank, one.model, context.folds, context.tested, *cells]


def fold_rows(results: Sequence[FoldResult]) -> Iterator[list[str | int]]:
    """Rows under FOLDS_HEADER."""
    for one in results:
        for score in one.folds:
            shares = (score.top1, score.top5, score.mean_class)
            yield [one.model, score.fold, score.clips, *(f"{100 * share:.2f}" for share in shares)]


def as_json(results: Sequence[FoldResult], context: FoldContext) -> str:
    """All results as JSON, with accuracies as fractions."""
    models = [{**asdict(one), "verdict": one.verdict} for one in results]
    return json.dumps({"setting": asdict(context), "models": models}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _spread(spread: Spread) -> str:
    return f"{percent(spread.mean)} ± {percent(spread.std)}"
