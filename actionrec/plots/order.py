"""What each model loses when the order of its frames is taken away."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from actionrec.core.text import shorten
from actionrec.evaluation.analyses import Order
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.significance_tests import SIGNIFICANCE
from actionrec.plots.canvas import COLOURS, GREY, drawing, png
from actionrec.plots.intervals import SMALL, percent_limits, percents_across, point_left

# Change -> name in the legend, marker, and how far below the middle of its model's row it is drawn, in rows.
_CHANGES = {
    "shuffled": ("frames shuffled", "o", -0.22),
    "reversed": ("frames reversed", "D", 0.0),
    "one_frame": ("the middle frame repeated", "s", 0.22),
}
_SIZES = {"o": 9, "D": 7.5, "s": 8}  # points; they look alike in size
_ROW = 0.7  # inches
_HALF = 0.33  # of the bar for the frames as they are, in rows
_INK = "#222222"


def order_of_frames(orders: Sequence[Order], majority_accuracy: float, context: EvaluationContext) -> bytes:
    """Draw a row a model, in the given order: a bar at its top-1, and a dot for each change to the order of frames.

    Each change has a height of its own in the row, so that equal accuracies do not hide one another. A model that
    shuffling changes by more than chance has a bold name and a star.

    Args:
        orders: at least one.
        majority_accuracy: the share of the most frequent class among the test clips.
        context: named in the title.
    """
    spans = [_percents(order) for order in orders]
    low, high = percent_limits(spans)
    with drawing():
        layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.06)
        figure = Figure(figsize=(12, 2.2 + _ROW * (len(orders) + 0.5)), layout=layout)
        figure.suptitle(f"What the order of frames gives\n{shorten(context.phrase, 130)}")
        axes = figure.subplots()
        axes.set_ylim(len(orders) - 0.5, -0.9)
        axes.set_yticks([])
        percents_across(axes, low, high, 100 * majority_accuracy)
        for place, (order, span) in enumerate(zip(orders, spans, strict=True)):
            if place:
                axes.axhline(place - 0.5, color="#DDDDDD", linewidth=0.8)
            if span[1] < low:
                point_left(axes, place, COLOURS[order.model], 100 * order.top1)
            else:
                _draw(axes, place, order)
        _numbers(axes, orders)
        figure.legend(handles=_legend(orders), loc="outside lower center", ncols=5, frameon=False)
        return png(figure)


def _percents(order: Order) -> tuple[float, float]:
    """The lowest and the highest top-1 of a model."""
    tops = [order.top1, *(order.changed[change] for change in _CHANGES)]
    return 100 * min(tops), 100 * max(tops)


def _draw(axes: Axes, place: int, order: Order) -> None:
    colour, plain = COLOURS[order.model], 100 * order.top1
    axes.plot((plain, plain), (place - _HALF, place + _HALF), color=colour, linewidth=3, solid_capstyle="butt")
    for change, (_, marker, below) in _CHANGES.items():
        percent = 100 * order.changed[change]
        axes.plot((percent, plain), (place + below, place + below), color=colour, linewidth=1.4, alpha=0.6)
        # The white edge sets a dot off from its own model's bar.
        axes.plot(
            percent,
            place + below,
            marker=marker,
            markersize=_SIZES[marker],
            color=colour,
            markeredgecolor="white",
            linestyle="none",
        )


def _numbers(axes: Axes, orders: Sequence[Order]) -> None:
    """Write names on the left and, on the right, where nothing can run into it, what shuffling costs."""

    def write(side: int, place: float, offset: int, text: str, align: str, **look: Any) -> None:
        axes.annotate(
            text,
            (side, place),
            xycoords=("axes fraction", "data"),
            xytext=(offset, 0),
            textcoords="offset points",
            ha=align,
            va="center",
            annotation_clip=False,
            **{"color": _INK, **look},
        )

    plain, cost = 46, 102  # points from the axis: where the columns' numbers end
    heading = {"color": GREY, "fontsize": SMALL}
    write(1, -0.66, plain, "as they\nare", "right", **heading)
    write(1, -0.66, cost - 26, "shuffling costs,\npoints (95 % interval)", "left", **heading)
    for place, order in enumerate(orders):
        loss = order.shuffling
        low, high = _signed(loss.interval.low), _signed(loss.interval.high)
        look = {"weight": "bold" if loss.is_real else "normal"}
        write(0, place, -8, order.model, "right", **look)
        write(1, place, plain, f"{100 * order.top1:.1f}", "right")
        write(1, place, cost, _signed(loss.points), "right", **look)
        write(1, place, cost + 6, f"({low} to {high}){'  ★' if loss.is_real else ''}", "left", **look)


def _signed(share: float) -> str:
    """Points with one decimal and a true minus sign; none before 0.0."""
    return f"{100 * share:z.1f}".replace("-", "−")


def _legend(orders: Sequence[Order]) -> list[Line2D]:
    handles = [
        Line2D([], [], color=GREY, marker="|", markersize=15, markeredgewidth=3, linestyle="none", label="frames as they are"),
        *(
            Line2D(
                [], [], color=GREY, marker=marker, markersize=_SIZES[marker], markeredgecolor="white", linestyle="none", label=name
            )
            for name, marker, _ in _CHANGES.values()
        ),
    ]
    if any(order.shuffling.is_real for order in orders):
        label = f"more than chance (p < {SIGNIFICANCE:g})"
        handles.append(Line2D([], [], color=_INK, marker="*", markersize=9, linestyle="none", label=label))
    return handles
