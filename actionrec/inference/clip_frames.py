"""Frames of a clip's file for a model: decoded, sampled, resized, and compressed as in the frame store."""

import numpy as np
from numpy.typing import NDArray

from actionrec.io.tar_member import ClipFile
from actionrec.video import clip_reader, frame_store
from actionrec.video.frame_settings import Sampling
from actionrec.video.sampling import SampledClip


def read(path: ClipFile, sampling: Sampling) -> SampledClip:
    """Decode a clip's frames, as they are after the compression of the frame store.

    Raises:
        VideoError: it cannot be decoded.
    """
    clip = clip_reader.sample_clip_safely(path, sampling.count, sampling.resolution, sampling.fit, sampling.snippet)
    clip.frames[:] = stored(clip.frames, sampling)
    return clip


def stored(pictures: NDArray[np.uint8], sampling: Sampling) -> NDArray[np.uint8]:
    """Frames (..., size, size, 3), RGB, after the compression of the frame store."""
    if sampling.format != "jpeg":
        return pictures
    each = pictures.reshape(-1, *pictures.shape[-3:])
    return frame_store.decode_jpegs([frame_store.encode_jpeg(picture, sampling.quality) for picture in each]).reshape(
        pictures.shape
    )
