"""Accuracy against cost: top-1 over operations and time with the backbone, and over operations of the sequence model alone."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from math import floor, log10
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from actionrec.core.text import shorten
from actionrec.evaluation.analyses import ModelCost
from actionrec.evaluation.clip_cost import SAME_COST
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.intervals import Interval
from actionrec.plots.canvas import COLOURS, GREY, drawing, png
from actionrec.plots.rows import percent_limits, percent_ticks

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "h")  # one per model, in order of rank
_LOWER_EDGE = 7  # matplotlib's triangle that points down and stands on its place
_PERCENT = f"{100 * SAME_COST:.0f}"
_TOTAL = "operations with the backbone, GFLOPs"
_LEAST_SPAN = 2.6  # highest over lowest value on an axis, so that it has at least one of the ticks 1, 2, 5, 10, ...


def accuracy_against_cost(costs: Sequence[ModelCost], intervals: Mapping[str, Interval], context: EvaluationContext) -> bytes:
    """Draw up to three panels with logarithmic cost axes; costs are for one clip.

    A panel whose costs are nearly equal would show nothing, so a line in the title replaces it. A model far below the others would
    compress them, so a triangle on the lower edge stands for it.

    Args:
        costs: at least one, in order of rank; operations and latency above 0.
        intervals: model -> interval of its top-1.
        context: named in the title.
    """
    spans = [(100 * intervals[cost.model].low, 100 * intervals[cost.model].high) for cost in costs]
    low, high = percent_limits(spans)
    margin = 0.06 * (high - low)
    every_axis = {
        _TOTAL: [cost.total_flops / 1e9 for cost in costs],
        "time from file to answer, ms": [cost.total_ms for cost in costs],
        "operations of the sequence model alone, MFLOPs": [cost.flops / 1e6 for cost in costs],
    }
    left_out = {title: values for title, values in list(every_axis.items())[:-1] if _nearly_equal(values)}
    axis_of = {title: values for title, values in every_axis.items() if title not in left_out}
    with drawing():
        figure = Figure(figsize=(8 + 2.4 * len(axis_of), 5.2), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
        figure.suptitle("\n".join(["Accuracy against cost of a clip", shorten(context.phrase, 130), *_note(left_out)]))
        panels = list(figure.subplots(1, len(axis_of), sharey=True, squeeze=False)[0])
        panels[0].set(ylabel="top-1 accuracy, %", ylim=(low - margin, high + margin))
        panels[0].set_yticks(percent_ticks(low - margin, high + margin))
        handles = []
        for place, (cost, span, marker) in enumerate(zip(costs, spans, cycle(_MARKERS), strict=False)):
            below = span[1] < low
            label = f"{cost.model}\n({100 * cost.top1:.1f} %, below the axis)" if below else cost.model
            look: dict[str, Any] = {"color": COLOURS[cost.model], "marker": _LOWER_EDGE if below else marker, "markersize": 9}
            for axes, values in zip(panels, axis_of.values(), strict=True):
                if not below:
                    ends = [100 * intervals[cost.model].low, 100 * intervals[cost.model].high]
                    axes.plot((values[place],) * 2, ends, color=COLOURS[cost.model], linewidth=4, alpha=0.3, solid_capstyle="butt")
                axes.plot(values[place], low - margin if below else 100 * cost.top1, linestyle="none", **look)
            handles.append(Line2D([], [], linestyle="none", label=label, **look))
        if _TOTAL in axis_of:
            _draw_front(panels[0], [cost for cost in costs if cost.on_front])
        for axes, (title, values) in zip(panels, axis_of.items(), strict=True):
            axes.set_xlabel(title)
            _set_cost_axis(axes, values)
        figure.legend(
            handles=[*handles, *_explanations(context, has_front=_TOTAL in axis_of)], loc="outside right center", frameon=False
        )
        return png(figure)


def _note(left_out: Mapping[str, Sequence[float]]) -> list[str]:
    """The line that replaces panels without differences."""
    if not left_out:
        return []
    means = [f"{title}: {sum(values) / len(values):,.0f}" for title, values in left_out.items()]
    return [f"All models cost the same within {_PERCENT} % ({'; '.join(means)})"]


def _draw_front(axes: Axes, front: Sequence[ModelCost]) -> None:
    """Draw the best accuracy that a number of operations gives, as steps."""
    ordered = sorted(front, key=lambda cost: (cost.total_flops, cost.top1))
    operations, percents = [cost.total_flops / 1e9 for cost in ordered], [100 * cost.top1 for cost in ordered]
    axes.step(operations, percents, where="post", color=GREY, linewidth=1.2, linestyle="--", zorder=1)


def _set_cost_axis(axes: Axes, values: Sequence[float]) -> None:
    """Make the axis logarithmic, with plain numbers at 1, 2 and 5, or at powers of ten where the values span many of them."""
    low, high = min(values), max(values)
    widen = max(1.25, (_LEAST_SPAN * low / high) ** 0.5, (high / low) ** 0.06)
    start, end = low / widen, high * widen
    powers = [10.0**power for power in range(floor(log10(start)), floor(log10(end)) + 1)]
    candidates = [factor * power for power in powers for factor in ((1, 2, 5) if high < 200 * low else (1,))]
    ticks = [tick for tick in candidates if start <= tick <= end]
    axes.set_xscale("log")
    axes.set_xlim(start, end)
    axes.set_xticks(ticks, [f"{tick:,.10g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.set_title("↖ better", loc="left", color=GREY)


def _nearly_equal(values: Sequence[float]) -> bool:
    """Whether the values of several models differ by less than counts as a difference."""
    return len(values) > 1 and min(values) > (1 - SAME_COST) * max(values)


def _explanations(context: EvaluationContext, *, has_front: bool) -> list[Line2D | Patch]:
    several = f"\nof the mean of {context.seeds} seeds" if context.seeds > 1 else ""
    front = f"Pareto front: no model\nis as accurate and at\nleast {_PERCENT} % cheaper"
    return [
        Patch(facecolor="none", label=" "),
        Line2D([], [], color=GREY, linewidth=4, alpha=0.4, label=f"95 % interval{several}"),
        *([Line2D([], [], color=GREY, linewidth=1.2, linestyle="--", label=front)] if has_front else []),
    ]
