"""Frames of video files: sampled evenly over a clip, a single one, or all with their times."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from actionrec.core.errors import VideoError
from actionrec.video.decoder import Video, open_video
from actionrec.video.sampling import SampledClip, TimedFrame, evenly_spaced, resize

if TYPE_CHECKING:
    from actionrec.video.decoder import VideoPacket

logger = logging.getLogger(__name__)

MAX_HELD_BYTES = 1 << 28
"""Largest file whose packets are held in memory."""

UNEXPECTED = "unexpected error"
"""How the message begins where a failure says nothing certain about the clip."""

_USUAL_RATE = 25.0  # frames a second, where the file gives none


def sample_clip(path: Path, count: int, resolution: int) -> SampledClip:
    """Decode `count` frames of a clip, evenly spaced over the frames that a full decode yields, resized to a square.

    The packets say how many frames there should be. Where decoding yields another number, because of damage, the clip is decoded
    again and sampled by the true one. Of H.264 and HEVC, frames that nothing needs are not decoded; damage there goes unnoticed.

    Args:
        resolution: width and height, pixels.

    Raises:
        FileNotFoundError: there is no such file.
        VideoError: it does not open as video, or no frame of it can be decoded.
    """
    with open_video(path) as video:
        packets = list(video.packets()) if path.stat().st_size <= MAX_HELD_BYTES else None
        expected = video.packets_read if packets else video.header.frames
        times = video.times_for_skipping(packets or ())
        sampled = _sample(video, packets, expected, count, resolution, times)
    for _ in range(2):
        if sampled and sampled.decoded_frames == expected:
            return sampled
        expected = sampled.decoded_frames if sampled else expected
        with open_video(path) as video:
            sampled = _sample(video, None, expected, count, resolution)
    if sampled and sampled.decoded_frames == expected:
        return sampled
    raise VideoError(f"two readings differ; the first gave {expected} frames. Rerun when no program writes to the file")


def _sample(
    video: Video,
    packets: "Iterable[VideoPacket] | None",
    expected: int,
    count: int,
    resolution: int,
    times: Sequence[int] = (),
) -> SampledClip | None:
    """Sample a clip of `expected` frames; with another number of `decoded_frames` the sample is wrong.

    Args:
        times: the time stamp of each frame. With it, frames that the sample does not need are skipped, and the result is None
            where that may not give what a full decode gives.
    """
    indices = evenly_spaced(max(expected, 1), count)
    frames = np.zeros((count, resolution, resolution, 3), dtype=np.uint8)
    places: dict[int, list[int]] = {}  # of each wanted frame, by its time stamp or number
    for place, index in enumerate(indices):
        places.setdefault(times[index] if times else index, []).append(place)
    for number, frame in enumerate(video.frames(packets, frozenset(places) if times else None)):
        if times and (frame.pts is None or frame.interlaced_frame or video.damaged):  # two packets may hold one frame
            return None
        for place in places.pop(frame.pts or 0 if times else number, ()):
            resize(video.picture(frame), resolution, into=frames[place])
    if times:
        return None if places or video.damaged else SampledClip(frames, indices, video.header.frames, expected)
    if not video.frames_read:
        raise video.no_frame()
    return SampledClip(frames, indices, video.header.frames, video.frames_read, video.warning)


def sample_clip_safely(path: Path, count: int, resolution: int) -> SampledClip:
    """`sample_clip`, where any failure is a VideoError; one that is unexpected logs its traceback.

    Raises:
        VideoError: the clip cannot be decoded.
    """
    try:
        return sample_clip(path, count, resolution)
    except VideoError:
        raise
    except Exception as error:
        logger.exception("%s: %s", path, UNEXPECTED)
        raise VideoError(f"{UNEXPECTED}: {type(error).__name__}: {error}. The log has its traceback") from None


def read_frame(path: Path, index: int) -> NDArray[np.uint8]:
    """Decode frame `index`, from 0, and all before it: (H, W, 3), RGB.

    Raises:
        FileNotFoundError: there is no such file.
        VideoError: it does not open as video, or ends before that frame.
    """
    with open_video(path) as video:
        for number, frame in enumerate(video.frames()):
            if number == index:
                return video.picture(frame)
        if not (read := video.frames_read):
            raise video.no_frame()
    raise VideoError(f"frame {index} cannot be read; the file has {read} frames that can", decoded_frames=read)


def timed_frames(video: Video, resolution: int) -> Iterator[TimedFrame]:
    """Decode a video from start to end, resized to squares; only one frame is held. Times always rise.

    A frame without a time, as in AVIs with packed B-frames, or with an earlier one than the frame before, comes one step later.

    Raises:
        VideoError: no frame can be decoded.
    """
    step = 1 / (video.header.frames_per_second or _USUAL_RATE)
    first = last = None
    for frame in video.frames():
        own = video.seconds(frame)
        if last is not None and (own is None or own <= last):
            own = last + step
        last = own if own is not None else 0.0
        first = last if first is None else first
        yield TimedFrame(last - first, resize(video.picture(frame), resolution))
    if first is None:
        raise video.no_frame()
