from dataclasses import replace

import numpy as np
import pytest
import torch
from fabricate import train_settings

from actionrec.data.clips import Clip
from actionrec.data.splits import SplitSettings
from actionrec.experiments import leak_gap
from actionrec.features.feature_store import FeatureSet
from actionrec.io import machine
from actionrec.training.recipes import Recipe

TRAIN = train_settings(epochs=6, batch_size=8, step_size=10)
RECIPES = {"gru": Recipe(0, TRAIN, {"hidden_dim": 16, "dropout": 0.0})}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(machine, "TRAINING_THREADS", 1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def clips_and_features():
    """Classes that cannot be told from each other, and sources that can: only who has met a source's sibling knows its class."""
    random = np.random.default_rng(0)
    clips, features = [], []
    for label in ("a", "b", "c"):
        for group in range(10):
            source = random.normal(0, 3, 12)
            for number in range(4):
                name = f"{label}/v_{label}_g{group:02d}_c{number}.avi"
                clips.append(Clip(name, label, f"g{group:02d}", 1, name))
                features.append(source + random.normal(0, 0.3, (3, 12)))
    order = np.argsort([clip.id for clip in clips])
    ids = [clips[place].id for place in order]
    return clips, FeatureSet(ids, np.array(features)[order].astype(np.float16), {})


def measured(clips_and_features, folds, seeds=(0,)):
    settings = SplitSettings("group", 5, 0, 0.2)
    runs = [*leak_gap.tasks(*clips_and_features, settings, 0, folds)]
    recipe = RECIPES["gru"]
    advanced = []
    [gap] = leak_gap.measure(runs, {"gru": replace(recipe, train=replace(recipe.train, seeds=seeds))}, "cpu", advanced.append)
    assert len(advanced) == len(runs) * len(seeds)
    return gap


def answered(clips, correct, seeds=1):
    """Two clips of each source; `correct` says of a clip's number whether all runs are correct."""
    return {f"{clip}.avi": (np.full(seeds, correct(clip)), clip // 2) for clip in clips}


def test_what_a_model_owes_to_siblings_is_the_gap(clips_and_features):
    gap = measured(clips_and_features, [0])
    assert gap.difference > 0.3
    assert gap.difference == gap.random.top1 - gap.group.top1
    assert gap.interval.low < gap.difference < gap.interval.high
    assert 0 < gap.common.clips < gap.group.clips
    assert gap.common.difference == pytest.approx(gap.common.random - gap.common.group)


def test_over_all_folds_each_clip_is_tested_once_and_the_gap_is_paired(clips_and_features):
    gap = measured(clips_and_features, range(5), seeds=(0, 3))
    assert (gap.random.clips, gap.group.clips, gap.common.clips, gap.common.sources, gap.seeds) == (120, 120, 120, 30, 2)
    assert gap.difference == pytest.approx(gap.random.top1 - gap.group.top1)
    assert (gap.difference, gap.interval) == (gap.common.difference, gap.common.interval)
    assert gap.interval.low > 0.2


def test_no_gap_where_the_answers_are_the_same():
    same = answered(range(30), lambda clip: clip % 3 > 0)
    gap = leak_gap.gap("gru", same, same)
    assert gap.difference == gap.common.difference == 0
    assert gap.interval.low <= 0 <= gap.interval.high
    assert gap.common.p == 1


def test_only_common_clips_are_compared_in_pairs():
    """Clips 20 to 39 are tested under both splits; the others are all correct under one and all wrong under the other."""
    random = answered(range(40), lambda clip: clip < 20 or clip % 2 == 0)
    group = answered(range(20, 60), lambda clip: clip < 40 and clip % 2 == 0)
    gap = leak_gap.gap("gru", random, group)
    assert (gap.common.clips, gap.common.sources) == (20, 10)
    assert (gap.common.random, gap.common.group, gap.common.difference) == (0.5, 0.5, 0)
    assert (gap.random.top1, gap.group.top1, gap.difference) == (0.75, 0.25, 0.5)


def test_without_common_clips_there_is_no_paired_gap():
    gap = leak_gap.gap("gru", answered(range(10), lambda clip: True), answered(range(10, 20), lambda clip: clip % 2 == 0))
    assert gap.common is None
    assert gap.difference == 0.5


def test_seeds_that_disagree_widen_the_interval_of_the_gap():
    group = answered(range(100), lambda clip: clip % 4 == 0, seeds=2)
    alike = answered(range(100), lambda clip: clip % 4 < 2, seeds=2)
    unlike = {
        clip: (np.array([clip[:-4].endswith(("0", "1")), int(clip[:-4]) % 5 > 0]), source) for clip, (_, source) in alike.items()
    }
    one, other = leak_gap.gap("gru", alike, group).common, leak_gap.gap("gru", unlike, group).common
    assert other.interval.high - other.interval.low > 1.3 * (one.interval.high - one.interval.low)
