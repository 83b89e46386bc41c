"""Top-1 of every model and ensemble with its intervals, and which models are shown to be behind the first."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from actionrec.core.text import shorten
from actionrec.evaluation.analyses import Ensemble
from actionrec.evaluation.comparison import Comparison
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.intervals import Interval
from actionrec.evaluation.leaderboard import LeaderboardRow
from actionrec.plots.canvas import COLOURS, GREY, drawing, png
from actionrec.plots.rows import INK, SMALL, mark_far_below, percent_limits, set_percent_axis, write_beside

_ROW = 0.42  # inches


@dataclass(frozen=True)
class _IntervalRow:
    """What one row shows; accuracies are fractions."""

    label: str
    top1: float
    interval: Interval
    colour: str = GREY
    members: str = ""
    """Of an ensemble."""
    std: float | None = None
    """Over the seeds."""
    wilson: Interval | None = None
    verdict: str = ""
    """Against the first model."""
    is_model: bool = False

    @property
    def percents(self) -> tuple[float, float]:
        return 100 * self.interval.low, 100 * self.interval.high


def accuracy_intervals(comparison: Comparison, ensembles: Sequence[Ensemble], context: EvaluationContext) -> bytes:
    """Draw one row per model, the first in rank on top, and below them ensembles in grey."""
    models = len(comparison.leaderboard)
    groups = [("averages of models", [_ensemble(ensemble, models) for ensemble in ensembles])]
    placed = [(float(place), _model(row, comparison)) for place, row in enumerate(comparison.leaderboard)]
    headings: list[tuple[float, str]] = []
    bottom = models - 0.5
    for heading, rows in groups:
        if rows:
            headings.append((bottom, heading))
            placed += [(bottom + 0.95 + place, row) for place, row in enumerate(rows)]
            bottom += 0.55 + len(rows)

    with drawing():
        figure = Figure(figsize=(12, 2.3 + _ROW * (bottom + 1.3)), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.06))
        figure.suptitle(f"Top-1 accuracy with 95 % intervals\n{shorten(context.phrase, 130)}")
        axes = figure.subplots()
        axes.set_ylim(bottom, -1.1)
        axes.set_yticks([])
        axes.set_xlabel("top-1 accuracy, %")
        low, high = percent_limits([row.percents for _, row in placed])
        set_percent_axis(axes, low, high, 100 * comparison.majority_accuracy)
        for place, row in placed:
            _draw(axes, place, row, low)
        for place, heading in headings:
            axes.axhline(place, color="#BBBBBB", linewidth=0.8)
            write_beside(axes, 0, place + 0.32, -7, heading, style="italic", color=GREY, fontsize=SMALL)
        _numbers(axes, placed, context)
        figure.legend(handles=_legend(placed, context), loc="outside lower center", ncols=3, frameon=False)
        return png(figure)


def _model(row: LeaderboardRow, comparison: Comparison) -> _IntervalRow:
    test = comparison.against_first(row.name)
    return _IntervalRow(
        f"{row.rank}. {row.name}",
        row.top1,
        row.interval,
        COLOURS[row.name],
        std=row.std,
        wilson=row.wilson,
        verdict="" if test is None else "less accurate" if test.apart else "not shown to differ",
        is_model=True,
    )


def _ensemble(ensemble: Ensemble, models: int) -> _IntervalRow:
    of_all = ensemble.name == "all" and len(ensemble.members) == models
    label, members = (f"all {models}", "") if of_all else (ensemble.name, " + ".join(ensemble.members))
    return _IntervalRow(shorten(label, 40), ensemble.top1, ensemble.interval, members=shorten(members, 60))


def _draw(axes: Axes, place: float, row: _IntervalRow, low: float) -> None:
    if row.percents[1] < low:
        mark_far_below(axes, place, row.colour, 100 * row.top1)
    else:
        axes.plot(row.percents, (place, place), color=row.colour, linewidth=9, alpha=0.35, solid_capstyle="butt")
        if row.wilson:
            narrow = (100 * row.wilson.low, 100 * row.wilson.high)
            axes.plot(narrow, (place, place), color=row.colour, linewidth=1.4, marker="|", markersize=7, markeredgewidth=1.4)
        face = row.colour if row.is_model else "white"
        axes.plot(100 * row.top1, place, marker="o", markersize=7, color=row.colour, markerfacecolor=face, markeredgewidth=1.4)
    write_beside(axes, 0, place - (0.17 if row.members else 0), -7, row.label, color=INK if row.is_model else GREY)
    write_beside(axes, 0, place + 0.24, -7, row.members, color=GREY, fontsize=SMALL)


def _numbers(axes: Axes, placed: Sequence[tuple[float, _IntervalRow]], context: EvaluationContext) -> None:
    """Write columns of numbers on the right: top-1, deviation over the seeds, interval, verdict."""
    several = any(row.std is not None for _, row in placed)
    columns = (38, 43, 87, 170) if several else (38, 43, 48, 131)  # points from the axis; the first column ends there

    def write(place: float, texts: tuple[str, str, str, str], **look: str | int) -> None:
        for column, text, align in zip(columns, texts, ("right", "left", "left", "left"), strict=True):
            write_beside(axes, 1, place, column, text, ha=align, **look)

    seeds = f"{context.seeds} seeds" if several else ""
    write(-0.8, ("top-1", seeds, "95 % interval", "against the first"), color=GREY, fontsize=SMALL)
    for place, row in placed:
        low, high = row.percents
        deviation = "" if row.std is None else f"± {100 * row.std:.1f}"
        texts = (f"{100 * row.top1:.1f}", deviation, f"({low:.1f}–{high:.1f})", row.verdict)
        write(place, texts, color=INK if row.is_model else GREY)


def _legend(placed: Sequence[tuple[float, _IntervalRow]], context: EvaluationContext) -> list[Line2D]:
    mean = f", mean of {context.seeds} seeds" if any(row.std is not None for _, row in placed) else ""
    return [
        Line2D([], [], color=GREY, marker="o", markersize=7, linestyle="none", label=f"top-1{mean}"),
        Line2D([], [], color=GREY, linewidth=9, alpha=0.35, label="95 % interval, from source videos"),
        Line2D([], [], color=GREY, linewidth=1.4, marker="|", markersize=7, label="95 % interval if clips were independent"),
    ]
