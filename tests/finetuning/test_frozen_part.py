"""A backbone in two parts: together they are the whole network."""

import numpy as np
import pytest
import small_networks
import torch
from small_tuning import TinyNetwork, frozen, tiny_backbone

from actionrec.features.backbones import FeatureSettings, create_backbone
from actionrec.finetuning.frozen_part import two_parts
from actionrec.finetuning.last_stages import last_stages

CHAINS = ("resnet18", "mobilenet_v2", "shufflenet_v2_x0_5")
SIZE = 64


def backbone_of(name, length=1):
    return create_backbone(FeatureSettings(name, "random", "fp32"), length)


def frames(count=2, size=SIZE):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def assert_parts_are_the_whole(parts, backbone, shown, rounding=1e-3):
    with torch.inference_mode():
        expected = backbone(torch.from_numpy(shown))
        found = parts.tuned(parts.frozen(shown)).flatten(1) * backbone.gain
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= rounding * expected.abs().max()


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
@pytest.mark.parametrize("name", CHAINS)
def test_both_parts_together_are_the_whole_network(monkeypatch, name, runtime):
    monkeypatch.setenv("ACTIONREC_RUNTIME", runtime)
    backbone = backbone_of(name)
    parts = two_parts(backbone, SIZE, 1, "fp32", "cpu")
    assert parts.takes_frames
    assert_parts_are_the_whole(parts, backbone, frames())
    state, whole = parts.state(), backbone.network.state_dict()
    assert list(state) == list(whole)
    assert all(torch.equal(state[name], whole[name]) for name in whole)
    if runtime == "openvino":  # the frozen part is not run by torch too
        assert len(list(parts.tuned.parameters())) < len(list(backbone.network.parameters()))


def test_a_video_network_takes_whole_snippets(monkeypatch):
    monkeypatch.setenv("ACTIONREC_RUNTIME", "openvino")
    backbone = backbone_of("r3d_18", length=4)
    parts = two_parts(backbone, 32, 1, "fp32", "cpu")
    assert not parts.takes_frames
    assert_parts_are_the_whole(parts, backbone, frames(8, 32))


def test_more_pictures_than_a_batch_of_the_frozen_part_give_the_same(monkeypatch):
    monkeypatch.setenv("ACTIONREC_RUNTIME", "openvino")
    backbone = tiny_backbone()
    parts = two_parts(backbone, 32, 1, "fp32", "cpu")
    shown = frames(70, 32)
    assert_parts_are_the_whole(parts, backbone, shown)
    together, alone = parts.frozen(shown), parts.frozen(shown[69:])
    torch.testing.assert_close(together[69:], alone)


class NoChain(TinyNetwork):
    """Does something between its stages that is not a module; its features are tiny, as those of untrained networks can be."""

    def forward(self, pictures):
        return 1e-9 * self.pool(self.last(self.middle(self.stem(pictures)).square() + 1))


@pytest.mark.parametrize("name", ["small_vit", "tiny features"])
def test_networks_that_are_no_chain_run_as_a_whole(monkeypatch, name):
    monkeypatch.setenv("ACTIONREC_RUNTIME", "openvino")
    if name == "small_vit":
        with small_networks.known():
            backbone, size = backbone_of(name), 224
    else:
        torch.manual_seed(0)
        backbone, size = frozen(NoChain()), SIZE
    parts = two_parts(backbone, size, 1, "fp32", "cpu")
    assert {key for key, _ in parts.tuned.named_parameters()} == {key for key, _ in backbone.network.named_parameters()}
    assert_parts_are_the_whole(parts, backbone, frames(2, size))


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
@pytest.mark.parametrize("stages", [1, 2])
def test_only_the_last_stages_learn_and_the_backbone_stays(monkeypatch, runtime, stages):
    monkeypatch.setenv("ACTIONREC_RUNTIME", runtime)
    backbone = backbone_of("resnet18")
    before = {key: tensor.clone() for key, tensor in backbone.network.state_dict().items()}
    parts = two_parts(backbone, SIZE, stages, "fp32", "cpu")
    learning = tuple(f"{name}." for name in last_stages(backbone, SIZE, stages).learning)
    parts.tuned(parts.frozen(frames())).sum().backward()
    for key, weight in parts.tuned.named_parameters():
        assert weight.requires_grad == (weight.grad is not None) == key.startswith(learning)
    with torch.no_grad():
        for weight in parts.tuned.parameters():
            weight.add_(1)
    assert all(torch.equal(tensor, before[key]) for key, tensor in backbone.network.state_dict().items())
    assert not any(weight.requires_grad for weight in backbone.parameters())
    changed = {key for key, tensor in parts.state().items() if not torch.equal(tensor, before[key])}
    assert {key for key in changed if key.startswith(learning)}
