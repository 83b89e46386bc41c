"""Frames that video backbones need: the limits of their layers, and the frames that their published weights were trained on.

This module does not import torch, which only `published_frames` needs, so that reading params.yaml stays fast.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from actionrec.features.settings import RANDOM, FeatureSettings
from actionrec.video.frame_settings import Fit

VIDEO_BACKBONES = ("r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_v1_b", "mvit_v2_s", "swin3d_t", "swin3d_s", "swin3d_b")
"""torchvision's video classification models."""


@dataclass(frozen=True)
class FrameFormat:
    """The values of section `frames` that decide what a backbone sees of a sample point."""

    resolution: int
    """Width and height, pixels."""
    fit: Fit
    """How pictures become squares of this size."""
    length: int = 1
    """Frames per snippet."""
    rate: float | None = None
    """Frames per second within a snippet; None: the clip's own."""

    def values(self) -> dict[str, str]:
        """The values by parameter, as params.yaml and `-S` write them."""
        fit = self.fit if isinstance(self.fit, str) else f"[{self.fit[0]},{self.fit[1]}]"
        rate = "null" if self.rate is None else f"{self.rate:g}"
        return {
            "frames.resolution": str(self.resolution),
            "frames.fit": fit,
            "frames.snippet.length": str(self.length),
            "frames.snippet.rate": rate,
        }


@dataclass(frozen=True)
class FrameLimits:
    """The snippets that the layers of a video network accept, whatever its weights."""

    backbone: str
    length: int = 1
    """Least frames per snippet."""
    resolution: int = 1
    """Least width and height, pixels."""
    is_exact: bool = False
    """Whether the network accepts these values only."""

    def problems(self, resolution: int, length: int) -> dict[str, str]:
        """What is wrong with the frames, by parameter."""
        pairs = {"frames.resolution": (resolution, self.resolution), "frames.snippet.length": (length, self.length)}
        expected = "{}" if self.is_exact else "{} or more"
        return {
            parameter: _problem(parameter, self.backbone, str(value), expected.format(limit))
            for parameter, (value, limit) in pairs.items()
            if value < limit or (self.is_exact and value != limit)
        }


_LIMITS = (
    FrameLimits("s3d", 13, 224),  # its metadata has 14 frames; 13 are enough for its last pool
    FrameLimits("mvit_v1_b", 16, 224, is_exact=True),
    FrameLimits("mvit_v2_s", 16, 224, is_exact=True),
)


@dataclass(frozen=True)
class FrameProblems:
    """Values of `frames.*` that do not fit `features.*`."""

    errors: list[str]
    """The network cannot run, or its published weights would see other frames than in their training."""
    warnings: list[str]
    """Weights from a file would see other frames than the published ones; they may have been trained on such frames."""


def limits_of(backbone: str) -> FrameLimits:
    """The snippets that a video backbone's layers accept."""
    return next((limits for limits in _LIMITS if limits.backbone == backbone), FrameLimits(backbone))


def frame_problems(settings: FeatureSettings, frames: FrameFormat) -> FrameProblems:
    """Compare the values of section `frames` with what the backbone and its weights need; image backbones take everything."""
    if settings.backbone not in VIDEO_BACKBONES:
        return FrameProblems([], [])
    limits = limits_of(settings.backbone).problems(frames.resolution, frames.length)
    if settings.weights == RANDOM:
        return FrameProblems(list(limits.values()), [])
    published = published_frames(settings.backbone, "DEFAULT" if settings.is_file else settings.weights)
    if published is None:  # an unknown name, which is reported where weights are read
        return FrameProblems(list(limits.values()), [])
    whose = "the published weights" if settings.is_file else settings.weights
    differing = _differences(frames, published, f"{whose} of {settings.backbone}")
    others = [problem for parameter, problem in differing.items() if parameter not in limits]
    return FrameProblems(list(limits.values()), others) if settings.is_file else FrameProblems([*limits.values(), *others], [])


def published_frames(backbone: str, weights: str) -> FrameFormat | None:
    """The frames that published weights of a video backbone were trained on; None if there are no such weights.

    Args:
        weights: a name that torchvision uses, such as KINETICS400_V1.
    """
    import torchvision  # here: it imports torch, which takes seconds

    member = torchvision.models.get_model_weights(backbone).__members__.get(weights)
    if member is None:
        return None
    transforms = member.transforms()
    # The length and rate of the frames are only in the text of the metadata.
    stated: Mapping[str, str] = dict(re.findall(r"`(frame_rate|clip_len)=([\d.]+)`", member.meta["_docs"]))
    return FrameFormat(
        resolution=transforms.crop_size[0],
        fit="crop" if len(transforms.resize_size) == 1 else tuple(transforms.resize_size),
        length=int(stated["clip_len"]),
        rate=float(stated["frame_rate"]),
    )


def _differences(frames: FrameFormat, published: FrameFormat, trained_on: str) -> dict[str, str]:
    """A problem for each parameter whose value is not that of published weights."""
    expected = published.values()
    return {
        parameter: _problem(parameter, trained_on, value, expected[parameter])
        for parameter, value in frames.values().items()
        if value != expected[parameter]
    }


def _problem(parameter: str, what: str, value: str, expected: str) -> str:
    return f"{parameter}: does not fit {what}; got {value}, expected {expected}. Set it to {expected}."
