"""Contact sheets: frames of clips to look at, because no model classifies them correctly or because their label is suspect."""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from actionrec.core.text import percent, shorten
from actionrec.evaluation.analyses import Missed
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.suspect_labels import LabelCheck
from actionrec.plots.canvas import GREY, drawing, png, write_fitted

SHOWN = 12  # clips at most
FRAMES = 5  # of a clip

# Inches.
_WIDTH = 12.0
_EDGE = 0.25
_HEAD = 0.9
_LABEL = 0.45  # above a strip
_BELOW = 0.2  # a strip
_FOOT = 0.35
_GAP = 0.04  # between frames
_TALLEST = 1.3  # frame, in widths

_LONGEST = 60  # letters of a class
_LONGEST_CLIP = 120
_INK = "#222222"


@dataclass(frozen=True)
class SheetEntry:
    """One clip of a contact sheet."""

    clip: str
    label: str
    prediction: str
    note: str
    """Shown after the classes."""


def missed_clips(missed: Sequence[Missed], frames: Mapping[str, NDArray[np.uint8]], context: EvaluationContext) -> bytes:
    """Draw the test clips that no model classifies correctly. See `contact_sheet`."""
    entries = []
    for one in missed:
        (prediction, models), *_ = Counter(one.answers.values()).most_common(1)
        entries.append(SheetEntry(one.clip, one.label, prediction, f"{models} of {len(one.answers)}"))
    if not entries:
        return nothing_to_show("At least one model classifies each test clip correctly.", context)
    title = f"Test clips that no model classifies correctly: {len(missed):,} of {context.distinct_test_clips:,}"
    return contact_sheet(entries, frames, title, "true class ← most frequent prediction (models)", context)


def suspect_labels(checks: Sequence[LabelCheck], frames: Mapping[str, NDArray[np.uint8]], context: EvaluationContext) -> bytes:
    """Draw the test clips whose label is probably wrong. See `contact_sheet`."""
    entries = [
        SheetEntry(one.clip, one.label, one.suggestion, f"{percent(one.probability_of_suggestion)} %")
        for one in checks
        if one.suspect
    ]
    if not entries:
        return nothing_to_show("No test clip has a suspect label.", context)
    title = f"Test clips whose label is probably wrong: {len(entries):,} of {context.distinct_test_clips:,}"
    return contact_sheet(entries, frames, title, "label ← most probable class (its probability)", context)


def contact_sheet(
    entries: Sequence[SheetEntry], frames: Mapping[str, NDArray[np.uint8]], title: str, legend: str, context: EvaluationContext
) -> bytes:
    """Draw a strip of frames for each of the first SHOWN clips, two strips per row.

    Args:
        entries: at least one, in the order in which they are shown.
        frames: clip -> its frames (T, H, W, 3) or snippets (T, L, H, W, 3), RGB; a clip without frames has an empty strip.
        context: named below the title.
    """
    first_entries = entries[:SHOWN]
    columns = min(2, len(first_entries))
    strip = (_WIDTH - 2 * _EDGE - (columns - 1) * 2 * _EDGE) / columns
    frame = (strip - (FRAMES - 1) * _GAP) / FRAMES
    tall = min(
        _TALLEST * frame, max((frame * height / width for height, width in _sizes(first_entries, frames)), default=0.75 * frame)
    )
    row = _LABEL + tall + _BELOW
    left_out = len(entries) - len(first_entries)
    high = _HEAD + ceil(len(first_entries) / columns) * row + (_FOOT if left_out else 0)
    with drawing():
        figure = Figure(figsize=(_WIDTH, high))
        axes = figure.add_axes((0, 0, 1, 1))  # in inches from the upper left corner
        axes.set_axis_off()
        axes.text(_WIDTH / 2, 0.12, f"{title}\n{shorten(context.phrase, 130)}", ha="center", va="top", fontsize=12)
        axes.text(_WIDTH / 2, 0.6, legend, ha="center", va="top", fontsize=9, color=GREY)
        for place, one in enumerate(first_entries):
            down, across = divmod(place, columns)
            left, top = _EDGE + across * (strip + 2 * _EDGE), _HEAD + down * row
            _label(axes, one, left, top, strip)
            _strip(axes, frames.get(one.clip), left, top + _LABEL, (strip, frame, tall))
        if left_out:
            axes.text(_WIDTH / 2, high - 0.15, f"and {left_out:,} more", ha="center", va="bottom", color=GREY)
        axes.set_xlim(0, _WIDTH)
        axes.set_ylim(high, 0)
        axes.set_aspect("auto")
        return png(figure)


def nothing_to_show(sentence: str, context: EvaluationContext) -> bytes:
    """Draw a small picture with a sentence."""
    with drawing():
        figure = Figure(figsize=(8, 1.7))
        figure.text(0.5, 0.68, sentence, ha="center", va="center", fontsize=12)
        phrase = "\n".join(textwrap.wrap(shorten(context.phrase, 130), 90))
        figure.text(0.5, 0.32, phrase, ha="center", va="center", color=GREY)
        return png(figure)


def _sizes(entries: Sequence[SheetEntry], frames: Mapping[str, NDArray[np.uint8]]) -> list[tuple[int, int]]:
    """Height and width of the frames, for each clip that has frames."""
    return [frames[one.clip].shape[-3:-1] for one in entries if one.clip in frames]


def _label(axes: Axes, one: SheetEntry, left: float, top: float, width: float) -> None:
    def classes(letters: int) -> str:
        return f"{shorten(one.label, letters)} ← {shorten(one.prediction, letters)} ({one.note})"

    write_fitted(axes, (left, top + 0.2), width, _LONGEST, classes, color=_INK)
    write_fitted(axes, (left, top + 0.37), width, _LONGEST_CLIP, lambda letters: shorten(one.clip, letters), color=GREY, fontsize=8)


def _strip(axes: Axes, frames: NDArray[np.uint8] | None, left: float, top: float, size: tuple[float, float, float]) -> None:
    """Draw evenly spaced frames, including the first and the last, side by side; their aspect ratio is kept.

    Args:
        axes: in inches.
        frames: (T, H, W, 3), or snippets (T, L, H, W, 3), of which the middle frames are shown.
        left: of the strip.
        top: of the strip.
        size: width of the strip, of a frame, and height of both.
    """
    strip, wide, tall = size
    if frames is None:
        axes.add_patch(Rectangle((left, top), strip, tall, facecolor="#EEEEEE", edgecolor="none"))
        axes.text(left + strip / 2, top + tall / 2, "no frames", ha="center", va="center", color=GREY, fontsize=8)
        return
    if frames.ndim == 5:
        frames = frames[:, (frames.shape[1] - 1) // 2]
    count, height, width = frames.shape[:3]
    scale = min(wide / width, tall / height)
    chosen = np.unique(np.linspace(0, count - 1, FRAMES).round().astype(int))
    for place, number in enumerate(chosen):
        start = left + place * (scale * width + _GAP)
        extent = (start, start + scale * width, top + scale * height, top)
        axes.imshow(frames[number], extent=extent, interpolation="antialiased", aspect="auto")
