"""Sampling rule: which frames of a clip are used, and how they are resized. This module does not read videos."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

MOST_FRAMES = 3000
"""Most frames kept in memory at once; 0.15 MB each at 224 x 224."""


@dataclass(frozen=True)
class SampledClip:
    """The sampled frames of one clip."""

    frames: NDArray[np.uint8]
    """(T, resolution, resolution, 3), RGB."""
    indices: list[int]
    """Index of each frame in the clip, from 0; repeated if the clip has fewer than T frames."""
    header_frames: int
    """Number of frames in the file's header; 0 if it has none."""
    decoded_frames: int
    """Number of frames that decoding the whole clip gives."""
    warning: str = ""
    """Damage found in the file; empty if none was found."""

    @property
    def unique_frames(self) -> int:
        """Number of different frames among the sampled ones."""
        return len(set(self.indices))

    @property
    def padded(self) -> int:
        """Number of sampled frames that repeat another one."""
        return len(self.indices) - self.unique_frames


@dataclass(frozen=True)
class TimedFrame:
    """One frame of a video or camera."""

    seconds: float
    """Time since the first frame."""
    picture: NDArray[np.uint8]
    """(resolution, resolution, 3), RGB."""


def evenly_spaced(frame_count: int, wanted: int) -> list[int]:
    """Pick `wanted` frame indices from the first frame to the last, as the study does: numpy's linspace, rounded down.

    A clip shorter than `wanted` repeats frames; the result is sorted.

    >>> evenly_spaced(frame_count=100, wanted=4)
    [0, 33, 66, 99]
    >>> evenly_spaced(frame_count=2, wanted=4)
    [0, 0, 0, 1]

    Raises:
        ValueError: either count is below 1.
    """
    if frame_count < 1 or wanted < 1:
        raise ValueError(f"counts must be at least 1; got {frame_count} frames and {wanted} wanted")
    return [int(index) for index in np.linspace(0, frame_count - 1, wanted, dtype=np.int64)]


def resize(picture: NDArray[np.uint8], resolution: int, into: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Resize (not crop) a picture (H, W, 3) to (resolution, resolution, 3), as a new array or in `into`.

    Interpolation is bilinear. If the picture is at least twice as large as the result, bilinear interpolation would skip pixels, so
    areas are averaged instead, which takes ten times longer.
    """
    shrink = max(picture.shape[0], picture.shape[1]) >= 2 * resolution
    interpolation = cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (resolution, resolution), dst=into, interpolation=interpolation), dtype=np.uint8)
