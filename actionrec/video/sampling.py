"""Sampling rule: which frames of a clip are used, and how they are resized. This module does not read videos."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from actionrec.video.frame_settings import Fit, Snippet

MOST_FRAMES = 3000
"""Most frames kept in memory at once; 0.15 MB each at 224 x 224."""

DEFAULT_RATE = 25.0
"""Frames per second that are assumed where a file states no rate."""


@dataclass(frozen=True)
class SampledClip:
    """The sampled frames of one clip."""

    frames: NDArray[np.uint8]
    """(N, resolution, resolution, 3), RGB: one for each sample point; with snippets, each different frame once."""
    indices: list[int]
    """Index in the clip of each of these frames, from 0; without snippets, repeated if the clip has fewer than T frames."""
    header_frames: int
    """Number of frames in the file's header; 0 if it has none."""
    decoded_frames: int
    """Number of frames that decoding the whole clip gives."""
    warning: str = ""
    """Damage found in the file; empty if none was found."""
    snippets: NDArray[np.int64] | None = None
    """(T, L): the places in `frames` of each snippet's frames; None without snippets."""
    frame_rate: float | None = None
    """Frames per second by the file's header, or by the times of a piece's frames; None if unknown."""

    @property
    def pictures(self) -> NDArray[np.uint8]:
        """What the backbone sees at each sample point: (T, ...) as `frames`, or (T, L, ...) with snippets."""
        return self.frames if self.snippets is None else self.frames[self.snippets]

    @property
    def shown(self) -> tuple[NDArray[np.uint8], list[int]]:
        """One frame of each sample point, the middle one of a snippet, for people: (T, ...) as `frames`, and their indices."""
        if self.snippets is None:
            return self.frames, self.indices
        middle = self.snippets[:, (self.snippets.shape[1] - 1) // 2]
        return self.frames[middle], [self.indices[place] for place in middle]

    @property
    def unique_frames(self) -> int:
        """Number of different frames among the sampled ones."""
        return len(set(self.indices))

    @property
    def padded(self) -> int:
        """Number of sample points that show the same as another one."""
        if self.snippets is None:
            return len(self.indices) - self.unique_frames
        return len(self.snippets) - len(np.unique(self.snippets, axis=0))


@dataclass(frozen=True)
class TimedFrame:
    """One frame of a video or camera."""

    seconds: float
    """Time since the first frame."""
    picture: NDArray[np.uint8]
    """(resolution, resolution, 3), RGB."""


def evenly_spaced(frame_count: int, count: int) -> list[int]:
    """Pick `count` frame indices from the first frame to the last, as the study does: numpy's linspace, rounded down.

    A clip shorter than `count` repeats frames; the result is sorted.

    >>> evenly_spaced(frame_count=100, count=4)
    [0, 33, 66, 99]
    >>> evenly_spaced(frame_count=2, count=4)
    [0, 0, 0, 1]

    Raises:
        ValueError: either count is below 1.
    """
    if frame_count < 1 or count < 1:
        raise ValueError(f"counts must be at least 1; got {frame_count} frames and {count} wanted")
    return [int(index) for index in np.linspace(0, frame_count - 1, count, dtype=np.int64)]


def snippet_frames(frame_count: int, count: int, snippet: Snippet, clip_rate: float | None) -> NDArray[np.int64]:
    """Pick the frames of `count` snippets: (T, L) frame indices.

    The snippets start at evenly spaced frames, the first with the clip's first frame; the last ends with its last frame. Within a
    snippet, frames are `clip_rate / snippet.rate` frames apart, rounded to the nearest frame. A clip shorter than a snippet repeats
    its last frame.

    >>> snippet_frames(100, count=3, snippet=Snippet(length=4, rate=10.0), clip_rate=25.0).tolist()
    [[0, 2, 5, 7], [46, 48, 51, 53], [92, 94, 97, 99]]

    Args:
        clip_rate: frames per second; None, if unknown: DEFAULT_RATE.

    Raises:
        ValueError: a count is below 1.
    """
    step = 1.0 if snippet.rate is None else (clip_rate or DEFAULT_RATE) / snippet.rate
    # Halves are rounded down, also if the rate has a rounding error: 2.5 frames apart are 0, 2, 5, 7.
    offsets = np.floor(np.arange(snippet.length) * step + 0.499).astype(np.int64)
    starts = evenly_spaced(max(frame_count - int(offsets[-1]), 1), count)
    return np.minimum(np.array(starts)[:, None] + offsets, frame_count - 1)


def resize(
    picture: NDArray[np.uint8], resolution: int, fit: Fit = "squash", into: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Turn a picture (H, W, 3) into a square (resolution, resolution, 3), as a new array or in `into`.

    Interpolation is bilinear. If the picture is at least twice as large as the result, bilinear interpolation would skip pixels, so
    areas are averaged instead, which takes ten times longer.
    """
    height, width = picture.shape[:2]
    high, wide = _resized(height, width, resolution, fit)
    interpolation = cv2.INTER_AREA if max(height / high, width / wide) >= 2 else cv2.INTER_LINEAR
    if fit == "squash":
        return np.asarray(cv2.resize(picture, (wide, high), dst=into, interpolation=interpolation), dtype=np.uint8)
    whole = np.asarray(cv2.resize(picture, (wide, high), interpolation=interpolation), dtype=np.uint8)
    top, left = round((high - resolution) / 2), round((wide - resolution) / 2)
    square = whole[top : top + resolution, left : left + resolution]
    if into is None:
        return np.ascontiguousarray(square)
    into[:] = square
    return into


def _resized(height: int, width: int, resolution: int, fit: Fit) -> tuple[int, int]:
    """Height and width that a picture is resized to before its centre is cut out, as by torchvision's transforms."""
    if fit == "squash":
        return resolution, resolution
    if fit == "crop":
        short = round(resolution * 8 / 7)
        long = int(short * max(height, width) / min(height, width))
        return (short, long) if height <= width else (long, short)
    assert not isinstance(fit, str)
    return fit[0], fit[1]
