"""Section `features` of params.yaml. This module does not import torch, so that reading params.yaml stays fast."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

RANDOM = "random"
TUNED = "tuned"
"""The weights in descriptions of features from a backbone that was tuned; they are in a file of their own."""

Stream = Literal["rgb", "diff"]
"""What the backbone sees: frames, or differences of neighbouring frames; see actionrec.features.streams."""

RGB_ONLY: tuple[Stream, ...] = ("rgb",)


@dataclass(frozen=True)
class FeatureSettings:
    """Section `features`."""

    backbone: str
    """A classification model of torchvision, for images such as resnet50 or for videos such as r3d_18, or the name of a file of
    actionrec/features/networks."""
    weights: str
    """`random` (seeded), a name that torchvision uses such as IMAGENET1K_V1 or KINETICS400_V1, or a path to a .safetensors or .pth
    state dict."""
    precision: Literal["fp32", "bf16"]
    """Precision of the network's arithmetic. bf16 is several times faster on processors with bf16 units, and changes features by
    0.008."""
    streams: Sequence[Stream] = RGB_ONLY
    """What the backbone sees; the features of several streams are side by side, in this order."""

    def __post_init__(self) -> None:
        if not self.weights:
            raise ValueError("weights must be random, a name such as IMAGENET1K_V1, or a path; got an empty text")
        if problem := streams_problem(self.streams):
            raise ValueError(problem)

    @property
    def weights_name(self) -> str:
        """The weights for descriptions: of a path, only the file's name, as the folders would reveal details of the machine."""
        return PurePath(self.weights).name if self.is_file else self.weights

    @property
    def is_file(self) -> bool:
        """Whether `weights` is a path rather than a name."""
        return "/" in self.weights or self.weights.endswith((".safetensors", ".pth", ".pt"))


def streams_problem(streams: Sequence[str]) -> str | None:
    """What is wrong with a list of known streams, if anything is."""
    if streams and len(set(streams)) == len(streams):
        return None
    return f"streams must name at least one stream, and each only once; got {list(streams)}"


def described_streams(streams: Sequence[str]) -> dict[str, list[str]]:
    """The entry of a description of features for its streams; none for rgb alone, which older descriptions imply."""
    return {} if tuple(streams) == RGB_ONLY else {"streams": list(streams)}


def streams_of(description: Mapping[str, Any]) -> tuple[str, ...]:
    """The streams in a description of features."""
    return tuple(description.get("streams", RGB_ONLY))


def streams_phrase(streams: Sequence[str]) -> str:
    """The streams for captions; empty for rgb alone.

    >>> streams_phrase(["rgb", "diff"]), streams_phrase(["rgb"])
    ('streams rgb and diff', '')
    """
    if tuple(streams) == RGB_ONLY:
        return ""
    return f"stream{'s' if len(streams) > 1 else ''} {' and '.join(streams)}"
