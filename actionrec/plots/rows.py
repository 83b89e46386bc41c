"""Charts with one row per model: a horizontal accuracy axis, and text beside the rows."""

from collections.abc import Sequence
from math import ceil
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from actionrec.plots.canvas import GREY

SMALL = 8  # points: headings and remarks
INK = "#222222"

# In percentage points. A row or line this far below the others would compress them, so it is only named at the edge.
_FAR_BELOW_LINE = 15
_FAR_BELOW_ROW = 30
_LEAST_POINTS = 10.0  # length of an axis


def percent_limits(spans: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Limits within 0 to 100 that show spans of percentages: at least ten points, so that close accuracies look close.

    The axis does not start at zero, since positions are compared, not lengths. Spans far below the others are left out if they
    are fewer than half.

    >>> percent_limits([(93, 97), (91, 96), (1, 4)])
    (89.0, 99.0)
    """
    ordered = sorted(spans, key=lambda span: span[1], reverse=True)
    half = ceil(len(ordered) / 2)
    low, high = min(span[0] for span in ordered[:half]), max(span[1] for span in ordered)
    for span in ordered[half:]:
        if span[1] >= low - _FAR_BELOW_ROW:
            low = min(low, span[0])
    spare = max(0.0, _LEAST_POINTS - (high - low)) / 2
    outside = min(0.0, low - spare) + max(0.0, high + spare - 100)
    return low - spare - outside, high + spare - outside


def percent_ticks(low: float, high: float) -> list[float]:
    """Round percentages within an axis, none above 100."""
    ticks = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(tick) for tick in ticks if low <= tick <= min(high, 100)]


def set_percent_axis(axes: Axes, low: float, high: float, majority_accuracy: float | None = None) -> None:
    """Set up the horizontal axis, and mark the accuracy of always answering the most frequent class; all in percent."""
    if majority_accuracy is not None and majority_accuracy >= low - _FAR_BELOW_LINE:
        low, high = min(low, majority_accuracy), max(high, majority_accuracy)
    margin = 0.03 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    axes.set_xticks(percent_ticks(low - margin, high + margin))
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    if majority_accuracy is None:
        return
    text = f"always the most frequent class: {majority_accuracy:.1f}"
    if majority_accuracy >= low:
        axes.axvline(majority_accuracy, color=GREY, linestyle=":", linewidth=1.2)
        place, on_the_right = (majority_accuracy - low + margin) / (high - low + 2 * margin), majority_accuracy < (low + high) / 2
    else:
        text, place, on_the_right = f"◂ {text}", 0.0, True
    axes.annotate(
        text,
        (place, 1),
        xycoords="axes fraction",
        xytext=(4 if on_the_right else -4, -2),
        textcoords="offset points",
        color=GREY,
        fontsize=SMALL,
        ha="left" if on_the_right else "right",
        va="top",
    )


def mark_far_below(axes: Axes, row: float, colour: str, percent: float) -> None:
    """Mark a row whose accuracy lies far below the axis: a triangle at the edge, and the number."""
    axes.plot(0.012, row, marker="<", markersize=7, color=colour, transform=axes.get_yaxis_transform(), linestyle="none")
    write_beside(axes, 0.012, row, 9, f"far below, at {percent:.1f}", color=GREY, fontsize=SMALL)


def write_beside(axes: Axes, side: float, row: float, offset: float, text: str, **look: Any) -> None:
    """Write text at the height of a row.

    Args:
        side: fraction of the axes' width: 0 is the left edge, 1 the right.
        row: place on the vertical axis.
        offset: points from the side; text with a negative offset ends there.
        look: matplotlib's text settings.
    """
    axes.annotate(
        text,
        (side, row),
        xycoords=("axes fraction", "data"),
        xytext=(offset, 0),
        textcoords="offset points",
        annotation_clip=False,
        **{"color": INK, "ha": "right" if offset < 0 else "left", "va": "center", **look},
    )
