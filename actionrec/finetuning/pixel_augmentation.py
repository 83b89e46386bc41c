"""Augmentation of pixels: random crop, mirror and colours, the same for all frames of a clip.

S segments, H and W pixels. What is drawn for a clip depends on the seed, the epoch and the clip's id alone: not on the order of
clips, the number of threads, or whether the run was interrupted.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from actionrec.finetuning.settings import FinetuneSettings

_ATTEMPTS = 10  # at a crop that fits into the frame, as in torchvision's RandomResizedCrop
_ASPECT = math.log(4 / 3)  # largest logarithm of a crop's ratio of width to height
_GREY = np.array([0.299, 0.587, 0.114])  # weights of red, green and blue, as in torchvision
_UNCHANGED = np.eye(3, 4)  # a Draw's colours that change nothing


@dataclass(frozen=True)
class Draw:
    """What augmentation does to one clip in one epoch."""

    steps: NDArray[np.int64]
    """(S,): the sample point of each segment."""
    box: tuple[int, int, int, int]
    """Top, left, height and width of the crop, pixels."""
    is_mirrored: bool
    colours: NDArray[np.float64]
    """(3, 4): each new channel is a weighted sum of the old ones and 1."""


def draw(clip: str, seed: int, epoch: int, settings: FinetuneSettings, steps: int, size: tuple[int, int]) -> Draw:
    """Draw what happens to a clip in an epoch.

    Args:
        steps: sample points of the clip (T), at least `settings.segments`.
        size: height and width of its frames, pixels.
    """
    number = int.from_bytes(hashlib.sha256(clip.encode()).digest()[:8], "little")
    random = np.random.default_rng([seed, epoch, number])
    bounds = segment_bounds(steps, settings.segments)
    chosen = random.integers(bounds[:-1], bounds[1:])
    box = _draw_box(random, settings.crop, size)
    is_mirrored = bool(random.random() < 0.5) and settings.flip
    return Draw(chosen, box, is_mirrored, _draw_colours(random, settings.colour))


def segment_bounds(steps: int, segments: int) -> NDArray[np.int64]:
    """First sample points of the segments, and T at the end: (S + 1,). Segments differ by at most one sample point.

    >>> segment_bounds(8, 3).tolist()
    [0, 2, 5, 8]
    """
    return np.arange(segments + 1) * steps // segments


def middle_steps(steps: int, segments: int) -> NDArray[np.int64]:
    """The middle sample point of each segment, for clips that are not augmented: (S,).

    >>> middle_steps(32, 4).tolist()
    [3, 11, 19, 27]
    """
    bounds = segment_bounds(steps, segments)
    return (bounds[:-1] + bounds[1:] - 1) // 2


def _draw_box(random: np.random.Generator, smallest: float, size: tuple[int, int]) -> tuple[int, int, int, int]:
    height, width = size
    if smallest < 1:
        for _ in range(_ATTEMPTS):
            area = height * width * random.uniform(smallest, 1)
            ratio = math.exp(random.uniform(-_ASPECT, _ASPECT))
            high, wide = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
            if 0 < high <= height and 0 < wide <= width:
                return int(random.integers(height - high + 1)), int(random.integers(width - wide + 1)), high, wide
    return 0, 0, height, width


def _draw_colours(random: np.random.Generator, largest: float) -> NDArray[np.float64]:
    """Brightness and contrast scale the distance from black and from mid grey; saturation that from the pixel's own grey."""
    brightness, contrast, saturation = 1 + random.uniform(-largest, largest, 3)
    mixed = saturation * np.eye(3) + (1 - saturation) * np.tile(_GREY, (3, 1))
    return np.hstack([brightness * contrast * mixed, np.full((3, 1), 127.5 * (1 - contrast))])


def augment(frames: NDArray[np.uint8], drawn: Draw) -> NDArray[np.uint8]:
    """Crop, mirror and colour frames (..., H, W, 3); the shape stays."""
    height, width = frames.shape[-3:-1]
    top, left, high, wide = drawn.box
    changed = np.empty(frames.shape, dtype=np.uint8)
    for before, after in zip(_each(frames), _each(changed), strict=True):
        picture: NDArray[Any] = before[top : top + high, left : left + wide]
        if (high, wide) != (height, width):
            picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
        if drawn.is_mirrored:
            picture = cv2.flip(picture, 1)
        after[:] = picture if np.array_equal(drawn.colours, _UNCHANGED) else cv2.transform(picture, drawn.colours)
    return changed


def _each(frames: NDArray[np.uint8]) -> Sequence[NDArray[np.uint8]]:
    return list(frames.reshape(-1, *frames.shape[-3:]))
