"""A long video's answers over time: the runs as a band, and the classes' probabilities below it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from actionrec.core.text import shorten
from actionrec.inference.timeline import Moment, Segment, clock
from actionrec.plots.canvas import GREY, drawing, png

# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/), which people with any colour vision can tell apart, with a darker
# yellow, for white paper; then half as strong. The web page has the same, and draws the same answers in them.
COLOURS = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c7a00",
    "#80b9d9", "#f3cf80", "#80cfb9", "#e6bcd3", "#eaaf80", "#abdaf4", "#c6bd80",
)  # fmt: skip
NONE_COLOUR = "#9aa0a6"

_CLASSES = 8  # that have a row of their own, the most probable ones
_LABEL_WIDTH = 0.011  # of the picture, a character's; runs that are narrower than their name go without it


def timeline(found: Sequence[Moment], runs: Sequence[Segment], title: str) -> bytes:
    """Draw a timeline as a PNG.

    Args:
        found: the windows' answers.
        runs: what they were merged to.
        title: such as the film's name.
    """
    shares = np.array([one.prediction.probabilities for one in found])  # (windows, K)
    names = found[0].prediction.class_names
    rows = np.argsort(-shares.max(axis=0), kind="stable")[:_CLASSES]
    answers = list(dict.fromkeys(run.answer for run in runs if not run.none_of_these))
    colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(answers)}
    start, end = runs[0].start, runs[-1].end
    with drawing():
        figure = Figure(figsize=(11, 1.9 + 0.32 * len(rows)), layout="constrained")
        figure.suptitle(shorten(title, 90), fontsize=13)
        band, table = figure.subplots(2, 1, sharex=True, height_ratios=[1, max(2, 0.55 * len(rows))])
        for run in runs:
            colour = NONE_COLOUR if run.none_of_these else colours[run.answer]
            band.axvspan(run.start, run.end, color=colour, linewidth=0)
            if len(run.headline) * _LABEL_WIDTH * (end - start) < run.end - run.start:
                dark = sum(to_rgb(colour)) < 1.4
                middle = (run.start + run.end) / 2
                text = {"ha": "center", "va": "center", "fontsize": 9, "color": "white" if dark else "black"}
                band.text(middle, 0.5, run.headline, clip_on=True, **text)
        band.set(ylim=(0, 1), yticks=[], xlim=(start, end))
        band.spines["left"].set_visible(False)
        band.set_ylabel("answer", color=GREY)
        _probabilities(table, found, shares[:, rows], [shorten(names[row], 28) for row in rows])
        bar = figure.colorbar(table.collections[0], ax=table, pad=0.01, aspect=12)
        bar.set_label("probability")
        return png(figure)


def _probabilities(
    axes: Axes, found: Sequence[Moment], shares: "np.ndarray[tuple[int, int], np.dtype[np.float64]]", names: list[str]
) -> None:
    """A row a class, a column a window: up to half-way to its neighbours' middles, as the runs are."""
    middles = np.array([(one.start + one.end) / 2 for one in found])
    edges = np.concatenate([[found[0].start], (middles[1:] + middles[:-1]) / 2, [found[-1].end]])
    axes.pcolormesh(edges, np.arange(len(names) + 1), shares.T, cmap="Blues", vmin=0, vmax=1)
    axes.set_yticks(np.arange(len(names)) + 0.5, names)
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: clock(max(0.0, value))))
    axes.set_xlabel("time")
