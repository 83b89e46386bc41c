"""Catalogue of torchvision's backbones: one entry for each set of published weights, from torchvision's metadata."""

import math
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torchvision

from actionrec.features import torchvision_models
from actionrec.features.frame_requirements import VIDEO_BACKBONES, FrameFormat, published_frames

STEPS_OF_A_VIDEO = 8
"""Suggested `frames.count` for video backbones: 32 snippets of 16 frames cost ten times as much as 32 frames of ResNet-50."""

_COUNTED_LENGTH = 16  # frames of the snippet whose operations are in the metadata, however long the snippets of the training were
_VIT_RESOLUTION = 224  # pixels; vision transformers have a position for each patch, and other weights do not fit

# Features of each backbone. Building a network to count them takes up to a second.
_FEATURE_DIMS = {
    400: "regnet_x_400mf",
    440: "regnet_y_400mf",
    512: "maxvit_t resnet18 resnet34 r3d_18 mc3_18 r2plus1d_18",
    672: "regnet_x_800mf",
    768: "convnext_small convnext_tiny swin_s swin_t swin_v2_s swin_v2_t vit_b_16 vit_b_32 mvit_v1_b mvit_v2_s swin3d_t swin3d_s",
    784: "regnet_y_800mf",
    888: "regnet_y_1_6gf",
    912: "regnet_x_1_6gf",
    1008: "regnet_x_3_2gf",
    1024: "convnext_base densenet121 googlenet mobilenet_v3_small shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 swin_b "
    "swin_v2_b vit_l_16 vit_l_32 s3d swin3d_b",
    1280: "efficientnet_b0 efficientnet_b1 efficientnet_v2_l efficientnet_v2_m efficientnet_v2_s mnasnet0_5 mnasnet0_75 mnasnet1_0 "
    "mnasnet1_3 mobilenet_v2 mobilenet_v3_large vit_h_14",
    1408: "efficientnet_b2",
    1512: "regnet_y_3_2gf",
    1536: "convnext_large efficientnet_b3",
    1664: "densenet169",
    1792: "efficientnet_b4",
    1920: "densenet201 regnet_x_8gf",
    2016: "regnet_y_8gf",
    2048: "efficientnet_b5 inception_v3 regnet_x_16gf resnet101 resnet152 resnet50 resnext101_32x8d resnext101_64x4d "
    "resnext50_32x4d shufflenet_v2_x2_0 wide_resnet101_2 wide_resnet50_2",
    2208: "densenet161",
    2304: "efficientnet_b6",
    2520: "regnet_x_32gf",
    2560: "efficientnet_b7",
    3024: "regnet_y_16gf",
    3712: "regnet_y_32gf",
    4096: "alexnet vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn",
    7392: "regnet_y_128gf",
}
FEATURE_DIMS = {name: dim for dim, names in _FEATURE_DIMS.items() for name in names.split()}
"""Features per frame or snippet, by backbone; SqueezeNet is missing, because its last layer cannot be removed automatically."""


@dataclass(frozen=True)
class CatalogueEntry:
    """One backbone with one set of published weights."""

    backbone: str
    weights: str
    feature_dim: int
    """D: features per frame or snippet."""
    is_video: bool
    frames: FrameFormat
    """The frames that the weights were trained on; of an image backbone, only the resolution is used."""
    parameters: int
    """With the last layer, which is not used."""
    gmacs: float
    """Billions of multiplications for one step: a frame or a snippet."""
    top1_percent: float
    """Published accuracy on ImageNet-1K, or on Kinetics-400 for a video backbone."""

    @property
    def overrides(self) -> str:
        """Arguments of `dvc exp run` that select the backbone, its weights and the right frames."""
        values = {"features.backbone": self.backbone, "features.weights": self.weights}
        if self.is_video:
            values |= {"frames.count": str(STEPS_OF_A_VIDEO), **self.frames.values()}
        else:
            values["frames.resolution"] = str(self.frames.resolution)
        return " ".join(f"-S {shlex.quote(f'{parameter}={value}')}" for parameter, value in values.items())


def entries() -> Iterator[CatalogueEntry]:
    """All entries, images before videos, each in the order of torchvision or of VIDEO_BACKBONES."""
    for backbone in [*torchvision_models.names(), *VIDEO_BACKBONES]:
        if backbone in FEATURE_DIMS:
            for member in torchvision.models.get_model_weights(backbone):
                entry = _entry(backbone, member)
                if _is_usable(entry):
                    yield entry


def _entry(backbone: str, member: Any) -> CatalogueEntry:
    meta = member.meta
    frames = published_frames(backbone, member.name) if backbone in VIDEO_BACKBONES else None
    return CatalogueEntry(
        backbone=backbone,
        weights=member.name,
        feature_dim=FEATURE_DIMS[backbone],
        is_video=frames is not None,
        frames=frames or FrameFormat(member.transforms().crop_size[0], "squash"),
        parameters=meta["num_params"],
        gmacs=meta["_ops"] * (frames.length / _COUNTED_LENGTH if frames else 1),
        top1_percent=meta["_metrics"]["Kinetics-400" if frames else "ImageNet-1K"]["acc@1"],
    )


def _is_usable(entry: CatalogueEntry) -> bool:
    """Whether the weights fit the network, and have an accuracy; VGG-16's IMAGENET1K_FEATURES has none."""
    fits = not entry.backbone.startswith("vit_") or entry.frames.resolution == _VIT_RESOLUTION
    return fits and not math.isnan(entry.top1_percent)
