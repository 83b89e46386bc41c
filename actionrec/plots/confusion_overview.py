"""Confusions of a model with many classes: an overview of the matrix, and the most frequent confusions by name."""

from collections.abc import Mapping, Sequence
from functools import partial
from math import ceil

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from actionrec.core.text import percent, shorten
from actionrec.evaluation.class_confusions import clustered_order, confused_pairs
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.leaderboard import LeaderboardRow
from actionrec.plots.canvas import DPI, GREY, drawing, fit, png, write_fitted

MOST_PAIRS = 20
LONGEST_NAME = 26
LEAST_PIXELS = 3  # side of a cell: it shows on a page that is half as wide as the picture, too

# Inches.
_WIDTH, _HEIGHT = 14.6, 8.3
_MATRIX = 6.7
_LEFT, _BOTTOM = 2.4, 0.6
_BARS_LEFT, _BARS_WIDTH = 10.3, 4.0
_LABEL_GAP = 0.3  # between the matrix and the names beside it
_LINE = 0.17  # of small print

_WRONG = "#D55E00"
_INK = "#222222"


def confusion_overview(result: LeaderboardRow, counts: NDArray[np.int64], context: EvaluationContext) -> bytes:
    """Draw counts (K, K): left, the matrix with classes that are confused side by side; right, the most frequent confusions.

    The matrix shows shares of the true classes' clips. If a class would be narrower than LEAST_PIXELS, neighbouring classes share a
    cell. The true classes of the listed confusions are named beside their rows.
    """
    with drawing():
        figure = Figure(figsize=(_WIDTH, _HEIGHT))
        top1, low, high = (100 * value for value in (result.top1, result.interval.low, result.interval.high))
        title = f"{result.name}: top-1 {top1:.1f} % (95 % interval {low:.1f}–{high:.1f})"
        figure.text(
            0.5, 1 - 0.15 / _HEIGHT, f"{title}\n{shorten(context.phrase, 130)}", ha="center", va="top", fontsize=12, linespacing=1.4
        )
        pairs = confused_pairs(counts, MOST_PAIRS)
        _overview(figure, counts, {true: fit(context.class_names[true], LONGEST_NAME) for true, _ in pairs})
        _pairs(_inches(figure, _BARS_LEFT, _BOTTOM, _BARS_WIDTH, _MATRIX), counts, pairs, context.class_names)
        return png(figure)


def pooled_shares(counts: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    """Shares (C, C) of the clips of `size` neighbouring classes that get a label of `size` others; NaN where there are no clips.

    Args:
        counts: (K, K), clips by true class (rows) and predicted class (columns). The last cells have fewer classes if K is not a
            multiple of `size`.
    """
    starts = np.arange(0, len(counts), size)
    pooled = np.add.reduceat(np.add.reduceat(counts, starts, axis=0), starts, axis=1)
    clips = pooled.sum(axis=1, keepdims=True)
    return np.where(clips > 0, pooled / np.maximum(clips, 1), np.nan)


def spread(places: Sequence[float], least: float, end: float) -> list[float]:
    """Move places apart, as little as needed from the first on, but not beyond the end.

    Args:
        places: sorted, from 0 to `end`.
        least: distance of neighbours; they must have room.

    >>> spread([1, 1.5, 9.5, 10], least=2, end=10)
    [1, 3, 8, 10]
    """
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + least) if moved else place)
    latest = end
    for number in reversed(range(len(moved))):
        moved[number] = min(moved[number], latest)
        latest = moved[number] - least
    return moved


def _inches(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    return figure.add_axes((left / _WIDTH, bottom / _HEIGHT, width / _WIDTH, height / _HEIGHT))


def _overview(figure: Figure, counts: NDArray[np.int64], named: Mapping[int, str]) -> None:
    """Draw the matrix; `named` has the classes whose names are written beside it."""
    classes = len(counts)
    order = clustered_order(counts)
    size = ceil(classes * LEAST_PIXELS / (_MATRIX * DPI))
    shares = pooled_shares(counts[np.ix_(order, order)], size)
    axes = _inches(figure, _LEFT, _BOTTOM, _MATRIX, _MATRIX)
    # Square-root scale, so that small shares are visible.
    image = axes.imshow(
        shares, cmap=colormaps["Blues"].with_extremes(bad="#BBBBBB"), norm=PowerNorm(0.5, vmin=0, vmax=1), interpolation="nearest"
    )
    cells = "" if size == 1 else f"; {size} x {size} classes per cell"
    axes.set_title(f"All {classes:,} classes, those that are confused side by side{cells}", loc="left")
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.yaxis.set_label_coords(-(_LEFT - 0.2) / _MATRIX, 0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    _name_rows(axes, {place: named[number] for place, number in enumerate(order.tolist()) if number in named}, classes)
    axes.spines[:].set_color("#BBBBBB")
    axes.spines[:].set_visible(True)
    bar = figure.colorbar(image, cax=_inches(figure, _LEFT + _MATRIX + 0.15, _BOTTOM + 0.15 * _MATRIX, 0.15, 0.7 * _MATRIX))
    true = "true class's" if size == 1 else "true classes'"
    bar.set_label(f"share of the {true} clips" + ("\ngrey: no test clips" if np.isnan(shares).any() else ""))


def _name_rows(axes: Axes, names: Mapping[int, str], classes: int) -> None:
    """Write names left of the matrix, with lines to their rows."""
    heights = [(place + 0.5) / classes for place in names]  # from the top, as fractions of the axes
    half = _LINE / _MATRIX / 2
    moved = spread([height - half for height in heights], 2 * half, 1 - 2 * half)
    for name, height, top in zip(names.values(), heights, moved, strict=True):
        axes.annotate(
            name,
            (0, 1 - height),
            (-_LABEL_GAP / _MATRIX, 1 - top - half),
            xycoords="axes fraction",
            textcoords="axes fraction",
            ha="right",
            va="center",
            fontsize=8,
            color=_INK,
            arrowprops={"arrowstyle": "-", "color": "#BBBBBB", "linewidth": 0.8, "shrinkA": 2, "shrinkB": 0, "relpos": (1, 0.5)},
        )


def _pairs(axes: Axes, counts: NDArray[np.int64], pairs: Sequence[tuple[int, int]], names: Sequence[str]) -> None:
    """Draw a bar for each pair of a true and a predicted class."""
    axes.set_axis_off()
    axes.set(xticks=[], yticks=[])
    if not pairs:
        axes.text(0.5, 0.5, "No test clip is classified wrongly.", transform=axes.transAxes, ha="center", color=GREY)
        return
    axes.set_title("Most frequent confusions: true class → predicted class", loc="left")
    clips = [int(counts[pair]) for pair in pairs]
    totals = counts.sum(axis=1)
    axes.barh(range(len(pairs)), clips, height=0.3, color=_WRONG)
    for place, ((true, predicted), wrong) in enumerate(zip(pairs, clips, strict=True)):
        written = partial(_written, names[true], names[predicted])
        write_fitted(axes, (0, place - 0.22), _BARS_WIDTH, LONGEST_NAME, written, fontsize=9, color=_INK)
        count = f"{wrong:,} of {totals[true]:,}, {percent(wrong / totals[true])} %"
        axes.annotate(count, (wrong, place), (4, 0), textcoords="offset points", va="center", fontsize=8, color=GREY)
    axes.set_xlim(0, 1.45 * clips[0])
    axes.set_ylim(MOST_PAIRS - 0.5, -0.75)


def _written(true: str, predicted: str, letters: int) -> str:
    """A confusion, each class in at most so many letters."""
    return f"{fit(true, letters)} → {fit(predicted, letters)}"
