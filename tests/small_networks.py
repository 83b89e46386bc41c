"""Backbones of few layers, for what takes long with a whole network: two plain ones, and torchvision's kinds of blocks."""

from contextlib import contextmanager

import pytest
from torch import nn
from torchvision.models import ConvNeXt, DenseNet, EfficientNet, GoogLeNet, MobileNetV2, SwinTransformer, VisionTransformer
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import MBConvConfig

from actionrec.features import networks
from actionrec.features.frame_requirements import FrameLimits
from actionrec.features.networks import FeatureNetwork

WIDTH = 12
"""Features of the two plain ones."""


def small_image():
    first, second = nn.Conv2d(3, 8, 5, stride=4), nn.Conv2d(8, WIDTH, 3, stride=2)
    return nn.Sequential(first, nn.BatchNorm2d(8), nn.ReLU(), second, nn.AdaptiveAvgPool2d(1))


def small_video():
    """For snippets of 3 frames or more."""
    first, second = nn.Conv3d(3, 8, (3, 5, 5), stride=(1, 4, 4)), nn.Conv3d(8, WIDTH, (1, 3, 3), stride=(1, 2, 2))
    return nn.Sequential(first, nn.BatchNorm3d(8), nn.ReLU(), second, nn.AdaptiveAvgPool3d(1))


def _without_head(network):
    network.set_submodule(list(network.named_modules())[-1][0], nn.Identity())
    return network


def _shortened(network):
    """GoogLeNet without the blocks whose output is as wide as their input."""
    for block in ("inception4b", "inception4c", "inception5a"):
        network.set_submodule(block, nn.Identity())
    return network


BUILT = {
    "small_image": small_image,
    "small_video": small_video,
    "small_googlenet": lambda: _without_head(_shortened(GoogLeNet(aux_logits=False, transform_input=True, init_weights=False))),
    # With and without a shift, with padding, and with a window as large as the picture, which is then not shifted.
    "small_swin": lambda: _without_head(SwinTransformer([4, 4], 16, [2, 1, 2], [1, 2, 4], [7, 7])),
    "small_vit": lambda: _without_head(VisionTransformer(224, 56, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16)),
    "small_densenet": lambda: _without_head(DenseNet(8, (2, 2), 16)),
    "small_convnext": lambda: _without_head(ConvNeXt([CNBlockConfig(16, 32, 1), CNBlockConfig(32, None, 2)])),
    "small_mobilenet": lambda: _without_head(MobileNetV2(inverted_residual_setting=[[1, 16, 1, 1], [6, 24, 2, 2]])),
    "small_efficientnet": lambda: _without_head(
        EfficientNet([MBConvConfig(1, 3, 1, 32, 16, 1, 1, 1), MBConvConfig(6, 5, 2, 16, 24, 2, 1, 1)], dropout=0.2)
    ),
}


@contextmanager
def known():
    """The backbones can be named as those with a file in actionrec/features/networks."""
    names, create = networks.names, networks.create

    def built(name):
        if name not in BUILT:
            return create(name)
        return FeatureNetwork(BUILT[name](), limits=FrameLimits(name, length=3) if name == "small_video" else None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "names", lambda: [*names(), *BUILT])
        patch.setattr(networks, "create", built)
        yield
