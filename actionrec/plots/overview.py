"""All models side by side: top-1, top-5, training time, parameters."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from actionrec.core.text import shorten
from actionrec.evaluation.comparison import Comparison
from actionrec.evaluation.context import EvaluationContext
from actionrec.plots.canvas import COLOURS, drawing, png
from actionrec.plots.rows import mark_far_below, percent_limits, set_percent_axis, write_beside


def model_comparison(comparison: Comparison, context: EvaluationContext, train_seconds: Mapping[str, float]) -> bytes:
    """Draw four panels with one row per model, the first in rank on top.

    Args:
        comparison: the ranked models.
        context: named in the title.
        train_seconds: model -> seconds of training.
    """
    leaderboard = comparison.leaderboard
    names = [row.name for row in leaderboard]
    with drawing():
        figure = Figure(figsize=(12, 1.8 + 0.78 * len(names)), layout="constrained")
        figure.suptitle(f"All models\n{shorten(context.phrase, 130)}")
        (top1, top5), (time, size) = figure.subplots(2, 2, sharey=True)
        top1.set_yticks(range(len(names)), [f"{row.rank}. {row.name}" for row in leaderboard])
        top1.set_ylim(len(names) - 0.5, -0.8)

        spans = [(100 * row.interval.low, 100 * row.interval.high) for row in leaderboard]
        _dots(top1, names, [100 * row.top1 for row in leaderboard], spans, 100 * comparison.majority_accuracy)
        _numbers(
            top1, [f"{100 * row.top1:.1f}  ({low:.1f}–{high:.1f})" for row, (low, high) in zip(leaderboard, spans, strict=True)]
        )
        top1.set_title("Top-1 accuracy, % (95 % interval)", loc="left")

        percents = [100 * row.top5 for row in leaderboard]
        _dots(top5, names, percents, [(percent, percent) for percent in percents])
        _numbers(top5, [f"{percent:.1f}" for percent in percents])
        few = " (always 100 with so few classes)" if context.top5_is_trivial else ""
        top5.set_title(f"Top-5 accuracy, %{few}", loc="left")

        seconds = [train_seconds[name] for name in names]
        _bars(time, names, seconds, decimals=0 if max(seconds) >= 100 else 1)
        time.set_title("Training time, seconds", loc="left")
        _bars(size, names, [row.parameters / 1e6 for row in leaderboard], decimals=2)
        size.set_title("Parameters, millions", loc="left")
        for axes in (top1, top5, time, size):
            axes.tick_params(axis="y", length=0)
        return png(figure)


def _dots(
    axes: Axes,
    names: Sequence[str],
    percents: Sequence[float],
    spans: Sequence[tuple[float, float]],
    majority_accuracy: float | None = None,
) -> None:
    low, high = percent_limits(spans)
    set_percent_axis(axes, low, high, majority_accuracy)
    for place, (name, percent, span) in enumerate(zip(names, percents, spans, strict=True)):
        if span[1] < low:
            mark_far_below(axes, place, COLOURS[name], percent)
            continue
        axes.plot(span, (place, place), color=COLOURS[name], linewidth=7, alpha=0.4, solid_capstyle="butt")
        axes.plot(percent, place, marker="o", markersize=6, color=COLOURS[name], linestyle="none")


def _bars(axes: Axes, names: Sequence[str], values: Sequence[float], decimals: int) -> None:
    axes.barh(range(len(names)), values, height=0.62, color=[COLOURS[name] for name in names])
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    _numbers(axes, [f"{value:.{decimals}f}" for value in values])


def _numbers(axes: Axes, texts: Sequence[str]) -> None:
    """Write the numbers in a column on the right."""
    for place, text in enumerate(texts):
        write_beside(axes, 1, place, 7, text)
