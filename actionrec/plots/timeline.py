"""Predictions for a long video over time: a band of answers, and below it the probability of each class."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
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

_CLASSES = 8  # rows of the table: the most probable classes
_LABEL_WIDTH = 0.011  # of a character, as a fraction of the picture; segments narrower than their name have no label


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
    answers = list(dict.fromkeys(segment.answer for segment in segments if not segment.none_of_these))
    colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(answers)}
    start, end = segments[0].start, segments[-1].end
    with drawing():
        figure = Figure(figsize=(11, 1.9 + 0.32 * len(rows)), layout="constrained")
        figure.suptitle(shorten(title, 90), fontsize=13)
        band, table = figure.subplots(2, 1, sharex=True, height_ratios=[1, max(2, 0.55 * len(rows))])
        for segment in segments:
            colour = NONE_COLOUR if segment.none_of_these else colours[segment.answer]
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
        return png(figure)


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
