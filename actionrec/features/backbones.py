"""Backbones: frozen networks that turn each frame, or each snippet of L frames, into a feature vector."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from actionrec.core.errors import ParamsError, WeightsError
from actionrec.features import networks, state_dicts, torchvision_models, torchvision_weights
from actionrec.features.frame_requirements import VIDEO_BACKBONES, FrameLimits
from actionrec.features.networks import MEAN, STD, FeatureNetwork
from actionrec.features.settings import RANDOM as RANDOM
from actionrec.features.settings import TUNED, described_streams
from actionrec.features.settings import FeatureSettings as FeatureSettings
from actionrec.features.tuned_backbone import TunedBackbone

_RANDOM_SEED = 0  # not the parameter `seed`: another split or training run does not need new features
_PROBE = (8, 112)  # least frames and pixels of the snippet that shows how large the features of an untrained video network are


class Backbone(nn.Module):
    """Frames (B, H, W, 3), uint8, RGB -> features (B, D), float32; normalisation included.

    A video network takes the frames of its snippets one after another, (B * L, H, W, 3).
    """

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
        snippet_length: int = 1,
        limits: FrameLimits | None = None,
    ) -> None:
        """Args: `snippet_length` is L, and `limits` are the snippets that the network accepts, if it is a video network."""
        super().__init__()
        self.network = network
        self.limits = limits
        """Snippets that a video network accepts; None for an image network."""
        self.snippet_length = 1 if limits is None else snippet_length
        """Frames that give one feature: L for a video network, 1 for an image network."""
        self.normalisation = (tuple(mean), tuple(std))
        """Mean and standard deviation per channel, for pictures from 0 to 1."""
        self.gain = 1.0
        """Factor that features are multiplied by; 1 for all trained weights."""
        self.dtype = torch.float32
        """Data type of the network's arithmetic."""
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("scale", 1 / (torch.tensor(std).view(1, 3, 1, 1) * 255), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Map frames (B, H, W, 3), or (B * L, H, W, 3) for a video network, uint8, to features (B, D)."""
        features = self.network(self.normalised(frames)).flatten(1)
        return features if self.gain == 1 else features * self.gain

    def normalised(self, frames: Tensor) -> Tensor:
        """Map frames as in `forward` to what the network takes: (B, 3, H, W), or (B, 3, L, H, W) for a video network."""
        # In float32 even if the network uses bf16, which rounds 123.675 to 123.5.
        pictures = (frames.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) * self.scale
        if self.limits is not None:
            pictures = pictures.unflatten(0, (-1, self.snippet_length)).transpose(1, 2)
        return pictures.to(self.dtype)

    def in_bf16(self) -> "Backbone":
        """Convert the network's weights to bf16. Normalisation stays in float32."""
        self.network.to(torch.bfloat16)
        self.dtype = torch.bfloat16
        return self


def create_backbone(settings: FeatureSettings, snippet_length: int = 1, tuned: TunedBackbone | None = None) -> Backbone:
    """Build a frozen backbone with its weights, in evaluation mode.

    Args:
        snippet_length: frames per snippet, which a video backbone turns into one feature.
        tuned: has the weights, instead of `settings.weights`, from which its tuning started.

    Raises:
        ParamsError: the backbone is unknown, or its last layer is not linear.
        WeightsError: its weights are missing, damaged or do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_RANDOM_SEED)
        parts = _create_network(settings.backbone)
    if tuned is not None:
        state = state_dicts.read_file(tuned.weights)
        state_dicts.load_state(parts.network, state, f"{tuned.weights} for {settings.backbone}")
    elif settings.weights != RANDOM:
        _load_weights(parts, settings)
    backbone = Backbone(parts.network, parts.mean, parts.std, snippet_length, parts.limits).eval().requires_grad_(False)
    if tuned is not None:
        backbone.gain = tuned.tuning.gain
    elif settings.weights == RANDOM:
        backbone.gain = _gain(parts)
    return backbone


def _create_network(name: str) -> FeatureNetwork:
    if name in networks.names():
        return networks.create(name)
    if name in torchvision_models.names() or name in VIDEO_BACKBONES:
        return torchvision_models.create(name)
    raise ParamsError(
        f"params.yaml: features.backbone is unknown; got {name!r}, expected a classification model of torchvision or a file of "
        f"actionrec/features/networks. Known: {', '.join([*networks.names(), *torchvision_models.names(), *VIDEO_BACKBONES])}"
    )


def _load_weights(parts: FeatureNetwork, settings: FeatureSettings) -> None:
    file = Path(settings.weights) if settings.is_file else torchvision_weights.weights_file(settings.backbone, settings.weights)
    state = state_dicts.read_file(file)
    try:
        state_dicts.load_state(parts.network, parts.select(state), f"features.weights {settings.weights!r} for {settings.backbone}")
    except WeightsError as error:
        other = torchvision_models.model_of(state)
        if other is None or other == settings.backbone:
            raise
        raise WeightsError(
            f"{error} These are weights of {other}: set features.backbone to {other}, or features.weights to a file of "
            f"{settings.backbone}."
        ) from None


def _gain(parts: FeatureNetwork) -> float:
    """A power of two that brings the features of an untrained network into the range of float16; 1 if they are in it.

    Signals of untrained networks vanish (MobileNetV2's features are at most 1e-8) or grow (Inception's reach 1e11), so that
    float16 would store zeros or overflow. Multiplying by a power of two is exact. ResNets do not need it. The gain of a video
    network does not depend on the length of snippets.
    """
    length, size = 1, 224
    if parts.limits is not None:
        length, size = max(parts.limits.length, _PROBE[0]), max(parts.limits.resolution, _PROBE[1])
    probe = Backbone(parts.network, parts.mean, parts.std, length, parts.limits)
    noise = torch.randint(0, 256, (length, size, size, 3), generator=torch.Generator().manual_seed(_RANDOM_SEED), dtype=torch.uint8)
    with torch.inference_mode():
        largest = probe(noise).abs().max().item()
    return 1.0 if 2**-7 <= largest <= 2**10 else 2.0 ** -round(math.log2(largest))


def describe(settings: FeatureSettings, backbone: Backbone, tuned: TunedBackbone | None = None) -> dict[str, Any]:
    """Describe how features are made, for their metadata and for the bundles of models trained on them."""
    tuning = {} if tuned is None else {"tuning": asdict(tuned.tuning)}
    mean, std = backbone.normalisation
    return {
        "backbone": settings.backbone,
        "weights": settings.weights_name if tuned is None else TUNED,  # the hash identifies them
        "weights_sha256": state_dicts.state_sha256(backbone.network),
        "precision": settings.precision,
        **tuning,
        **described_streams(settings.streams),
        "preprocessing": {"mean": list(mean), "std": list(std), "colours": "RGB", "scale": 255},
    }
