"""What a leaking split is worth: the same recipes on the same features under a random and under a group split.

Under `random`, clips cut from one source video stand on both sides; under `group` they do not. The difference in test top-1 is
what the models owe to having met the test clips' siblings.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from actionrec.data.clips import Clip
from actionrec.data.splits import SplitSettings, divide
from actionrec.evaluation import metrics
from actionrec.evaluation.intervals_and_tests import Interval, cluster_difference, cluster_interval
from actionrec.features.feature_store import FeatureSet
from actionrec.report import percent, table
from actionrec.training import seed_runs
from actionrec.training.bundle import Architecture
from actionrec.training.recipes import Recipe
from actionrec.training.training_data import TrainingData, make_training_data

Protocol = Literal["random", "group"]
PROTOCOLS: tuple[Protocol, ...] = ("random", "group")

AnsweredClips = dict[str, tuple[bool, int]]
"""Test clip -> whether the answer is right, and its source's number."""


@dataclass(frozen=True)
class Side:
    """One model under one protocol."""

    top1: float
    interval: Interval
    clips: int
    """Tested, over all folds that were run."""


@dataclass(frozen=True)
class Gap:
    """One model's top-1 under `random` less that under `group`."""

    model: str
    random: Side
    group: Side
    difference: float
    interval: Interval


def tasks(
    clips: Sequence[Clip],
    features: FeatureSet,
    settings: SplitSettings,
    seed: int,
    folds: Sequence[int],
    protocols: Sequence[Protocol] = PROTOCOLS,
) -> Iterator[tuple[str, TrainingData]]:
    """The clips divided by each protocol, in each of the folds; everything else is as in `settings`.

    Raises:
        DataError: the clips cannot be divided so.
    """
    for protocol in protocols:
        for fold in folds:
            subsets = divide(clips, replace(settings, protocol=protocol, fold=fold), seed)
            yield protocol, make_training_data(clips, subsets, features)


def answers(task: TrainingData, model: str, recipe: Recipe, device: str) -> AnsweredClips:
    """Train a model by its recipe, with its first seed, and see which test clips it gets right."""
    architecture = Architecture(model, recipe.arguments, task.features.features.shape[2], task.class_names)
    trial = seed_runs.run(task, architecture, recipe, recipe.train.seeds[0], device, lambda epoch: None)
    rows = task.reported
    correct = metrics.correct_at_k(trial.logits, task.labels[rows], 1)
    return {
        task.features.clips[row]: (bool(one), int(task.clusters[row]))
        for row, one, subset in zip(rows, correct, task.reported_subsets, strict=True)
        if subset == "test"
    }


def measure(
    runs: Sequence[tuple[str, TrainingData]], recipes: Mapping[str, Recipe], device: str, advance: Callable[[int], None]
) -> list[Gap]:
    """Train every model on every task, and compare the protocols; `advance` is told of each training."""
    found: dict[tuple[str, str], AnsweredClips] = {(model, protocol): {} for model in recipes for protocol in PROTOCOLS}
    for protocol, task in runs:
        for model, recipe in recipes.items():
            found[model, protocol] |= answers(task, model, recipe, device)
            advance(1)
    return [gap(model, found[model, "random"], found[model, "group"]) for model in recipes]


def gap(model: str, random: AnsweredClips, group: AnsweredClips) -> Gap:
    """Compare one model's answers under the two protocols.

    Where both tested the same clips (all folds), clip by clip; else as two samples, by Newcombe's rule from their two intervals
    (Newcombe 1998, Statistics in Medicine 17, method 10).
    """
    one, other = _side(random), _side(group)
    if random.keys() == group.keys():
        clips = sorted(random)
        clusters = np.array([random[clip][1] for clip in clips])
        test = cluster_difference(_correct_of(random, clips), _correct_of(group, clips), clusters)
        return Gap(model, one, other, test.difference, test.interval)
    difference = one.top1 - other.top1
    below = math.hypot(one.top1 - one.interval.low, other.interval.high - other.top1)
    above = math.hypot(one.interval.high - one.top1, other.top1 - other.interval.low)
    return Gap(model, one, other, difference, Interval(difference - below, difference + above))


def _correct_of(answered: AnsweredClips, clips: Sequence[str]) -> NDArray[np.float64]:
    return np.array([answered[clip][0] for clip in clips], dtype=np.float64)


def _side(answered: AnsweredClips) -> Side:
    clips = sorted(answered)
    correct = _correct_of(answered, clips)
    clusters = np.array([answered[clip][1] for clip in clips])
    return Side(float(correct.mean()), cluster_interval(correct, clusters), len(clips))


def text(gaps: Sequence[Gap]) -> str:
    """The table, and how to read it."""
    rows = [
        [
            one.model,
            _in_words(one.random),
            _in_words(one.group),
            f"{100 * one.difference:+.1f}",
            f"{100 * one.interval.low:+.1f} to {100 * one.interval.high:+.1f}",
        ]
        for one in gaps
    ]
    header = ["model", "random, top-1 %", "group, top-1 %", "difference, points", "95 % interval"]
    first = gaps[0]
    note = (
        f"{first.random.clips:,} test clips under the random split, {first.group.clips:,} under the group split. Above 0: what a "
        "model owes to siblings of the test clips in training. Intervals are from whole sources; one that holds 0 shows nothing."
    )
    return f"{table(header, rows, 'lrrrr')}\n\n{note}\n"


def _in_words(side: Side) -> str:
    return f"{percent(side.top1)} ({percent(side.interval.low)}–{percent(side.interval.high)})"
