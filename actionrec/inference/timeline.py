"""What happens when in a long video: windows of a few seconds, an answer for each, and runs of the same answer.

Windows overlap where the stride is shorter than they are. Each answers for the time nearest to its middle, so that the runs cover
the film from end to end, once.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

from actionrec.core.errors import DataError
from actionrec.inference.predictor import Prediction, Predictor, headline
from actionrec.video.sampling import MOST_FRAMES, TimedFrame, evenly_spaced

_ONLY_FRAME = 0.04  # seconds for which the frame of a film that has no other is taken to be shown


@dataclass(frozen=True)
class Window:
    """A piece of a film."""

    start: float
    """Seconds from the film's start."""
    end: float
    """Seconds, where its last frame ends or the film does."""
    frames: NDArray[np.uint8]
    """(T, size, size, 3), RGB, evenly spaced over it; repeated where it has fewer."""


@dataclass(frozen=True)
class Moment:
    """A window's answer."""

    start: float
    end: float
    prediction: Prediction


@dataclass(frozen=True)
class Run:
    """A stretch of a film with one answer, or with unsure answers alone."""

    start: float
    """Seconds from the film's start."""
    end: float
    answer: str
    """The class with the highest mean probability over its windows."""
    confidence: float
    """That probability."""
    windows: int
    none_of_these: bool
    """Whether its answers are unsure; see `Prediction.none_of_these`."""

    @property
    def headline(self) -> str:
        """The answer for people; see `Prediction.headline`."""
        return headline(self.answer, self.confidence, self.none_of_these)


def windows(film: Iterable[TimedFrame], count: int, seconds: float, stride: float) -> Iterator[Window]:
    """Cut a film into windows of `count` frames, evenly spaced over `seconds`, one each `stride` seconds.

    The last window ends with the film, however much it overlaps the one before. A film that is no longer than one window is one
    window: the same frames as of a clip.

    Args:
        film: in order of time; no more of it is held than a window.

    Raises:
        DataError: a window would hold more than MOST_FRAMES frames.
    """
    if not (seconds > 0 and stride > 0):
        raise DataError(f"window and stride must be above 0 seconds; got {seconds} and {stride}.")
    held: list[TimedFrame] = []
    start, step, ended = 0.0, _ONLY_FRAME, -1.0
    for number, frame in enumerate(film):
        if held:  # how long the latest frame is shown, if it is the last; a gap before it says little
            step = min(frame.seconds - held[-1].seconds, frame.seconds / number)
        if frame.seconds >= start + seconds and held:
            yield _cut(held, count, start, start + seconds)
            ended = start + seconds
            start += stride * max(1, math.floor((frame.seconds - seconds - start) / stride) + 1)  # the first that is not over
        oldest = min(start, frame.seconds + step - seconds)  # the last window may reach back to the latter
        if held and held[0].seconds < oldest:
            held = [one for one in held if one.seconds >= oldest]
        held.append(frame)  # always: it is on screen until the next one comes
        if len(held) > MOST_FRAMES:
            raise DataError(f"a window of {seconds:g} s has more than {MOST_FRAMES} frames. Choose a shorter --window.")
    if held:
        end = held[-1].seconds + step
        if end > ended + step / 2:
            last = max(0.0, end - seconds)
            yield _cut(held, count, last, end, tolerance=step / 2)  # half a frame: times are rounded in files


def _cut(held: Sequence[TimedFrame], count: int, start: float, end: float, tolerance: float = 1e-6) -> Window:
    """Sample a window; where no frame begins in it, it shows the frame before, which is still on screen."""
    inside = [one for one in held if start - tolerance <= one.seconds < end] or [held[-1]]
    chosen = evenly_spaced(len(inside), count)
    return Window(start, end, np.stack([inside[place].picture for place in chosen]))


def moments(predictor: Predictor, film: Iterable[TimedFrame], seconds: float, stride: float) -> Iterator[Moment]:
    """Predict each window of a film."""
    for window in windows(film, predictor.sampling.count, seconds, stride):
        prediction = predictor.answer(predictor.extractor(predictor.stored(window.frames)))
        yield Moment(window.start, window.end, prediction)


def runs(found: Sequence[Moment]) -> list[Run]:
    """Merge neighbours with the same answer, and unsure neighbours; each window answers up to half-way to the next one's middle."""
    if not found:
        return []
    middles = [(one.start + one.end) / 2 for one in found]
    edges = [found[0].start, *((one + other) / 2 for one, other in pairwise(middles)), found[-1].end]
    merged: list[Run] = []
    first = 0
    for _, same in groupby(found, lambda one: None if one.prediction.none_of_these else one.prediction.label):
        predictions = [one.prediction for one in same]
        shares = np.mean([one.probabilities for one in predictions], axis=0)
        last = first + len(predictions)
        answer, confidence = predictions[0].class_names[int(shares.argmax())], float(shares.max())
        merged.append(Run(edges[first], edges[last], answer, confidence, last - first, predictions[0].none_of_these))
        first = last
    return merged


def clock(seconds: float) -> str:
    """A time in a film, to be read.

    >>> clock(75.25)
    '1:15.2'
    >>> clock(3675.0)
    '1:01:15.0'
    """
    tenths = int(seconds * 10 + 1e-6)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    shown = f"{rest // 10:02d}.{rest % 10}"
    return f"{hours}:{minutes:02d}:{shown}" if hours else f"{minutes}:{shown}"
