"""Backbones that cannot be built from torchvision's models automatically: one file each.

`features.backbone: <name>` in params.yaml uses the file `<name>.py`. Each file defines `create() -> FeatureNetwork`. A file takes
precedence over a torchvision model of the same name. Only the file of the chosen backbone is imported.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

from torch import Tensor, nn

from actionrec.features.frame_requirements import FrameLimits

# Mean and standard deviation of ImageNet's pictures (red, green, blue; 0 to 1), as nearly all published weights expect them.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class FeatureNetwork:
    """A network without its classifier, and what it expects."""

    network: nn.Module
    """Maps normalised pictures (B, 3, H, W), or snippets of a video network (B, 3, L, H, W), to features (B, D), (B, D, 1, 1) or
    (B, D, 1, 1, 1)."""
    mean: Sequence[float] = MEAN
    """Subtracted from each channel of the pictures, which go from 0 to 1."""
    std: Sequence[float] = STD
    """Each channel is divided by it."""
    select: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = dict
    """Takes the state dict of a weights file, and returns the tensors that `network` needs, under its names."""
    limits: FrameLimits | None = None
    """For a video network, the snippets that it accepts."""


def names() -> list[str]:
    """Names of the backbones that have a file here, sorted."""
    return sorted(module.name for module in iter_modules(__path__))


def create(name: str) -> FeatureNetwork:
    """Build a network that has a file here, with fresh weights from torch's global random state."""
    network: FeatureNetwork = import_module(f"{__name__}.{name}").create()
    return network
