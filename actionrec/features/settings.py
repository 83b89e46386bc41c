"""Section `features` of params.yaml, apart from the networks, so that reading it loads no torch."""

from dataclasses import dataclass
from typing import Literal

RANDOM = "random"


@dataclass(frozen=True)
class FeatureSettings:
    """Section `features`."""

    backbone: str
    """A classification model of torchvision, such as resnet50 or mobilenet_v2."""
    weights: str
    """`random` (seeded), a name of torchvision's such as IMAGENET1K_V1, or a path to a .safetensors or .pth state dict."""
    precision: Literal["fp32", "bf16"]
    """Of the network's arithmetic. bf16 is several times faster where the processor has it, and changes features by 0.008."""

    def __post_init__(self) -> None:
        if not self.weights:
            raise ValueError("weights must be random, a name of torchvision's, or a path; got nothing")

    @property
    def is_file(self) -> bool:
        """Whether `weights` is a path, not a name."""
        return "/" in self.weights or self.weights.endswith((".safetensors", ".pth", ".pt"))
