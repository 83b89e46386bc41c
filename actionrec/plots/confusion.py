"""Confusion matrix of one model."""

import textwrap

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from actionrec.core.text import shorten
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.leaderboard import LeaderboardRow
from actionrec.plots.canvas import drawing, png
from actionrec.plots.confusion_overview import confusion_overview

MOST_CLASSES = 60
"""Of a matrix with names: with more, they are too small to read on a page, which shows the picture about 1,100 pixels wide."""
MOST_CLASSES_WITH_COUNTS = 15
LONGEST_NAME = 26


def confusion_matrix(result: LeaderboardRow, counts: NDArray[np.int64], context: EvaluationContext) -> bytes:
    """Draw counts (K, K) as shares of their row: true classes in rows, predicted classes in columns.

    A class without test clips has a grey row. Up to MOST_CLASSES_WITH_COUNTS classes, the counts are written in the cells. Above
    MOST_CLASSES, `confusion_overview` replaces the matrix.
    """
    classes = len(counts)
    if classes > MOST_CLASSES:
        return confusion_overview(result, counts, context)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.where(totals > 0, counts / np.maximum(totals, 1), np.nan)
    few = classes <= MOST_CLASSES_WITH_COUNTS
    # Inches per class: room for the count in the cell, or with many classes for one line of small print.
    side = max(classes * float(np.clip(7 / classes, 0.16, 0.9)), 3.2)
    font = 10 if few else 8
    labels = [shorten(name, LONGEST_NAME) for name in context.class_names]

    with drawing():
        # The figure is the matrix alone; names, title and colour bar lie outside, and `tight` includes them when saving.
        figure = Figure(figsize=(side, side))
        axes = figure.add_axes((0, 0, 1, 1))
        # Square-root scale, so that a single error in thirty clips is visible.
        norm = PowerNorm(0.5, vmin=0, vmax=1)
        image = axes.imshow(shares, cmap=colormaps["Blues"].with_extremes(bad="#BBBBBB"), norm=norm)
        axes.set_xticks(range(classes), labels, rotation=90, fontsize=font)
        axes.set_yticks(range(classes), labels, fontsize=font)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        axes.set_xticks(np.arange(classes - 1) + 0.5, minor=True)
        axes.set_yticks(np.arange(classes - 1) + 0.5, minor=True)
        axes.grid(which="minor", color="#DDDDDD", linewidth=1 if few else 0.4)
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_color("#BBBBBB")
        axes.spines[:].set_visible(True)
        if few:
            for (row, column), count in np.ndenumerate(counts):
                if count:
                    colour = "white" if norm(shares[row, column]) > 0.6 else "black"
                    axes.text(column, row, str(count), ha="center", va="center", color=colour)
        bar = figure.colorbar(image, cax=figure.add_axes((1 + 0.2 / side, 0.15, 0.16 / side, 0.7)))
        bar.set_label("share of the true class's clips" + ("\ngrey: no test clips" if (totals == 0).any() else ""))
        top1, low, high = (100 * value for value in (result.top1, result.interval.low, result.interval.high))
        title = f"{result.name}: top-1 {top1:.1f} % (95 % interval {low:.1f}–{high:.1f})"
        axes.set_title("\n".join([title, *textwrap.wrap(context.phrase, max(55, int(11 * side)))]), pad=10)
        return png(figure, tight=True)
