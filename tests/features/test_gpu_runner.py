"""Runner on a GPU: features are the network's own, however memory is reused. On a CPU, stand-ins show the order of the work."""

import gc
import logging
import weakref
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from actionrec.features import gpu_runner
from actionrec.features.gpu_runner import GpuRunner, pinned_frames


class Means(nn.Module):
    """Two features of each frame, after work that takes a GPU longer than a copy."""

    def forward(self, frames):
        values = frames.flatten(1).double()
        for _ in range(20):
            values = values.roll(7, dims=1)
        return torch.stack([values.mean(1), values.std(1)], dim=1)


def drawn(number, count=8, size=64):
    return np.random.default_rng(number).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


@pytest.mark.gpu
@pytest.mark.parametrize("memory", [pinned_frames, lambda shape: np.empty(shape, np.uint8)], ids=["pinned", "any"])
def test_memory_is_not_filled_again_before_it_is_read(memory, caplog):
    runner, network, started = GpuRunner(Means(), "cuda"), Means(), []
    for number in range(60):
        clip = memory((16, 256, 256, 3))
        clip[:] = drawn(number, 16, 256)
        started.append([runner(clip[:8]), runner(clip[8:])])
        del clip  # the next one may get its memory
    for number, waits in enumerate(started):
        features = np.concatenate([wait() for wait in waits])
        wanted = network(torch.from_numpy(drawn(number, 16, 256)).cuda()).float().cpu().numpy()
        np.testing.assert_array_equal(features, wanted)
    assert torch.from_numpy(pinned_frames((2, 3))).is_pinned()
    assert not caplog.records


@pytest.fixture
def events(monkeypatch):
    """What happens on streams; torch's functions for a GPU are stand-ins."""
    happened = []

    class Stream:
        def __init__(self, name):
            self.name = name

        def wait_stream(self, other):
            happened.append(f"{self.name} waits for {other.name}")

    class Event:
        def __init__(self, blocking):
            assert blocking  # a waiting thread uses no core

        def record(self, stream):
            happened.append(f"{stream.name} is noted")

        def synchronize(self):
            happened.append("Python waits")

    @contextmanager
    def stream(other):
        happened.append(f"on {other.name}")
        yield
        happened.append("on computing")

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream("copies"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream("computing"))
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: happened.append(f"kept for {stream.name}"))

    def graphed(network, device):
        return lambda frames: happened.append("network") or network(frames).float()

    monkeypatch.setattr(gpu_runner, "GraphedNetwork", graphed)
    return happened


def test_the_network_waits_for_the_copy_and_python_for_the_network(events):
    runner, clips = GpuRunner(Means(), "cpu"), [drawn(number) for number in range(3)]
    waits = [runner(clip) for clip in clips]
    started = ["on copies", "on computing", "computing waits for copies", "kept for computing", "network", "computing is noted"]
    assert events == started * 3
    for wait, clip in zip(waits, clips, strict=True):
        np.testing.assert_array_equal(wait(), Means()(torch.from_numpy(clip)).float())
    assert events[len(started) * 3 :] == ["Python waits"] * 3


def test_frames_are_kept_until_their_features_are_there(events):
    clip = SimpleNamespace(frames=drawn(0))
    kept = weakref.ref(clip.frames)
    wait = GpuRunner(Means(), "cpu")(clip.frames[2:5])
    del clip
    gc.collect()
    assert kept() is not None
    wait()
    del wait
    gc.collect()
    assert kept() is None


def test_without_pinned_memory_there_is_one_warning(monkeypatch, caplog):
    empty = torch.empty

    def refusing(shape, *, pin_memory=False, **options):
        if pin_memory:
            raise RuntimeError("CUDA error: out of memory\nCUDA kernel errors might ...")
        return empty(shape, **options)

    gpu_runner._warn.cache_clear()
    monkeypatch.setattr(torch, "empty", refusing)
    with caplog.at_level(logging.WARNING):
        assert [pinned_frames(shape).shape for shape in ((2, 3), (4,))] == [(2, 3), (4,)]
    gpu_runner._warn.cache_clear()
    assert caplog.messages == ["Without pinned memory, copies to and from the GPU are slower: CUDA error: out of memory"]
