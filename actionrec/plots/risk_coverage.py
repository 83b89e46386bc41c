"""Risk over coverage: the share of wrong answers if a model answers only where it is confident."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from actionrec.core.text import shorten
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.risk_coverage import RiskCoverage
from actionrec.plots.canvas import COLOURS, GREY, drawing, png
from actionrec.plots.rows import percent_ticks

_LEAST_HIGHEST = 10  # percent; the axis of risk ends there or above


def risk_coverage_curves(curves: Sequence[RiskCoverage], deploy: str, context: EvaluationContext) -> bytes:
    """Draw one line per model. The line of the model to deploy is thick, and its threshold for unsure answers is marked.

    Args:
        curves: at least one, in order of rank.
        deploy: the model to deploy.
        context: named in the title.
    """
    with drawing():
        figure = Figure(figsize=(12, 5.5), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
        figure.suptitle(f"Wrong answers if a model answers only where it is confident\n{shorten(context.phrase, 130)}", fontsize=12)
        axes = figure.subplots()
        handles = [_draw(axes, one, is_deployed=one.model == deploy) for one in curves]
        chosen = next(one for one in curves if one.model == deploy)
        handles.append(_mark_threshold(axes, chosen))
        highest = max(_LEAST_HIGHEST, *(100 * one.risk.max() for one in curves))
        axes.set(xlim=(0, 101), ylim=(-0.03 * highest, 1.05 * highest))
        axes.set_yticks(percent_ticks(0, 1.05 * highest))
        axes.set(xlabel="coverage: answers given, most confident first, %", ylabel="risk: share of these that are wrong, %")
        axes.set_title("↘ better", loc="right", color=GREY)
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
        figure.legend(handles=handles, loc="outside right center", frameon=False)
        return png(figure)


def _draw(axes: Axes, one: RiskCoverage, *, is_deployed: bool) -> Line2D:
    width, opacity, order = (3.0, 1.0, 3) if is_deployed else (1.3, 0.7, 2)
    label = f"{one.model}, to deploy" if is_deployed else one.model
    [line] = axes.plot(
        100 * one.coverage,
        100 * one.risk,
        color=COLOURS[one.model],
        linewidth=width,
        alpha=opacity,
        zorder=order,
        marker="." if len(one.coverage) < 2 else None,
        label=label,
    )
    return line


def _mark_threshold(axes: Axes, one: RiskCoverage) -> Line2D:
    """Mark the answers that are not unsure; returns the legend's entry."""
    if not one.threshold:
        return Line2D([], [], linestyle="none", label="no threshold: it needs more\ncorrect validation answers")
    point = one.at_threshold
    label = (
        f"threshold {100 * one.threshold:.0f} %: {100 * point.coverage:.0f} % answered,\n{100 * point.risk:.1f} % of these wrong"
    )
    [mark] = axes.plot(
        100 * point.coverage, 100 * point.risk, "o", markersize=11, markerfacecolor="white", markeredgewidth=2.2, label=label
    )
    mark.set(color=COLOURS[one.model], zorder=4)
    return mark
