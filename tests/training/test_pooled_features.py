import numpy as np
import pytest
import torch

from actionrec.io import scratch
from actionrec.models import create_model
from actionrec.training import pooled_features
from actionrec.training.classifier import Classifier
from actionrec.training.loop import Examples
from actionrec.training.pooled_features import pooled_blocks, standardisation

CLIPS, FRAMES, FEATURE_DIM = 300, 3, 5


@pytest.fixture
def examples():
    features = np.random.default_rng(0).normal(3, 2, (CLIPS, FRAMES, FEATURE_DIM)).astype(np.float16)
    return Examples(features, torch.zeros(CLIPS, dtype=torch.long), np.arange(0, CLIPS, 2), np.arange(1, CLIPS, 2))


@pytest.fixture
def network():
    return Classifier(FEATURE_DIM, create_model("mean_pool", {}, feature_dim=FEATURE_DIM, class_count=2))


@pytest.mark.parametrize(("most", "sizes"), [(150, [150]), (149, [70, 70, 10])])
@pytest.mark.parametrize("in_file", [False, True])
def test_blocks_hold_the_training_clips_in_order(examples, network, project, monkeypatch, most, sizes, in_file):
    monkeypatch.setattr(pooled_features, "ONE_BLOCK", most)
    monkeypatch.setattr(pooled_features, "_BLOCK", 70)
    if in_file:
        array = scratch.scratch_array
        monkeypatch.setattr(pooled_features, "scratch_array", lambda shape: array(shape, in_memory=0))
    blocks = pooled_blocks(network, examples)
    assert [len(block) for block in blocks] == sizes
    expected = examples.features[examples.train_rows].astype(np.float32).mean(axis=1)
    np.testing.assert_allclose(torch.cat(blocks), expected, rtol=1e-6)
    assert (project / ".work").exists() == in_file


@pytest.mark.parametrize("size", [1, 64, 1000])
def test_blocks_give_the_mean_and_deviation_of_all_clips_whatever_their_size(size):
    values = np.random.default_rng(0).normal(100, 1, (1000, 3)).astype(np.float32) * np.float32([1, 1e-3, 1e3])
    values[:, 1] += np.arange(1000) // 100  # the blocks' means differ
    values = np.column_stack([values, np.full(1000, 7, dtype=np.float32)])
    mean, scale = standardisation(torch.from_numpy(values).split(size))
    wide = values.astype(np.float64)
    np.testing.assert_allclose(mean, wide.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(scale[:3], 1 / wide[:, :3].std(axis=0), rtol=1e-6)
    assert scale[3] == 0  # a constant column
