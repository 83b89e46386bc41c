"""Learning curve: top-1 against the number of training sources, with intervals."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from actionrec.core.text import shorten
from actionrec.experiments.learning_curve import Curve
from actionrec.plots.canvas import COLOURS, GREY, drawing, png
from actionrec.plots.rows import INK, SMALL, percent_limits, percent_ticks


def learning_curve(curve: Curve, phrase: str) -> bytes:
    """Draw the curve; `phrase` is the protocol in one line."""
    colour = COLOURS.get(curve.model, GREY)
    sources = [point.sources for point in curve.points]
    top1 = [100 * point.top1 for point in curve.points]
    ends = [(100 * point.interval.low, 100 * point.interval.high) for point in curve.points]
    majority = 100 * curve.majority_accuracy
    with drawing():
        figure = Figure(figsize=(8, 5), layout="constrained")
        figure.suptitle(f"Learning curve of {curve.model}")
        axes = figure.subplots()
        axes.set_title(shorten(phrase, 110), fontsize=9)
        low, high = percent_limits([*ends, (majority, majority)])
        axes.set_ylim(low - 0.03 * (high - low), high + 0.06 * (high - low))
        axes.set_yticks(percent_ticks(low, high))
        axes.set_ylabel("top-1 on the test clips, %, with 95 % intervals")
        axes.set_xlim(0, 1.1 * sources[-1])
        axes.set_xticks(sources, [f"{point.sources:,} ({point.part})\n{point.clips:,} clips" for point in curve.points])
        axes.set_xlabel("training sources (videos or persons)")
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
        axes.axhline(majority, color=GREY, linestyle=":", linewidth=1.2)
        _write(axes, f"always the most frequent class: {majority:.1f}", (0, majority), 4, color=GREY, fontsize=SMALL)
        off = [[value - low for value, (low, _) in zip(top1, ends, strict=True)]]
        off += [[high - value for value, (_, high) in zip(top1, ends, strict=True)]]
        axes.errorbar(sources, top1, yerr=off, color=colour, linewidth=2, marker="o", markersize=8, capsize=5, elinewidth=1.4)
        for point, value, following in zip(curve.points, top1, [*top1[1:], 0.0], strict=True):
            if len(curve.seeds) > 1:
                seeds = [100 * share for share in point.by_seed]
                axes.plot([point.sources] * len(seeds), seeds, color=INK, marker="_", markersize=12, linestyle="none")
            _write(axes, f"{value:.1f}", (point.sources, value), 9, -15 if following > value else 5, color=INK)
        if len(curve.seeds) > 1:
            figure.legend(handles=_legend(colour, len(curve.seeds)), loc="outside lower center", ncols=2, frameon=False)
        return png(figure)


def _write(axes: Axes, text: str, place: tuple[float, float], right: float, up: float = 5, **look: Any) -> None:
    """Write text on a white ground, `right` and `up` points from a place."""
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85}
    axes.annotate(text, place, xytext=(right, up), textcoords="offset points", bbox=ground, **look)


def _legend(colour: str, seeds: int) -> list[Line2D]:
    return [
        Line2D([], [], color=colour, linewidth=2, marker="o", markersize=8, label=f"mean of {seeds} seeds"),
        Line2D([], [], color=INK, marker="_", markersize=12, linestyle="none", label="one seed"),
    ]
