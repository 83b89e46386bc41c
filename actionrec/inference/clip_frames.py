"""Frames of a clip's file for a model: decoded, sampled, resized, and compressed as in the frame store."""

from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from actionrec.video import clip_reader, frame_store
from actionrec.video.sampling import SampledClip


class Sampling(Protocol):
    """How frames are sampled from a clip and stored; see actionrec.video.frame_store.FrameSettings."""

    @property
    def count(self) -> int: ...

    @property
    def resolution(self) -> int: ...

    @property
    def format(self) -> Literal["jpeg", "raw"]: ...

    @property
    def quality(self) -> int: ...


def read(path: Path, sampling: Sampling) -> SampledClip:
    """Decode a clip's frames, (T, size, size, 3), RGB, as the frame store returns them.

    Raises:
        VideoError: it cannot be decoded.
    """
    clip = clip_reader.sample_clip_safely(path, sampling.count, sampling.resolution)
    clip.frames[:] = stored(clip.frames, sampling)
    return clip


def stored(pictures: NDArray[np.uint8], sampling: Sampling) -> NDArray[np.uint8]:
    """Frames (T, size, size, 3), RGB, after the compression of the frame store."""
    if sampling.format != "jpeg":
        return pictures
    return np.stack([frame_store.decode_jpeg(frame_store.encode_jpeg(picture, sampling.quality)) for picture in pictures])
