"""CUDA graphs: the features are those of the network itself."""

import logging
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from actionrec.features import graphed_network
from actionrec.features.graphed_network import MOST_GRAPHS, GraphedNetwork


class Small(nn.Module):
    """A convolution, its batch norm, and a mean over the picture."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, frames):
        return self.layers(frames.permute(0, 3, 1, 2).float() / 255)


class Waiting(Small):
    """Reads a number back, which no graph can hold."""

    def forward(self, frames):
        features = super().forward(frames)
        return features * features.max().item()


def frames(count, seed):
    return torch.randint(0, 256, (count, 20, 20, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.gpu
@pytest.mark.parametrize("kind", [Small, Waiting])
def test_features_are_the_network_s_own_for_any_shapes(kind, caplog):
    network = kind().eval().cuda()
    graphed = GraphedNetwork(network, "cuda")
    batches = [frames(count, seed).cuda() for seed, count in enumerate([8, 8, 3, 8, 3, *range(9, 11 + MOST_GRAPHS), 8])]
    with torch.inference_mode(), caplog.at_level(logging.WARNING):
        found = [graphed(batch).clone() for batch in batches]
        wanted = [network(batch) for batch in batches]
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))
    warned = [record.getMessage() for record in caplog.records]
    assert len(warned) == (MOST_GRAPHS if kind is Waiting else 0)
    assert all(text.startswith("Without a CUDA graph for batches of (") for text in warned)


def test_a_graph_without_kernels_is_not_used(monkeypatch, caplog):
    """As torch captures it if the network is on another GPU than the stream of the capture."""
    streams = []

    def capture(run, stream):
        streams.append(stream.device)
        return lambda: None, run()

    def make_stream(device):
        return SimpleNamespace(device=device, wait_stream=lambda other: None)

    monkeypatch.setattr(graphed_network, "capture", capture)
    fakes = {"current_stream": make_stream, "Stream": make_stream, "stream": nullcontext}
    fakes |= {"get_sync_debug_mode": lambda: 0, "set_sync_debug_mode": lambda mode: None}
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    network = Small().eval()
    graphed = GraphedNetwork(network, "cpu")
    with torch.inference_mode():
        for seed in range(3):
            batch = frames(4, seed)
            torch.testing.assert_close(graphed(batch), network(batch))
    assert streams == ["cpu"]
    assert "which is slower: its features differ" in caplog.text
