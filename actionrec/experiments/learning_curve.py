"""Learning curve: one model trained on a quarter, a half, three quarters and all of the training sources, tested on the same clips.

Whole source videos or persons are added, never single clips, because a sibling of a training clip adds little. Each subset contains
the one before it. Every training takes as many steps as the one on all clips, so that a small subset is not trained for less long.

n test clips.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actionrec.core import paths
from actionrec.core.errors import DataError
from actionrec.data.splits import SplitSettings, deal
from actionrec.evaluation.intervals import Interval, cluster_interval
from actionrec.evaluation.predictions import Predictions
from actionrec.evaluation.significance_tests import PairedTest, paired_tests
from actionrec.experiments.part_runs import PartRun, part_run
from actionrec.features.settings import streams_of, streams_phrase
from actionrec.training.recipes import Recipe
from actionrec.training.training_data import TrainingData

PARTS = ("1/4", "2/4", "3/4", "all")
"""Names of the subsets of the training sources."""


@dataclass(frozen=True)
class CurvePoint:
    """The model trained on one subset."""

    part: str
    """One of PARTS."""
    clips: int
    """Training clips."""
    sources: int
    """Clusters that these come from, see actionrec.data.clips.Clip.cluster."""
    top1: float
    """On the test clips; the mean over seeds."""
    by_seed: tuple[float, ...]
    interval: Interval
    """Of top1, from whole clusters of test clips."""


@dataclass(frozen=True)
class Curve:
    """A model's learning curve."""

    model: str
    seeds: tuple[int, ...]
    test_clips: int
    test_sources: int
    majority_accuracy: float
    """Share of the most frequent class of the test clips."""
    points: tuple[CurvePoint, ...]
    gain: PairedTest
    """Top-1 with all training sources minus that with three quarters of them."""


def nested_subsets(data: TrainingData, seed: int) -> list[NDArray[np.int64]]:
    """Training rows of each of PARTS, each a subset of the next; every one has clips of all classes.

    The sources are dealt to four parts, balanced by class. A class that the first part lacks gets one source more there: the
    smallest of the class in the next part that has any.

    Args:
        seed: of the deal.

    Raises:
        DataError: there are too few training sources.
    """
    rows = data.rows["train"]
    labels, clusters = data.labels[rows], data.clusters[rows]
    if len(np.unique(clusters)) >= len(PARTS):
        part = deal(labels.astype(np.str_), clusters, len(PARTS), seed)
        for label in np.unique(labels[~np.isin(labels, labels[part == 0])]):
            of_class = np.flatnonzero(labels == label)
            first = min(of_class, key=lambda row: (part[row], (clusters == clusters[row]).sum(), clusters[row]))
            part[clusters == clusters[first]] = 0
        if len(np.unique(part)) == len(PARTS):
            return [rows[part <= last] for last in range(len(PARTS))]
    raise DataError(
        f"{paths.SPLIT}: too few training sources for a learning curve; got {len(np.unique(clusters))} for "
        f"{len(np.unique(labels))} classes, expected at least {len(PARTS)}, and several for each class. Add clips from other "
        "sources, or check data.group."
    )


def equal_steps(recipe: Recipe, clips: int, all_clips: int) -> Recipe:
    """The recipe for a subset: as many more epochs as it has fewer clips, so that the number of steps stays the same."""
    factor, train = all_clips / clips, recipe.train
    return replace(
        recipe,
        train=replace(
            train,
            epochs=round(train.epochs * factor),
            step_size=max(1, round(train.step_size * factor)),
            warmup_epochs=train.warmup_epochs * factor,
        ),
    )


def runs(data: TrainingData, features_sum: str, model: str, recipe: Recipe, device: str) -> list[PartRun]:
    """One training run for each of PARTS, of all seeds.

    Args:
        features_sum: see `part_runs.digest_of`.

    Raises:
        DataError: there are too few training sources.
        ParamsError: the model's arguments do not fit together.
    """
    subsets = nested_subsets(data, recipe.seed)
    results = []
    for part, rows in zip(PARTS, subsets, strict=True):
        task = replace(data, rows={**data.rows, "train": rows})
        own = equal_steps(recipe, len(rows), len(subsets[-1]))
        results.append(part_run(f"{part} of the training sources", model, own, task, features_sum, device))
    return results


def curve(part_runs: Sequence[PartRun], predictions: Sequence[Predictions]) -> Curve:
    """Summarise finished runs.

    Args:
        predictions: of each run.
    """
    test = predictions[-1].test
    points = [_point(part, run.task, one, test.clusters) for part, run, one in zip(PARTS, part_runs, predictions, strict=True)]
    [gain] = paired_tests([(predictions[-1].correct(), predictions[-2].correct())], test.clusters)
    return Curve(
        part_runs[0].model,
        predictions[0].seeds,
        len(test.labels),
        len(np.unique(test.clusters)),
        float(np.bincount(test.labels).max() / len(test.labels)),
        tuple(points),
        gain,
    )


def _point(part: str, task: TrainingData, predictions: Predictions, clusters: NDArray[np.int64]) -> CurvePoint:
    correct, rows = predictions.correct(), task.rows["train"]
    return CurvePoint(
        part,
        len(rows),
        len(np.unique(task.clusters[rows])),
        float(correct.mean()),
        tuple(correct.mean(axis=1).tolist()),
        cluster_interval(correct, clusters),
    )


def phrase(dataset: str, split: SplitSettings, data: TrainingData) -> str:
    """The protocol in one line, for captions."""
    which = (
        f"official split {split.fold}"
        if split.protocol == "official"
        else f"{split.protocol} split, fold {split.fold} of {split.folds}"
    )
    chosen = "validation" if data.held_out == "val" else "test"
    source = data.features.source
    weights = "UNTRAINED" if source["weights"] == "random" else f"weights {source['weights']}"
    features = ", ".join(filter(None, (source["backbone"], weights, streams_phrase(streams_of(source)))))
    return f"{dataset}, {which}; epoch chosen on {chosen} clips; {features}"


def default_model(summary: object, known: Sequence[str], where: Path = paths.SUMMARY) -> str:
    """The model to deploy, from the content of metrics/summary.json.

    Raises:
        DataError: it names no known model.
    """
    best = summary.get("best") if isinstance(summary, dict) else None
    if best not in known:
        raise DataError(f"{where} does not say which model is the best. Run `dvc repro`, or choose a model with --model.")
    return str(best)
