"""Section `features` of params.yaml. This module does not import torch, so that reading params.yaml stays fast."""

from dataclasses import dataclass
from typing import Literal

RANDOM = "random"


@dataclass(frozen=True)
class FeatureSettings:
    """Section `features`."""

    backbone: str
    """A classification model of torchvision, such as resnet50, or the name of a file of actionrec/features/networks."""
    weights: str
    """`random` (seeded), a name that torchvision uses such as IMAGENET1K_V1, or a path to a .safetensors or .pth state dict."""
    precision: Literal["fp32", "bf16"]
    """Precision of the network's arithmetic. bf16 is several times faster on processors with bf16 units, and changes features by
    0.008."""

    def __post_init__(self) -> None:
        if not self.weights:
            raise ValueError("weights must be random, a name such as IMAGENET1K_V1, or a path; got an empty text")

    @property
    def is_file(self) -> bool:
        """Whether `weights` is a path rather than a name."""
        return "/" in self.weights or self.weights.endswith((".safetensors", ".pth", ".pt"))
