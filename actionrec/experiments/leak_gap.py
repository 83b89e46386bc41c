"""Leak gap: top-1 under a random split minus top-1 under a group split, with the same recipes and features.

Under `random`, clips cut from one source video are in training and test; under `group` they are not. The difference in test
top-1 is due to siblings of the test clips in training.
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
from actionrec.evaluation.intervals import Interval, cluster_interval
from actionrec.evaluation.significance_tests import paired_tests
from actionrec.features.feature_store import FeatureSet
from actionrec.training import seed_runs
from actionrec.training.bundle import Architecture
from actionrec.training.recipes import Recipe
from actionrec.training.training_data import TrainingData, make_training_data

Protocol = Literal["random", "group"]
PROTOCOLS: tuple[Protocol, ...] = ("random", "group")

AnsweredClips = dict[str, tuple[bool, int]]
"""Test clip -> whether the answer is correct, and the number of the clip's cluster."""


@dataclass(frozen=True)
class Side:
    """One model under one protocol."""

    top1: float
    interval: Interval
    clips: int
    """Test clips, over all folds that were run."""


@dataclass(frozen=True)
class Gap:
    """One model's top-1 under `random` minus that under `group`."""

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
    """Yield the training data of each protocol and fold; everything else is as in `settings`.

    Raises:
        DataError: the clips cannot be divided this way.
    """
    for protocol in protocols:
        for fold in folds:
            subsets = divide(clips, replace(settings, protocol=protocol, fold=fold), seed)
            yield protocol, make_training_data(clips, subsets, features)


def answers(task: TrainingData, model: str, recipe: Recipe, device: str) -> AnsweredClips:
    """Train a model by its recipe, with its first seed, and return which test clips it classifies correctly."""
    architecture = Architecture(model, recipe.arguments, task.features.features.shape[2], task.class_names)
    seed_run = seed_runs.run(task, architecture, recipe, recipe.train.seeds[0], device, lambda epoch: None)
    rows = task.reported
    correct = metrics.correct_at_k(seed_run.logits, task.labels[rows], 1)
    return {
        task.features.clips[row]: (bool(one), int(task.clusters[row]))
        for row, one, subset in zip(rows, correct, task.reported_subsets, strict=True)
        if subset == "test"
    }


def measure(
    runs: Sequence[tuple[str, TrainingData]], recipes: Mapping[str, Recipe], device: str, advance: Callable[[int], None]
) -> list[Gap]:
    """Train every model on every task, and compare the protocols; calls `advance` after each training."""
    answered: dict[tuple[str, str], AnsweredClips] = {(model, protocol): {} for model in recipes for protocol in PROTOCOLS}
    for protocol, task in runs:
        for model, recipe in recipes.items():
            answered[model, protocol] |= answers(task, model, recipe, device)
            advance(1)
    return [gap(model, answered[model, "random"], answered[model, "group"]) for model in recipes]


def gap(model: str, random: AnsweredClips, group: AnsweredClips) -> Gap:
    """Compare one model's answers under the two protocols.

    Paired, if both protocols tested the same clips (all folds). Otherwise as two samples, by Newcombe's rule from the two
    intervals (Newcombe 1998, Statistics in Medicine 17, method 10).
    """
    one, other = _side(random), _side(group)
    if random.keys() == group.keys():
        clips = sorted(random)
        clusters = np.array([random[clip][1] for clip in clips])
        [test] = paired_tests([(_correct_of(random, clips), _correct_of(group, clips))], clusters)
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
