"""Temporal segment network: a backbone and a linear head, whose logits are averaged over segments."""

import numpy as np
import pytest
import torch
from small_tuning import TinyNetwork

from actionrec.features.extractors import Extractor
from actionrec.finetuning.segment_network import SegmentNetwork

CLIPS, SEGMENTS, CLASSES = 3, 4, 5


def network(streams=1, gain=1.0, dropout=0.0):
    torch.manual_seed(0)
    made = SegmentNetwork(TinyNetwork(), gain, streams * 8, CLASSES, dropout)
    made.head.standardise.mean.normal_()
    made.head.standardise.scale.uniform_(0.5, 2)
    torch.nn.init.normal_(made.head.model.fc.weight)
    return made.eval()


def pictures(streams=1, frames=1, clips=CLIPS):
    return torch.randn(clips * SEGMENTS * streams * frames, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("streams", "frames"), [(1, 1), (2, 1), (2, 3)])
def test_logits_are_the_mean_over_segments_of_the_head_on_each(streams, frames):
    made, shown = network(streams), pictures(streams, frames)
    with torch.no_grad():
        features = made.features(shown, CLIPS, streams, frames)
        assert features.shape == (CLIPS, SEGMENTS, streams * 8)
        each = torch.stack([made.head(features[:, [place]]) for place in range(SEGMENTS)])
        logits = made(shown, CLIPS, streams, frames)
    assert logits.shape == (CLIPS, CLASSES)
    torch.testing.assert_close(logits, each.mean(dim=0))


@pytest.mark.parametrize(("streams", "frames"), [(1, 1), (2, 1), (2, 3)])
def test_features_are_those_that_the_extractor_gives_for_the_same_pictures(streams, frames):
    """One after another, streams side by side, and the mean over the frames of a snippet."""
    made, shown = network(streams, gain=0.25), pictures(streams, frames, clips=1)
    with torch.no_grad():
        found = made.features(shown, 1, streams, frames)[0]
        each = made.backbone(shown).flatten(1).unflatten(0, (SEGMENTS, streams, frames)).mul(0.25).numpy()
    names, order = iter(range(streams)), {}

    def run(_):
        stream = next(names)
        order[stream] = True
        return lambda: each[:, stream].reshape(-1, 8)

    shape = (SEGMENTS, frames, 4, 4, 3) if frames > 1 else (SEGMENTS, 4, 4, 3)
    extracted = Extractor(run, 0, ("rgb",) * streams)(np.zeros(shape, np.uint8))
    np.testing.assert_allclose(found.numpy(), extracted, rtol=2e-3, atol=1e-4)  # float16


def test_training_changes_no_statistics_of_batches_and_drops_only_before_the_head():
    made, shown = network(dropout=0.5).train(), pictures()
    before = {name: tensor.clone() for name, tensor in made.backbone.named_buffers()}
    assert before
    first, second = (made.features(shown, CLIPS, 1, 1) for _ in range(2))
    torch.testing.assert_close(first, second)
    logits = made(shown, CLIPS, 1, 1)
    assert not torch.equal(made(shown, CLIPS, 1, 1), logits)
    logits.sum().backward()
    assert all(weight.grad is not None for weight in made.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.backbone.named_buffers())
    made.eval()
    torch.testing.assert_close(made(shown, CLIPS, 1, 1), made(shown, CLIPS, 1, 1))
