"""Cost of a clip before the sequence model, from its file to its features, and when two total costs count as equal."""

from collections.abc import Sequence
from dataclasses import dataclass

from actionrec.core import paths
from actionrec.core.errors import DataError
from actionrec.evaluation.trained_models import typed_values
from actionrec.features.settings import RGB_ONLY
from actionrec.io.files import read_json

SAME_COST = 0.01
"""Totals of operations that differ by less than this share count as equal. The backbone often needs a thousand times the operations
of a sequence model, and a saving of 0.1 % is no reason to accept a lower accuracy."""
_REMAKE = "Run `dvc repro -f clip_cost` to recompute it."


@dataclass(frozen=True)
class BackboneCost:
    """What the backbone needs for the frames of one clip; counted, so the same on every machine."""

    parameters: int
    flops: int
    memory_mb: float
    """Parameters and the tensors alive at once, in fp32."""


@dataclass(frozen=True)
class ClipTiming:
    """Measured milliseconds of one clip from its file to its features."""

    decode_ms: float
    """Decoding, sampling, resizing, and the compression of the frame store."""
    backbone_ms: float
    device: str


def cheaper(flops: int, other: int) -> bool:
    """Whether a total of operations is noticeably lower than another.

    >>> cheaper(980, 1000), cheaper(999, 1000)
    (True, False)
    """
    return flops < (1 - SAME_COST) * other


def read_backbone_cost(backbone: str, streams: Sequence[str] = RGB_ONLY) -> BackboneCost:
    """Read metrics/clip_cost.json.

    Args:
        backbone: the one that the models were trained on.
        streams: those that they were trained on.

    Raises:
        DataError: the file is missing or damaged, or is about another backbone or other streams.
    """
    kinds = {"backbone": str, "parameters": int, "flops": int, "memory_mb": float}
    record = read_json(paths.CLIP_COST)
    name, *values = typed_values(record, kinds, paths.CLIP_COST, _REMAKE)
    if name != backbone:
        raise DataError(f"{paths.CLIP_COST}: wrong backbone; got {name}, expected {backbone}. {_REMAKE}")
    if (counted := record.get("streams", list(RGB_ONLY))) != list(streams):
        raise DataError(f"{paths.CLIP_COST}: wrong streams; got {counted}, expected {list(streams)}. {_REMAKE}")
    return BackboneCost(*values)


def read_clip_timing() -> ClipTiming:
    """Read metrics/clip_timing.json.

    Raises:
        DataError: the file is missing or damaged.
    """
    kinds = {"decode_ms": float, "backbone_ms": float, "device": str}
    return ClipTiming(*typed_values(read_json(paths.CLIP_TIMING), kinds, paths.CLIP_TIMING, _REMAKE))
