"""Top-1 of every model with its frames in order, shuffled, reversed, and replaced by the middle frame."""

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
from actionrec.plots.rows import INK, SMALL, mark_far_below, percent_limits, set_percent_axis, write_beside

# Change -> name in the legend, marker, and offset below the middle of its model's row, in rows.
_CHANGES = {
    "shuffled": ("frames shuffled", "o", -0.22),
    "reversed": ("frames reversed", "D", 0.0),
    "one_frame": ("middle frame repeated", "s", 0.22),
}
_SIZES = {"o": 9, "D": 7.5, "s": 8}  # points; chosen to look equally large
_ROW = 0.7  # inches
_HALF = 0.33  # half the height of the bar for the frames in order, in rows


def order_of_frames(orders: Sequence[Order], majority_accuracy: float, context: EvaluationContext) -> bytes:
    """Draw one row per model, in the given order: a bar at its top-1, and a dot for each change to the order of frames.

    Each change has its own height in the row, so that equal accuracies do not hide one another. A significant effect of
    shuffling is marked by a bold name and a star.

    Args:
        orders: at least one.
        majority_accuracy: share of the most frequent class among the test clips.
        context: named in the title.
    """
    spans = [_percents(order) for order in orders]
    low, high = percent_limits(spans)
    with drawing():
        layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.06)
        figure = Figure(figsize=(12, 2.2 + _ROW * (len(orders) + 0.5)), layout=layout)
        figure.suptitle(f"Top-1 accuracy with the order of frames changed\n{shorten(context.phrase, 130)}")
        axes = figure.subplots()
        axes.set_ylim(len(orders) - 0.5, -0.9)
        axes.set_yticks([])
        axes.set_xlabel("top-1 accuracy, %")
        set_percent_axis(axes, low, high, 100 * majority_accuracy)
        for place, (order, span) in enumerate(zip(orders, spans, strict=True)):
            if place:
                axes.axhline(place - 0.5, color="#DDDDDD", linewidth=0.8)
            if span[1] < low:
                mark_far_below(axes, place, COLOURS[order.model], 100 * order.top1)
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
    """Write names on the left, and columns of numbers on the right: top-1, and the loss by shuffling with its interval."""
    plain, loss_end = 46, 102  # points from the axis, where the first two columns end
    heading: dict[str, Any] = {"color": GREY, "fontsize": SMALL}
    write_beside(axes, 1, -0.66, plain, "in order", ha="right", **heading)
    write_beside(axes, 1, -0.66, loss_end - 26, "loss by shuffling,\npoints (95 % interval)", **heading)
    for row, order in enumerate(orders):
        loss = order.shuffling
        low, high = _signed(loss.interval.low), _signed(loss.interval.high)
        weight = "bold" if loss.is_real else "normal"
        write_beside(axes, 0, row, -8, order.model, weight=weight)
        write_beside(axes, 1, row, plain, f"{100 * order.top1:.1f}", ha="right")
        write_beside(axes, 1, row, loss_end, _signed(loss.difference), ha="right", weight=weight)
        write_beside(axes, 1, row, loss_end + 6, f"({low} to {high}){'  ★' if loss.is_real else ''}", weight=weight)


def _signed(share: float) -> str:
    """Points with one decimal and a typographic minus sign; zero has none."""
    return f"{100 * share:z.1f}".replace("-", "−")


def _legend(orders: Sequence[Order]) -> list[Line2D]:
    handles = [
        Line2D([], [], color=GREY, marker="|", markersize=15, markeredgewidth=3, linestyle="none", label="frames in order"),
        *(
            Line2D(
                [], [], color=GREY, marker=marker, markersize=_SIZES[marker], markeredgecolor="white", linestyle="none", label=name
            )
            for name, marker, _ in _CHANGES.values()
        ),
    ]
    if any(order.shuffling.is_real for order in orders):
        label = f"significant (p < {SIGNIFICANCE:g})"
        handles.append(Line2D([], [], color=INK, marker="*", markersize=9, linestyle="none", label=label))
    return handles
