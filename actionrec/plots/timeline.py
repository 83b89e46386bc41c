"""Predictions for a long video over time: a band of answers with a legend, and below it the probability of each class."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from actionrec.core.text import shorten
from actionrec.inference.timeline import Moment, Segment, clock
from actionrec.plots.canvas import GREY, drawing, png

# Okabe and Ito's colour-blind safe palette (https://jfly.uni-koeln.de/color/) with a darker yellow for white paper, then the same
# at half strength. The web page uses the same colours.
COLOURS = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c7a00",
    "#80b9d9", "#f3cf80", "#80cfb9", "#e6bcd3", "#eaaf80", "#abdaf4", "#c6bd80",
)  # fmt: skip
NONE_COLOUR = "#9aa0a6"
REST_COLOUR = "#3c4043"
"""Of all answers that have no colour of their own."""

_CLASSES = 8  # rows of the table: the most probable classes
_LABEL_WIDTH = 0.011  # of a character, as a fraction of the picture; segments narrower than their name have no label
_LEGEND_ROW = 0.2  # inches


def timeline(moments: Sequence[Moment], segments: Sequence[Segment], title: str) -> bytes:
    """Draw a timeline as a PNG.

    Args:
        moments: predictions for the windows.
        segments: the segments that they were merged to.
        title: such as the file's name.
    """
    shares = np.array([one.prediction.probabilities for one in moments])  # (windows, K)
    names = moments[0].prediction.class_names
    rows = np.argsort(-shares.max(axis=0), kind="stable")[:_CLASSES]
    colours = answer_colours(segments)
    start, end = segments[0].start, segments[-1].end
    with drawing():
        figure = Figure(figsize=(11, 1.9 + 0.32 * len(rows)), layout="constrained")
        figure.suptitle(shorten(title, 90), fontsize=13)
        band, table = figure.subplots(2, 1, sharex=True, height_ratios=[1, max(2, 0.55 * len(rows))])
        for segment in segments:
            colour = NONE_COLOUR if segment.none_of_these else colours.get(segment.answer, REST_COLOUR)
            band.axvspan(segment.start, segment.end, color=colour, linewidth=0)
            if len(segment.headline) * _LABEL_WIDTH * (end - start) < segment.end - segment.start:
                dark = sum(to_rgb(colour)) < 1.4
                middle = (segment.start + segment.end) / 2
                text = {"ha": "center", "va": "center", "fontsize": 9, "color": "white" if dark else "black"}
                band.text(middle, 0.5, segment.headline, clip_on=True, **text)
        band.set(ylim=(0, 1), yticks=[], xlim=(start, end))
        band.spines["left"].set_visible(False)
        band.set_ylabel("answer", color=GREY)
        _probabilities(table, moments, shares[:, rows], [shorten(names[row], 28) for row in rows])
        bar = figure.colorbar(table.collections[0], ax=table, pad=0.01, aspect=12)
        bar.set_label("probability")
        _legend(figure, legend_entries(segments, colours))
        return png(figure)


def answer_colours(segments: Sequence[Segment]) -> dict[str, str]:
    """Answer -> its colour, in order of time, without unsure ones.

    If there are more answers than colours, those that last longest have one.
    """
    seconds: dict[str, float] = defaultdict(float)
    for segment in segments:
        if not segment.none_of_these:
            seconds[segment.answer] += segment.end - segment.start
    longest = sorted(seconds, key=lambda answer: -seconds[answer])[: len(COLOURS)]
    return dict(zip((answer for answer in seconds if answer in longest), COLOURS, strict=False))


def legend_entries(segments: Sequence[Segment], colours: Mapping[str, str]) -> list[tuple[str, str]]:
    """Colours and what they stand for: the answers in `colours`, "+ n more" for all others, and "not sure" if a segment is."""
    more = len({segment.answer for segment in segments if not segment.none_of_these} - colours.keys())
    entries = [(colour, shorten(answer, 28)) for answer, colour in colours.items()]
    entries += [(REST_COLOUR, f"+ {more} more")] if more else []
    return entries + ([(NONE_COLOUR, "not sure")] if any(segment.none_of_these for segment in segments) else [])


def _legend(figure: Figure, entries: Sequence[tuple[str, str]]) -> None:
    """Draw a legend at the foot of the figure, which grows by its height; as many columns as fit, read row by row."""
    handles = [Patch(color=colour, label=label) for colour, label in entries]
    for rows in range(1, len(handles) + 1):
        columns = math.ceil(len(handles) / rows)
        ordered = [handle for column in range(columns) for handle in handles[column::columns]]  # matplotlib fills columns first
        spacing = {"handlelength": 1.2, "columnspacing": 1.5}
        legend = figure.legend(handles=ordered, loc="outside lower center", ncols=columns, frameon=False, fontsize=9, **spacing)
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            figure.set_figheight(figure.get_figheight() + _LEGEND_ROW * math.ceil(len(handles) / columns))
            return
        legend.remove()


def _probabilities(
    axes: Axes, moments: Sequence[Moment], shares: "np.ndarray[tuple[int, int], np.dtype[np.float64]]", names: list[str]
) -> None:
    """Draw a row per class and a column per window; windows meet halfway between their centres, as the segments do."""
    middles = np.array([(one.start + one.end) / 2 for one in moments])
    edges = np.concatenate([[moments[0].start], (middles[1:] + middles[:-1]) / 2, [moments[-1].end]])
    axes.pcolormesh(edges, np.arange(len(names) + 1), shares.T, cmap="Blues", vmin=0, vmax=1)
    axes.set_yticks(np.arange(len(names)) + 0.5, names)
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: clock(max(0.0, value))))
    axes.set_xlabel("time")
