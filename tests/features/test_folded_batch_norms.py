"""Folded batch norms: fewer layers, the same features to rounding."""

import copy
import logging

import pytest
import torch
from torch import nn

from actionrec.features import extractors, folded_batch_norms
from actionrec.features.backbones import Backbone, FeatureSettings, create_backbone
from actionrec.features.folded_batch_norms import fold_batch_norms, with_folded_batch_norms

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


class NormAndRelu(nn.BatchNorm2d):
    def forward(self, pictures):
        return super().forward(pictures).relu()


class StandardisedWeights(nn.Conv2d):
    def forward(self, pictures):
        return self._conv_forward(pictures, (self.weight - self.weight.mean()) / self.weight.std(), self.bias)


class TwoNames(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.stem = nn.ModuleList([self.conv])

    def forward(self, pictures):
        return self.norm(self.stem[0](pictures))


class ReadsWeights(TwoNames):
    def forward(self, pictures):
        return super().forward(pictures) * self.conv.weight.norm()


class Remembers(TwoNames):
    """Keeps a tensor of its first call."""

    level = None

    def forward(self, pictures):
        found = super().forward(pictures)
        if self.level is None:
            self.level = found.mean() * 0 + 2
        return found * self.level


def with_hook(place):
    network = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    network[place].register_forward_hook(lambda layer, shown, found: 2 * found)
    return network


ODD = {
    "norm and relu": (lambda: nn.Sequential(nn.Conv2d(4, 4, 1), NormAndRelu(4)), 1),
    "standardised weights": (lambda: nn.Sequential(StandardisedWeights(4, 4, 1), nn.BatchNorm2d(4)), 1),
    "parametrized": (lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 1)), nn.BatchNorm2d(4)), 1),
    "hook of the norm": (lambda: with_hook(1), 1),
    "hook of the convolution": (lambda: with_hook(0), 1),
    "two names": (TwoNames, 0),
    "reads weights": (ReadsWeights, 1),
    "remembers": (Remembers, 0),
}


@pytest.mark.parametrize("name", ODD)
def test_layers_that_do_more_than_torchs_stay(name):
    make, left = ODD[name]
    network = drawn(make())
    pictures = torch.rand(2, 4, 5, 5, generator=torch.Generator().manual_seed(2))
    changed = folded(network)
    assert batch_norms(changed) == left
    torch.testing.assert_close(changed(pictures), network(pictures))


def test_a_batch_norm_in_training_mode_stays():
    network = drawn(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)))
    network[1].train()
    assert batch_norms(folded(network)) == 1


def test_a_fold_that_changes_features_is_not_used(monkeypatch, caplog):
    def spoil(network):
        network[0].weight.data.mul_(1.1)
        return True

    backbone = Backbone(drawn(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1)))).eval()
    frames = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    found = with_folded_batch_norms(backbone, 16, "cpu")
    assert (batch_norms(found), batch_norms(backbone)) == (0, 1)
    torch.testing.assert_close(found(frames), backbone(frames), rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(folded_batch_norms, "fold_batch_norms", spoil)
    assert torch.equal(with_folded_batch_norms(backbone, 16, "cpu")(frames), backbone(frames))
    assert "it would change the features" in caplog.text


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
    monkeypatch.setattr(extractors, "with_folded_batch_norms", None)
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
