"""Timeline of a long video: windows of a few seconds, an answer for each, and segments with the same answer.

Windows overlap if the stride is shorter than a window. Each window answers for the time nearest to its middle, so the segments
cover the video from start to end exactly once.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

from actionrec.core.errors import DataError
from actionrec.inference.predictor import Prediction, Predictor, headline
from actionrec.video.frame_settings import ONE_FRAME, Snippet
from actionrec.video.sampling import MOST_FRAMES, TimedFrame, snippet_frames

_ROUNDING = 1e-6  # seconds: sums of strides are not exact
_ONLY_FRAME = 0.04  # assumed duration, in seconds, of the frame of a one-frame video


@dataclass(frozen=True)
class Window:
    """A few seconds of a video."""

    start: float
    """Seconds from the start of the video."""
    end: float
    """Seconds; where its last frame or the video ends."""
    pictures: NDArray[np.uint8]
    """(T, size, size, 3), RGB, or snippets (T, L, size, size, 3), evenly spaced over the window; they repeat if it has too few
    frames."""


@dataclass(frozen=True)
class Moment:
    """A window's answer."""

    start: float
    end: float
    prediction: Prediction


@dataclass(frozen=True)
class Segment:
    """Consecutive windows with the same answer, or consecutive unsure windows."""

    start: float
    """Seconds from the start of the video."""
    end: float
    answer: str
    """The class with the highest mean probability over the windows."""
    confidence: float
    """That probability."""
    windows: int
    none_of_these: bool
    """Whether the answers are unsure; see `Prediction.none_of_these`."""

    @property
    def headline(self) -> str:
        """The answer for people; see `Prediction.headline`."""
        return headline(self.answer, self.confidence, self.none_of_these)


def windows(
    video: Iterable[TimedFrame], count: int, seconds: float, stride: float, snippet: Snippet = ONE_FRAME
) -> Iterator[Window]:
    """Cut a video into windows of `seconds`, one every `stride` seconds; `count` evenly spaced frames or snippets represent each.

    The last window ends with the video, however much it overlaps the one before. A video no longer than one window is sampled
    like a clip.

    Args:
        video: frames in order of time; at most one window of them is kept in memory.

    Raises:
        DataError: a window would hold more than MOST_FRAMES frames, or is shorter than a snippet.
    """
    if not (seconds > 0 and stride > 0):
        raise DataError(f"window and stride must be above 0 seconds; got {seconds} and {stride}.")
    if snippet.rate is not None and seconds < (snippet.length - 1) / snippet.rate:
        raise DataError(
            f"a window of {seconds:g} s is shorter than a snippet, {snippet.length} frames at {snippet.rate:g} frames per second "
            f"({(snippet.length - 1) / snippet.rate:.3g} s). Choose a longer --window."
        )
    kept: list[TimedFrame] = []
    start, step, ended = 0.0, _ONLY_FRAME, -1.0
    for number, frame in enumerate(video):
        if kept:  # estimated duration of the newest frame, in case it is the last; a single gap may be untypical
            step = min(frame.seconds - kept[-1].seconds, frame.seconds / number)
        if frame.seconds >= start + seconds and kept:
            yield _cut(kept, count, snippet, (start, start + seconds))
            ended = start + seconds
            start += stride * max(1, math.floor((frame.seconds - seconds - start) / stride) + 1)  # skip windows that already ended
        oldest = min(start, frame.seconds + step - seconds)  # the last window may start this early
        if kept and kept[0].seconds < oldest - _ROUNDING:
            kept = [one for one in kept if one.seconds >= oldest - _ROUNDING]
        kept.append(frame)  # even if the next window starts later: it may still be on screen then
        if len(kept) > MOST_FRAMES:
            raise DataError(f"a window of {seconds:g} s has more than {MOST_FRAMES} frames. Choose a shorter --window.")
    if kept:
        end = kept[-1].seconds + step
        if end > ended + step / 2:
            last = max(0.0, end - seconds)
            yield _cut(kept, count, snippet, (last, end), tolerance=step / 2)  # half a frame, because files store rounded times


def _cut(
    kept: Sequence[TimedFrame], count: int, snippet: Snippet, between: tuple[float, float], tolerance: float = _ROUNDING
) -> Window:
    """Sample a window; if no frame starts in it, use the previous frame, which is still on screen."""
    start, end = between
    inside = [one for one in kept if start - tolerance <= one.seconds < end - tolerance] or [kept[-1]]
    rate = (len(inside) - 1) / (inside[-1].seconds - inside[0].seconds) if len(inside) > 1 else None
    chosen = snippet_frames(len(inside), count, snippet, rate)
    different, places = np.unique(chosen[:, 0] if snippet.length == 1 else chosen, return_inverse=True)
    return Window(start, end, np.stack([inside[number].picture for number in different])[places])


def moments(predictor: Predictor, video: Iterable[TimedFrame], seconds: float, stride: float) -> Iterator[Moment]:
    """Predict each window of a video."""
    sampling = predictor.sampling
    for window in windows(video, sampling.count, seconds, stride, sampling.snippet):
        prediction = predictor.answer(predictor.extractor(predictor.stored(window.pictures)))
        yield Moment(window.start, window.end, prediction)


def segments(answered: Sequence[Moment]) -> list[Segment]:
    """Merge neighbouring windows with the same answer, and unsure neighbours.

    Segments meet half-way between the middles of neighbouring windows.
    """
    if not answered:
        return []
    middles = [(one.start + one.end) / 2 for one in answered]
    edges = [answered[0].start, *((one + other) / 2 for one, other in pairwise(middles)), answered[-1].end]
    merged: list[Segment] = []
    first = 0
    for _, same in groupby(answered, lambda one: None if one.prediction.none_of_these else one.prediction.label):
        predictions = [one.prediction for one in same]
        shares = np.mean([one.probabilities for one in predictions], axis=0)
        last = first + len(predictions)
        answer, confidence = predictions[0].class_names[int(shares.argmax())], float(shares.max())
        merged.append(Segment(edges[first], edges[last], answer, confidence, last - first, predictions[0].none_of_these))
        first = last
    return merged


def clock(seconds: float) -> str:
    """Format a time in a video.

    >>> clock(75.25)
    '1:15.2'
    >>> clock(3675.0)
    '1:01:15.0'
    """
    tenths = int(seconds * 10 + 1e-6)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    formatted = f"{rest // 10:02d}.{rest % 10}"
    return f"{hours}:{minutes:02d}:{formatted}" if hours else f"{minutes}:{formatted}"
