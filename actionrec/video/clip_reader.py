"""Clip reader: evenly sampled frames of a video file, a single frame, or all frames with their times."""

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from actionrec.core.errors import DataError, VideoError
from actionrec.io.tar_member import ClipFile
from actionrec.video.decoder import Video, open_video
from actionrec.video.frame_settings import ONE_FRAME, Fit, Sampling, Snippet
from actionrec.video.sampling import DEFAULT_RATE, MOST_FRAMES, SampledClip, TimedFrame, evenly_spaced, resize, snippet_frames

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from actionrec.video.decoder import VideoPacket

logger = logging.getLogger(__name__)

MAX_HELD_BYTES = 1 << 28
"""Largest file whose packets are kept in memory."""

_ROUNDING = 0.0005  # seconds: times in answers are rounded to milliseconds

UNEXPECTED = "unexpected error"
"""Start of the message of an error that may not be caused by the clip."""


@dataclass(frozen=True)
class _SamplingRule:
    """What is sampled from a clip."""

    count: int
    resolution: int
    fit: Fit
    snippet: Snippet

    def places(self, frame_count: int, clip_rate: float | None) -> tuple[list[int], NDArray[np.int64] | None]:
        """The frames to keep, and each snippet's places among them; see SampledClip."""
        if self.snippet.length == 1:
            return evenly_spaced(frame_count, self.count), None
        frames, places = np.unique(snippet_frames(frame_count, self.count, self.snippet, clip_rate), return_inverse=True)
        return frames.tolist(), places.reshape(self.count, -1)


def sample_clip(path: ClipFile, count: int, resolution: int, fit: Fit = "squash", snippet: Snippet = ONE_FRAME) -> SampledClip:
    """Decode `count` frames or snippets of a clip, evenly spaced over all frames that can be decoded, and resize them to squares.

    The packets give the expected number of frames. If decoding gives another number, because of damage, the clip is decoded again
    and sampled by that number. H.264 and HEVC frames that are not needed are not decoded, so damage in them is not noticed.

    Args:
        resolution: width and height, pixels.
        fit: how a picture becomes a square.
        snippet: the frames at each of the `count` sample points.

    Raises:
        FileNotFoundError: the file does not exist.
        VideoError: the file cannot be opened as a video, or none of its frames can be decoded.
    """
    rule = _SamplingRule(count, resolution, fit, snippet)
    with open_video(path) as video:
        packets = list(video.packets()) if path.stat().st_size <= MAX_HELD_BYTES else None
        expected = video.packets_read if packets else video.header.frames
        times = video.times_for_skipping(packets or ())
        sampled = _sample(video, packets, expected, rule, times)
    for _ in range(2):
        if sampled and sampled.decoded_frames == expected:
            return sampled
        expected = sampled.decoded_frames if sampled else expected
        with open_video(path) as video:
            sampled = _sample(video, None, expected, rule)
    if sampled and sampled.decoded_frames == expected:
        return sampled
    raise VideoError(
        f"decoding twice gave different numbers of frames, the last {expected}. Rerun when no program writes to the file"
    )


def _sample(
    video: Video,
    packets: "Iterable[VideoPacket] | None",
    expected: int,
    rule: _SamplingRule,
    times: Sequence[int] = (),
) -> SampledClip | None:
    """Sample a clip of `expected` frames. The sample is invalid if its `decoded_frames` differs.

    Args:
        times: the time stamp of each frame. If given, frames that are not sampled are skipped; the result is None if it could
            differ from that of decoding everything.
    """
    rate = video.header.frames_per_second or None
    indices, snippets = rule.places(max(expected, 1), rate)
    build_clip = partial(SampledClip, snippets=snippets, frame_rate=rate)
    frames = np.empty((len(indices), rule.resolution, rule.resolution, 3), dtype=np.uint8)
    places: dict[int, list[int]] = {}  # time stamp or number of each sampled frame -> its places in `frames`
    for place, index in enumerate(indices):
        places.setdefault(times[index] if times else index, []).append(place)
    for number, frame in enumerate(video.frames(packets, frozenset(places) if times else None)):
        if times and (frame.pts is None or frame.interlaced_frame or video.damaged):  # two packets may have one frame
            return None
        for place in places.pop(frame.pts or 0 if times else number, ()):
            resize(video.picture(frame), rule.resolution, rule.fit, into=frames[place])
    if times:
        return None if places or video.damaged else build_clip(frames, indices, video.header.frames, expected)
    if not video.frames_read:
        raise video.no_frame()
    return build_clip(frames, indices, video.header.frames, video.frames_read, video.warning)


