"""Leak gap: top-1 under a random split minus top-1 under a group split, with the same recipes and features.

Under `random`, clips cut from one source video are in training and test; under `group` they are not. The difference in top-1 on
clips that are tested under both splits (the common clips) is due to siblings of these clips in training, and to chance. Over all
folds, every clip is a common clip. n clips, S training runs.
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

AnsweredClips = dict[str, tuple[NDArray[np.bool_], int]]
"""Test clip -> whether each training run answers it correctly (S,), and the number of the clip's cluster."""


@dataclass(frozen=True)
class Side:
    """One model under one protocol."""

    top1: float
    """Mean over the seeds."""
    interval: Interval
    clips: int
    """Test clips, over all folds that were run."""


@dataclass(frozen=True)
class CommonClips:
    """One model on the clips that are tested under both protocols."""

    clips: int
    sources: int
    random: float
    """Top-1, mean over the seeds."""
    group: float
    difference: float
    interval: Interval
    """Paired, from whole clusters and over the seeds."""
    p: float


@dataclass(frozen=True)
class Gap:
    """One model's top-1 under `random` minus that under `group`."""

    model: str
    seeds: int
    random: Side
    group: Side
    difference: float
    """Over all test clips of each side."""
    interval: Interval
    """Of two samples, if the sides have different clips."""
    common: CommonClips | None
    """None if no clip is tested under both protocols."""


def tasks(
    clips: Sequence[Clip],
    features: FeatureSet,
    settings: SplitSettings,
    seed: int,
    folds: Sequence[int],
) -> Iterator[tuple[str, TrainingData]]:
    """Yield the training data of each protocol and fold; everything else is as in `settings`.

    Raises:
        DataError: the clips cannot be divided this way.
    """
    for protocol in PROTOCOLS:
        for fold in folds:
            subsets = divide(clips, replace(settings, protocol=protocol, fold=fold), seed)
            yield protocol, make_training_data(clips, subsets, features)


def answers(task: TrainingData, model: str, recipe: Recipe, device: str, advance: Callable[[int], None]) -> AnsweredClips:
    """Train a model by its recipe, with each of its seeds, and return which test clips it classifies correctly."""
    architecture = Architecture(model, recipe.arguments, task.features.features.shape[2], task.class_names)
    rows, by_run = task.reported, []
    for seed in recipe.train.seeds:
        logits = seed_runs.run(task, architecture, recipe, seed, device, lambda epoch: None).logits
        by_run.append(metrics.correct_at_k(logits, task.labels[rows], 1))
        advance(1)
    return {
        task.features.clips[row]: (correct, int(task.clusters[row]))
        for row, correct, subset in zip(rows, np.stack(by_run, axis=1), task.reported_subsets, strict=True)
        if subset == "test"
    }


def measure(
    runs: Sequence[tuple[str, TrainingData]], recipes: Mapping[str, Recipe], device: str, advance: Callable[[int], None]
) -> list[Gap]:
    """Train every model on every task, and compare the protocols; calls `advance` after each training run."""
    answered: dict[tuple[str, str], AnsweredClips] = {(model, protocol): {} for model in recipes for protocol in PROTOCOLS}
    for protocol, task in runs:
        for model, recipe in recipes.items():
            answered[model, protocol] |= answers(task, model, recipe, device, advance)
    return [gap(model, answered[model, "random"], answered[model, "group"]) for model in recipes]


def gap(model: str, random: AnsweredClips, group: AnsweredClips) -> Gap:
    """Compare one model's answers under the two protocols: paired on the common clips, and on all test clips.

    The interval over all test clips is the paired one, if these are the common clips. Otherwise it is that of two samples, by
    Newcombe's rule from the two intervals (Newcombe 1998, Statistics in Medicine 17, method 10).
    """
    one, other, common = _side(random), _side(group), _on_common_clips(random, group)
    seeds = len(next(iter(random.values()))[0])
    if common and random.keys() == group.keys():
        return Gap(model, seeds, one, other, common.difference, common.interval, common)
    difference = one.top1 - other.top1
    below = math.hypot(one.top1 - one.interval.low, other.interval.high - other.top1)
    above = math.hypot(one.interval.high - one.top1, other.top1 - other.interval.low)
    return Gap(model, seeds, one, other, difference, Interval(difference - below, difference + above), common)


def _on_common_clips(random: AnsweredClips, group: AnsweredClips) -> CommonClips | None:
    clips = sorted(random.keys() & group.keys())
    if not clips:
        return None
    clusters = _clusters_of(random, clips)
    with_leak, without = _correct_of(random, clips), _correct_of(group, clips)
    [test] = paired_tests([(with_leak, without)], clusters)
    top1 = float(with_leak.mean()), float(without.mean())
    return CommonClips(len(clips), len(np.unique(clusters)), *top1, test.difference, test.interval, test.p)


def _correct_of(answered: AnsweredClips, clips: Sequence[str]) -> NDArray[np.float64]:
    """(S, n): 1 if the answer is correct, else 0."""
    return np.stack([answered[clip][0] for clip in clips], axis=1).astype(np.float64)


def _clusters_of(answered: AnsweredClips, clips: Sequence[str]) -> NDArray[np.int64]:
    return np.array([answered[clip][1] for clip in clips])


def _side(answered: AnsweredClips) -> Side:
    clips = sorted(answered)
    correct = _correct_of(answered, clips)
    return Side(float(correct.mean()), cluster_interval(correct, _clusters_of(answered, clips)), len(clips))
