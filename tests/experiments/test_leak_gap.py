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


def measured(clips_and_features, folds):
    settings = SplitSettings("group", 5, 0, 0.2)
    runs = [*leak_gap.tasks(*clips_and_features, settings, 0, folds)]
    told = []
    [gap] = leak_gap.measure(runs, RECIPES, "cpu", told.append)
    assert len(told) == len(runs)
    return gap


def test_what_a_model_owes_to_siblings_is_the_gap(clips_and_features):
    gap = measured(clips_and_features, [0])
    assert gap.difference > 0.3
    assert gap.difference == gap.random.top1 - gap.group.top1
    assert gap.interval.low < gap.difference < gap.interval.high


def test_over_all_folds_each_clip_is_tested_once_and_the_gap_is_paired(clips_and_features):
    gap = measured(clips_and_features, range(5))
    assert (gap.random.clips, gap.group.clips) == (120, 120)
    assert gap.difference == pytest.approx(gap.random.top1 - gap.group.top1)
    assert gap.interval.low > 0.2


def test_no_gap_where_the_answers_are_the_same():
    same = {f"{place}.avi": (place % 3 > 0, place // 2) for place in range(30)}
    gap = leak_gap.gap("gru", same, same)
    assert gap.difference == 0
    assert gap.interval.low <= 0 <= gap.interval.high
