"""The last stages of torchvision's networks, whose shapes are computed without weights."""

import pytest
import torch
from small_tuning import TinyNetwork, frozen, tiny_backbone

from actionrec.core.errors import ParamsError
from actionrec.features import torchvision_models
from actionrec.features.backbones import Backbone
from actionrec.finetuning.last_stages import last_stages


def outline(name, length=1):
    """A backbone of torchvision's, without weights."""
    with torch.device("meta"):
        parts = torchvision_models.create(name)
    return Backbone(parts.network, parts.mean, parts.std, length, parts.limits).eval()


def features(first, last):
    return [f"features.{number}" for number in range(first, last + 1)]


LAYER4 = ["layer4.0", "layer4.1"]
LAST = {  # network: width and height, frames in a snippet, last stage
    "resnet18": (224, 1, LAYER4),
    "resnet50": (64, 1, [*LAYER4, "layer4.2"]),
    "mobilenet_v2": (224, 1, features(14, 18)),
    "mobilenet_v3_small": (64, 1, [*features(9, 12), "classifier"]),
    "shufflenet_v2_x0_5": (64, 1, ["stage4", "conv5.0", "conv5.1"]),
    "mnasnet0_5": (64, 1, [f"layers.{number}" for number in range(12, 16)]),
    "densenet121": (64, 1, ["features.transition3", "features.denseblock4", "features.norm5"]),
    "convnext_tiny": (64, 1, ["features.6", "features.7.0", "features.7.1", "features.7.2", "classifier"]),
    "googlenet": (64, 1, ["inception5a", "inception5b"]),
    "vgg11": (64, 1, ["classifier.3"]),
    "swin_t": (64, 1, ["features.6", "features.7.0", "features.7.1", "norm"]),
    "vit_b_16": (224, 1, ["encoder.layers.encoder_layer_11", "encoder.ln"]),
    "r3d_18": (32, 4, LAYER4),
    "s3d": (224, 16, ["features.14", "features.15"]),
    "mvit_v2_s": (224, 16, ["blocks.14", "blocks.15", "norm"]),
}


@pytest.mark.parametrize("name", LAST)
def test_the_last_stage_is_the_one_that_people_mean(name):
    size, length, expected = LAST[name]
    assert last_stages(outline(name, length), size, 1).learning == expected


@pytest.mark.parametrize("name", LAST)
def test_more_stages_add_earlier_modules_until_the_whole_network_learns(name):
    size, length, _ = LAST[name]
    backbone = outline(name, length)
    with pytest.raises(ParamsError, match=r"^params\.yaml: finetune\.stages: the backbone has (\d+) stages; got 99, ") as caught:
        last_stages(backbone, size, 99)
    stages = int(str(caught.value).rpartition("at most ")[2].rstrip("."))
    previous = []
    for count in sorted({1, 2, stages - 1, stages}):
        found = last_stages(backbone, size, count)
        assert len(found.learning) > len(previous)
        assert found.learning[len(found.learning) - len(previous) :] == previous
        assert not set(found.before) & set(found.learning)
        previous = found.learning
    for module in found.before:  # nothing that learns is before the first stage
        assert not list(backbone.network.get_submodule(module).parameters())


def test_modules_before_the_last_stage_are_in_the_order_in_which_they_run():
    assert last_stages(outline("resnet18"), 64, 1).before == ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3"]
    assert last_stages(outline("resnet18"), 64, 2).before == ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2"]


def test_the_backbone_is_left_as_it_is():
    backbone = tiny_backbone()
    before = {name: tensor.clone() for name, tensor in backbone.network.state_dict().items()}
    last_stages(backbone, 32, 2)
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.network.state_dict().items())
    assert not any(module._forward_hooks for module in backbone.modules())


class Backwards(TinyNetwork):
    """Stages that do not run in the order in which they are defined."""

    def __init__(self):
        super().__init__()
        self.first = self.stage(3, 3)

    def forward(self, pictures):
        return super().forward(self.first(pictures))


def test_stages_are_in_the_order_in_which_they_run_not_in_that_of_their_definition():
    found = last_stages(frozen(Backwards()), 64, 1)
    assert found.before[0].startswith("first")
    assert all(name.startswith("last") for name in found.learning)
