"""Streams: what the backbone sees of a clip, its frames (`rgb`) or the differences of neighbouring frames (`diff`).

T frames, H and W pixels, S streams. The difference of frames a and b is (b - a) / 128 + 0.5 for pictures from 0 to 1, as in TSN
(arXiv 1608.00859): grey without a change, black or white from a change of 64 of the 256 levels on. It is rounded to 8 bits, so
every runtime and exported model sees the same pictures, and then normalised like a frame.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_GREY = 128
_LARGEST_CHANGE = 64  # levels; larger changes are clipped


def pictures(frames: Tensor, stream: str, dtype: torch.dtype = torch.int16) -> Tensor:
    """The pictures of one stream, as many as there are frames.

    Args:
        frames: (..., T, H, W, 3) or (..., T, 3, H, W), uint8.
        dtype: signed, of the arithmetic, which is exact in 16 bits.
    """
    return _differences(frames, dtype) if stream == "diff" else frames


def pictures_of(frames: NDArray[np.uint8], stream: str) -> NDArray[np.uint8]:
    """The pictures of one stream for the frames (T, H, W, 3) of a clip."""
    if stream == "rgb":
        return frames
    return np.asarray(pictures(torch.from_numpy(np.ascontiguousarray(frames)), stream).numpy())


def _differences(frames: Tensor, dtype: torch.dtype) -> Tensor:
    """Differences between each frame and the next; the last one repeats. A single frame has none: its picture is grey."""
    count = frames.shape[-4]
    if count == 1:
        return torch.full_like(frames, _GREY)
    levels = frames.to(dtype)
    change = (levels.narrow(-4, 1, count - 1) - levels.narrow(-4, 0, count - 1)).clamp_(-_LARGEST_CHANGE, _LARGEST_CHANGE)
    # 255 * (change / 128 + 0.5), rounded: no change gives 128, the largest change 255.
    pixels = (change.mul_(255).add_(_GREY * 128) >> 7).to(torch.uint8)
    return torch.cat([pixels, pixels.narrow(-4, count - 2, 1)], dim=-4)
