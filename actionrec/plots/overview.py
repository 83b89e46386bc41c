"""All models side by side: top-1, top-5, training time, parameters."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from actionrec.core.text import shorten
from actionrec.evaluation.comparison import Comparison
from actionrec.evaluation.context import EvaluationContext
from actionrec.plots.canvas import COLOURS, GREY, drawing, png


def model_comparison(comparison: Comparison, context: EvaluationContext, train_seconds: Mapping[str, float]) -> bytes:
    """Draw four panels with a row a model, the first in rank on top.

    Args:
        comparison: the models' rows.
        context: named in the title.
        train_seconds: model -> seconds of training.
    """
    leaderboard = comparison.leaderboard
    names = [row.name for row in leaderboard]
    with drawing():
        figure = Figure(figsize=(12, 1.8 + 0.78 * len(names)), layout="constrained")
        figure.suptitle(f"Models compared\n{shorten(context.phrase, 130)}")
        panels = figure.subplots(2, 2, sharey=True)

        top1 = [100 * one.top1 for one in leaderboard]
        ends = [(100 * one.interval.low, 100 * one.interval.high) for one in leaderboard]
        written = [f"{value:.1f}  ({low:.1f}–{high:.1f})" for value, (low, high) in zip(top1, ends, strict=True)]
        _dots(panels[0, 0], names, top1, ends, written)
        panels[0, 0].set_title("Top-1 accuracy, % (95 % interval)", loc="left")
        _mark_majority(panels[0, 0], 100 * comparison.majority_accuracy)

        top5 = [100 * one.top5 for one in leaderboard]
        _dots(panels[0, 1], names, top5, [(value, value) for value in top5], [f"{value:.1f}" for value in top5])
        few = " (of few classes: says nothing)" if context.top5_is_trivial else ""
        panels[0, 1].set_title(f"Top-5 accuracy, %{few}", loc="left")

        seconds = [train_seconds[name] for name in names]
        decimals = 0 if max(seconds) >= 100 else 1
        _bars(panels[1, 0], names, seconds, [f"{value:.{decimals}f}" for value in seconds])
        panels[1, 0].set_title("Training time, seconds", loc="left")
        millions = [one.parameters / 1e6 for one in leaderboard]
        _bars(panels[1, 1], names, millions, [f"{value:.2f}" for value in millions])
        panels[1, 1].set_title("Parameters, millions", loc="left")

        panels[0, 0].set_yticks(range(len(names)), [f"{one.rank}. {one.name}" for one in leaderboard])
        panels[0, 0].set_ylim(len(names) - 0.5, -0.8)
        for axes in panels.flat:
            axes.tick_params(axis="y", length=0)
        return png(figure)


def _dots(
    axes: Axes, names: Sequence[str], percents: Sequence[float], ends: Sequence[tuple[float, float]], written: Sequence[str]
) -> None:
    for place, name in enumerate(names):
        axes.plot(ends[place], (place, place), color=COLOURS[name], linewidth=7, alpha=0.4, solid_capstyle="butt")
        axes.plot(percents[place], place, marker="o", markersize=6, color=COLOURS[name], linestyle="none")
    axes.grid(axis="x", alpha=0.3)
    # Not from zero: a dot's place counts, not a length. Ten points at least, so that a tie looks like one.
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    _percent_axis(axes, min(low, high - 10), max(high, low + 10))
    _write(axes, written)


def _percent_axis(axes: Axes, low: float, high: float) -> None:
    """Show what lies between two percentages and a little more, with ticks from 0 to 100 only."""
    low, high = max(low, 0), min(high, 100)
    margin = 0.03 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    axes.set_xticks([tick for tick in MaxNLocator(6).tick_values(low, high) if low - margin <= tick <= min(high + margin, 100)])


def _mark_majority(axes: Axes, majority_accuracy: float) -> None:
    """Draw the line that a model must pass to have learned anything, unless it is so far off that it would press them together."""
    low, high = axes.get_xlim()
    if majority_accuracy < low - 15:
        return
    axes.axvline(majority_accuracy, color=GREY, linestyle=":", linewidth=1.2)
    _percent_axis(axes, min(low, majority_accuracy), max(high, majority_accuracy))
    left = majority_accuracy < sum(axes.get_xlim()) / 2
    axes.annotate(
        "always the most frequent class",
        (majority_accuracy, 1),
        xycoords=("data", "axes fraction"),
        xytext=(3 if left else -3, -2),
        textcoords="offset points",
        color=GREY,
        fontsize=8,
        ha="left" if left else "right",
        va="top",
    )


def _bars(axes: Axes, names: Sequence[str], values: Sequence[float], written: Sequence[str]) -> None:
    axes.barh(range(len(names)), values, height=0.62, color=[COLOURS[name] for name in names])
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    _write(axes, written)


def _write(axes: Axes, written: Sequence[str]) -> None:
    """Write the numbers in a column on the right, where nothing can run into them."""
    for place, value in enumerate(written):
        axes.annotate(
            value,
            (1, place),
            xycoords=("axes fraction", "data"),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            annotation_clip=False,
        )
