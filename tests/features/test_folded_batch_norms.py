"""Folded batch norms: fewer layers, the same features to rounding."""

import copy
import logging

import pytest
import torch
from torch import nn

from actionrec.features import extractors
from actionrec.features.backbones import Backbone, FeatureSettings, create_backbone
from actionrec.features.folded_batch_norms import fold_batch_norms

BATCH_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)


def drawn(network):
    """The network in evaluation mode, with batch norms that have other weights and statistics than fresh ones."""
    random = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, BATCH_NORMS):
            for values in (layer.weight, layer.running_var):
                if values is not None:
                    values.data.copy_(0.5 + torch.rand(values.shape, generator=random))
            for values in (layer.bias, layer.running_mean):
                if values is not None:
                    values.data.copy_(0.2 * torch.randn(values.shape, generator=random))
    return network.eval().requires_grad_(False)


def folded(network):
    network = copy.deepcopy(network)
    fold_batch_norms(network)
    return network


def batch_norms(network):
    return sum(isinstance(layer, BATCH_NORMS) for layer in network.modules())


@pytest.mark.parametrize(
    ("name", "length", "before", "left"),
    [
        ("resnet18", 1, 20, 0),
        ("densenet121", 1, 121, 62),  # most come before a convolution
        ("mobilenet_v3_small", 1, 34, 0),
        ("shufflenet_v2_x0_5", 1, 56, 0),
        ("r3d_18", 4, 20, 0),
    ],
)
def test_features_are_the_same_to_rounding(name, length, before, left):
    backbone = create_backbone(FeatureSettings(name, "random", "fp32"), length)
    drawn(backbone.network)
    frames = torch.randint(0, 256, (2 * length, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        wanted = backbone(frames)
        assert batch_norms(backbone.network) == before
        fold_batch_norms(backbone.network)
        found = backbone(frames)
    assert batch_norms(backbone.network) == left
    assert (found - wanted).norm() < 1e-5 * wanted.norm()
    assert not any(tensor.requires_grad for tensor in backbone.parameters())


class Branches(nn.Module):
    """Batch norms that cannot be folded: of a result used twice, after a layer used twice, of each batch's own statistics."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(4, 4, 1) for _ in range(3))
        self.norms = nn.ModuleList([nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.BatchNorm2d(4, track_running_stats=False)])

    def forward(self, pictures):
        split = self.convs[0](pictures)
        twice = self.convs[1](self.norms[0](split) + split)
        again = self.convs[1](twice)
        return self.norms[2](self.convs[2](self.norms[1](again)))


class Untraceable(nn.Sequential):
    def forward(self, pictures):
        return super().forward(pictures if pictures.sum() > 0 else -pictures)


def test_batch_norms_that_others_depend_on_stay(caplog):
    network = drawn(Branches())
    pictures = torch.rand(2, 4, 5, 5, generator=torch.Generator().manual_seed(2))
    changed = folded(network)
    assert batch_norms(changed) == 3
    assert torch.equal(changed(pictures), network(pictures))
    assert not caplog.records


def test_a_network_that_cannot_be_traced_stays_as_it_is(caplog):
    network = drawn(Untraceable(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)))
    pictures = torch.rand(2, 4, 5, 5, generator=torch.Generator().manual_seed(2))
    with caplog.at_level(logging.WARNING):
        changed = folded(network)
    assert torch.equal(changed(pictures), network(pictures))
    assert caplog.text.count("Batch norms are not folded into convolutions, which is slower: symbolically traced variables") == 1
    caplog.clear()
    folded(Untraceable(nn.Conv2d(4, 4, 1)).eval())  # has nothing to fold
    assert not caplog.records


def test_a_cpu_uses_the_network_as_it_is(monkeypatch):
    monkeypatch.setenv("ACTIONREC_RUNTIME", "torch")
    monkeypatch.setattr(extractors, "fold_batch_norms", None)
    backbone = Backbone(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1))).eval()
    extractors.create_extractor(backbone, precision="fp32", size=16, device="cpu", threads=1)


@pytest.mark.gpu
def test_a_gpu_uses_the_folded_network():
    backbone = create_backbone(FeatureSettings("resnet18", "random", "fp32"))
    frames = torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    found = extractors.create_extractor(backbone, precision="fp32", size=64, device="cuda", threads=1)(frames.numpy())
    with torch.inference_mode():
        wanted = backbone(frames)
    assert (torch.from_numpy(found).float() - wanted).norm() < 2e-3 * wanted.norm()
    assert batch_norms(backbone.network) == 20  # the extractor folds those of a copy