def sample_clip_safely(
    path: ClipFile, count: int, resolution: int, fit: Fit = "squash", snippet: Snippet = ONE_FRAME
) -> SampledClip:
    """Call `sample_clip` and turn any error into a VideoError. The traceback of an unexpected error is logged.

    Raises:
        VideoError: the clip cannot be decoded.
    """
    try:
        return sample_clip(path, count, resolution, fit, snippet)
    except VideoError:
        raise
    except Exception as error:
        logger.exception("%s: %s", path, UNEXPECTED)
        raise VideoError(f"{UNEXPECTED}: {type(error).__name__}: {error}. The log has its traceback") from None


def read_frame(path: ClipFile, index: int) -> NDArray[np.uint8]:
    """Decode frame `index`, from 0: (H, W, 3), RGB. All frames before it are decoded, too.

    Raises:
        FileNotFoundError: the file does not exist.
        VideoError: the file cannot be opened as a video, or ends before that frame.
    """
    with open_video(path) as video:
        for number, frame in enumerate(video.frames()):
            if number == index:
                return video.picture(frame)
        if not (readable := video.frames_read):
            raise video.no_frame()
    raise VideoError(f"frame {index} cannot be read; the file has {readable} readable frames", decoded_frames=readable)


def sample_piece(
    path: ClipFile, start: float, end: float, sampling: Sampling, most_seconds: float = math.inf
) -> tuple[SampledClip, list[float]]:
    """Sample a piece of a video as `timeline.windows` samples a window with these times.

    Args:
        start, end: seconds from the first frame. If no frame starts between them, the one before is sampled, which is still on
            screen.
        most_seconds: decoding stops there, whatever `start` says.

    Returns:
        The clip, whose `indices` are those of the whole video, and the time in seconds of each of its `frames`.

    Raises:
        FileNotFoundError: the file does not exist.
        VideoError: no frame can be decoded, or the video ends before `start`.
        DataError: the piece has more than MOST_FRAMES frames.
    """
    kept: list[TimedFrame] = []
    numbers: list[int] = []
    latest: tuple[int, float, VideoFrame] | None = None
    with open_video(path) as video:
        for number, (seconds, frame) in enumerate(frames_with_times(video)):
            if seconds >= min(end - _ROUNDING, most_seconds):
                break
            if seconds < start - _ROUNDING:
                latest = number, seconds, frame
                continue
            if len(kept) == MOST_FRAMES:
                raise DataError(f"a piece of {end - start:g} s has more than {MOST_FRAMES} frames. Choose a shorter one.")
            numbers.append(number)
            kept.append(TimedFrame(seconds, resize(video.picture(frame), sampling.resolution, sampling.fit)))
        else:
            step = 1 / (video.header.frames_per_second or DEFAULT_RATE)
            if not kept and latest and start > latest[1] + step:
                raise VideoError(f"the video ends at {latest[1] + step:.3f} s, before the piece from {start:g} s")
        if not kept:
            assert latest is not None  # frames_with_times gives a frame or an error, and `end` is after the first
            numbers = [latest[0]]
            kept = [TimedFrame(latest[1], resize(video.picture(latest[2]), sampling.resolution, sampling.fit))]
    rate = (len(kept) - 1) / (kept[-1].seconds - kept[0].seconds) if len(kept) > 1 else None
    chosen = snippet_frames(len(kept), sampling.count, sampling.snippet, rate)
    different, places = np.unique(chosen, return_inverse=True)
    snippets = places.reshape(chosen.shape) if sampling.snippet.length > 1 else None
    kept_places = different if snippets is not None else chosen[:, 0]
    clip = SampledClip(
        np.stack([kept[one].picture for one in kept_places]),
        [numbers[one] for one in kept_places],
        video.header.frames,
        len(kept),
        video.warning,
        snippets,
        rate,
    )
    return clip, [kept[one].seconds for one in kept_places]


def timed_frames(video: Video, resolution: int, fit: Fit = "squash") -> Iterator[TimedFrame]:
    """Decode a video from start to end, and yield each frame, resized to a square, with its time.

    Raises:
        VideoError: no frame can be decoded.
    """
    for seconds, frame in frames_with_times(video):
        yield TimedFrame(seconds, resize(video.picture(frame), resolution, fit))


def frames_with_times(video: Video) -> "Iterator[tuple[float, VideoFrame]]":
    """Decode a video from start to end, and yield each frame with its time in seconds from the first. Times always increase.

    If a frame has no time, as in AVI files with packed B-frames, or is not later than the previous frame, its time is that of the
    previous frame plus one frame interval.

    Raises:
        VideoError: no frame can be decoded.
    """
    step = 1 / (video.header.frames_per_second or DEFAULT_RATE)
    first = last = None
    for frame in video.frames():
        seconds = video.seconds(frame)
        if last is not None and (seconds is None or seconds <= last):
            seconds = last + step
        last = seconds if seconds is not None else 0.0
        first = last if first is None else first
        yield last - first, frame
    if first is None:
        raise video.no_frame()
