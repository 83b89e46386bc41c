"""Latency of a clip from its file to its features, in the steps of `actionrec predict`."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from actionrec.features.extractors import Extractor
from actionrec.inference import clip_frames
from actionrec.io.tar_member import ClipFile
from actionrec.video.frame_settings import Sampling

ENOUGH_SECONDS = 5.0
"""No further clip is timed after that long: where a clip takes seconds, one is representative."""


@dataclass(frozen=True)
class Latency:
    """Median milliseconds of one clip at a time."""

    decode_ms: float
    """Decoding, sampling, resizing, and the compression of the frame store."""
    backbone_ms: float


def measure(clips: Sequence[ClipFile], sampling: Sampling, extractor: Extractor) -> Latency:
    """Time some clips, once each. The first also runs before timing starts, because the first run of a network is slow.

    Args:
        clips: at least one.

    Raises:
        FileNotFoundError: a clip is missing.
        VideoError: a clip cannot be decoded.
    """
    extractor(clip_frames.read(clips[0], sampling).pictures)
    decoding, computing = [], []
    for path in clips:
        start = time.perf_counter()
        clip = clip_frames.read(path, sampling)
        decoded = time.perf_counter()
        extractor(clip.pictures)
        computing.append(1000 * (time.perf_counter() - decoded))
        decoding.append(1000 * (decoded - start))
        if sum(decoding) + sum(computing) > 1000 * ENOUGH_SECONDS:
            break
    return Latency(statistics.median(decoding), statistics.median(computing))
