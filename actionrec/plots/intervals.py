"""How sure each accuracy is, and which models the tests cannot tell apart."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from actionrec.core.text import shorten
from actionrec.evaluation.analyses import Baseline, Ensemble
from actionrec.evaluation.comparison import Comparison, LeaderboardRow
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.intervals import Interval
from actionrec.plots.canvas import COLOURS, GREY, drawing, png

# Points below all that is better: what lies so far off would press the rest together, and is only pointed at.
FAR_OFF_LINE = 15
FAR_OFF_ROW = 30
SMALL = 8  # points, of headings and remarks

_LEAST_POINTS = 10.0  # that an axis shows
_ROW = 0.42  # inches
_INK = "#222222"
_MOST_REMARKED = 6  # pairs


@dataclass(frozen=True)
class _Row:
    """What a row of the picture shows; accuracies are fractions."""

    label: str
    remark: str
    top1: float
    std: float | None
    interval: Interval
    wilson: Interval | None
    colour: str
    is_model: bool

    @property
    def percents(self) -> tuple[float, float]:
        return 100 * self.interval.low, 100 * self.interval.high


def accuracy_intervals(
    comparison: Comparison, baselines: Sequence[Baseline], ensembles: Sequence[Ensemble], context: EvaluationContext
) -> bytes:
    """Draw a row a model, the first in rank on top, and below them ensembles and baselines in grey.

    Vertical lines beside the numbers join models no two of which the tests tell apart, as in a critical-difference diagram. Such
    ties are no chain: the first and the third may be a tie though the second is apart from both. Pairs of this kind, which no
    line can join, are named below the axis.
    """
    names = [row.name for row in comparison.leaderboard]
    groups = [
        ("averages of models", [_ensemble(one, len(names)) for one in ensembles]),
        ("without a sequence model", [_baseline(one) for one in baselines]),
    ]
    placed = [(float(place), _model(row)) for place, row in enumerate(comparison.leaderboard)]
    headings: list[tuple[float, str]] = []
    bottom = len(names) - 0.5
    for heading, rows in groups:
        if rows:
            headings.append((bottom, heading))
            placed += [(bottom + 0.95 + place, row) for place, row in enumerate(rows)]
            bottom += 0.55 + len(rows)
    runs = unbroken_ties(comparison)
    lanes = _lanes(runs)
    width = 12.0
    beside = 0.35 + 0.17 * max(lanes, default=0)  # inches

    with drawing():
        figure = Figure(figsize=(width, 2.3 + _ROW * (bottom + 1.3)), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.06))
        figure.suptitle(f"Top-1 accuracy, and how sure it is\n{shorten(context.phrase, 130)}")
        axes, lines = figure.subplots(1, 2, sharey=True, width_ratios=[7.5, beside])
        low, high = percent_limits([row.percents for _, row in placed])
        for place, row in placed:
            _draw(axes, place, row, low)
        axes.set_ylim(bottom, -1.1)
        axes.set_yticks([])
        percents_across(axes, low, high, 100 * comparison.majority_accuracy)
        axes.set_xlabel(_below(comparison, runs))
        for place, heading in headings:
            axes.axhline(place, color="#BBBBBB", linewidth=0.8)
            _beside(axes, place + 0.32, heading, style="italic", color=GREY, fontsize=SMALL)

        lines.set_axis_off()
        for lane, (first, last) in zip(lanes, runs, strict=True):
            lines.plot((lane, lane), (first - 0.25, last + 0.25), color=_INK, linewidth=3, solid_capstyle="butt")
        lines.set_xlim(-0.6, max(lanes, default=0) + 0.6)
        _numbers(lines, placed, context)
        figure.legend(handles=_legend(placed, context, joined=bool(runs)), loc="outside lower center", ncols=4, frameon=False)
        return png(figure)


def unbroken_ties(comparison: Comparison) -> list[tuple[int, int]]:
    """Runs of neighbours in rank, two at least, no two of which are apart: places of the first and the last, from 0.

    None of them lies within another.
    """
    names = [row.name for row in comparison.leaderboard]
    runs: list[tuple[int, int]] = []
    for first in range(len(names)):
        last = first
        while last + 1 < len(names) and not any(comparison.pair(one, names[last + 1]).apart for one in names[first : last + 1]):
            last += 1
        if last > first and not (runs and last <= runs[-1][1]):
            runs.append((first, last))
    return runs


def percent_limits(spans: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The part of 0 to 100 that shows spans of percentages: ten points at least, so that a tie looks like one.

    Not from zero: a dot's place counts, not a length. Spans far below the others, less than half of all, are left out.

    >>> percent_limits([(93, 97), (91, 96), (1, 4)])
    (89.0, 99.0)
    """
    ordered = sorted(spans, key=lambda span: span[1], reverse=True)
    half = ceil(len(ordered) / 2)
    low, high = min(span[0] for span in ordered[:half]), max(span[1] for span in ordered)
    for span in ordered[half:]:
        if span[1] >= low - FAR_OFF_ROW:
            low = min(low, span[0])
    spare = max(0.0, _LEAST_POINTS - (high - low)) / 2
    outside = min(0.0, low - spare) + max(0.0, high + spare - 100)
    return low - spare - outside, high + spare - outside


def percent_ticks(low: float, high: float) -> list[float]:
    """Round percentages within an axis, none above 100."""
    ticks = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(tick) for tick in ticks if low <= tick <= min(high, 100)]


def percents_across(axes: Axes, low: float, high: float, majority_accuracy: float) -> None:
    """Set up a horizontal axis, and mark what a model must pass to have learned anything; all in percent."""
    near = majority_accuracy >= low - FAR_OFF_LINE
    if near:
        low, high = min(low, majority_accuracy), max(high, majority_accuracy)
    margin = 0.03 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    axes.set_xticks(percent_ticks(low - margin, high + margin))
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.set_xlabel("top-1 accuracy, %")
    if near:
        axes.axvline(majority_accuracy, color=GREY, linestyle=":", linewidth=1.2)
    text, left = f"always the most frequent class: {majority_accuracy:.1f}", not near or majority_accuracy < (low + high) / 2
    axes.annotate(
        text if near else f"◂ {text}",
        (majority_accuracy, 1) if near else (0, 1),
        xycoords=("data" if near else "axes fraction", "axes fraction"),
        xytext=(4 if left else -4, -2),
        textcoords="offset points",
        color=GREY,
        fontsize=SMALL,
        ha="left" if left else "right",
        va="top",
    )


def point_left(axes: Axes, place: float, colour: str, percent: float) -> None:
    """Stand in for a row that is too far below the others to be shown."""
    axes.plot(0.012, place, marker="<", markersize=7, color=colour, transform=axes.get_yaxis_transform(), linestyle="none")
    axes.annotate(
        f"far below, at {percent:.1f}",
        (0.012, place),
        xycoords=axes.get_yaxis_transform(),
        xytext=(9, 0),
        textcoords="offset points",
        va="center",
        color=GREY,
        fontsize=SMALL,
    )


def _model(row: LeaderboardRow) -> _Row:
    label, colour = f"{row.rank}. {row.name}", COLOURS[row.name]
    return _Row(label, "", row.top1, row.std, row.interval, row.wilson, colour, is_model=True)


def _ensemble(ensemble: Ensemble, models: int) -> _Row:
    everyone = ensemble.name == "all" and len(ensemble.members) == models
    label, remark = (f"all {models}", "") if everyone else (ensemble.name, " + ".join(ensemble.members))
    return _Row(shorten(label, 40), shorten(remark, 60), ensemble.top1, None, ensemble.interval, None, GREY, is_model=False)


def _baseline(baseline: Baseline) -> _Row:
    return _Row(shorten(baseline.name, 40), "", baseline.top1, None, baseline.interval, None, GREY, is_model=False)


def _draw(axes: Axes, place: float, row: _Row, low: float) -> None:
    colour = row.colour
    if row.percents[1] < low:
        point_left(axes, place, colour, 100 * row.top1)
    else:
        axes.plot(row.percents, (place, place), color=colour, linewidth=9, alpha=0.35, solid_capstyle="butt")
        if row.wilson:
            narrow = (100 * row.wilson.low, 100 * row.wilson.high)
            axes.plot(narrow, (place, place), color=colour, linewidth=1.4, marker="|", markersize=7, markeredgewidth=1.4)
        face = colour if row.is_model else "white"
        axes.plot(100 * row.top1, place, marker="o", markersize=7, color=colour, markerfacecolor=face, markeredgewidth=1.4)
    _beside(axes, place - (0.17 if row.remark else 0), row.label, color=_INK if row.is_model else GREY)
    if row.remark:
        _beside(axes, place + 0.24, row.remark, color=GREY, fontsize=SMALL)


def _beside(axes: Axes, place: float, text: str, *, style: str = "normal", color: str, fontsize: int = 10) -> None:
    """Write to the left of the axis."""
    axes.annotate(
        text,
        (0, place),
        xycoords=("axes fraction", "data"),
        xytext=(-7, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        annotation_clip=False,
        style=style,
        color=color,
        fontsize=fontsize,
    )


def _numbers(axes: Axes, placed: Sequence[tuple[float, _Row]], context: EvaluationContext) -> None:
    """Write the numbers in columns on the right of the lines, where nothing can run into them."""
    spread = any(row.std is not None for _, row in placed)
    columns = (38, 43, 87 if spread else 48)  # points from the lines: end of top-1, start of the deviation, start of the interval

    def write(place: float, texts: tuple[str, str, str], *, color: str, fontsize: int) -> None:
        for column, text, align in zip(columns, texts, ("right", "left", "left"), strict=True):
            axes.annotate(
                text,
                (1, place),
                xycoords=("axes fraction", "data"),
                xytext=(column, 0),
                textcoords="offset points",
                ha=align,
                va="center",
                annotation_clip=False,
                color=color,
                fontsize=fontsize,
            )

    seeds = f"{context.seeds} seeds" if spread else ""
    write(-0.8, ("top-1", seeds, "95 % interval"), color=GREY, fontsize=SMALL)
    for place, row in placed:
        low, high = row.percents
        deviation = "" if row.std is None else f"± {100 * row.std:.1f}"
        write(
            place,
            (f"{100 * row.top1:.1f}", deviation, f"({low:.1f}–{high:.1f})"),
            color=_INK if row.is_model else GREY,
            fontsize=10,
        )


def _lanes(runs: Sequence[tuple[int, int]]) -> list[int]:
    """A lane for each run, from 0, so that runs with a common model are side by side."""
    ends: list[int] = []
    lanes = []
    for first, last in runs:
        free = next((lane for lane, end in enumerate(ends) if end < first), len(ends))
        ends[free : free + 1] = [last]
        lanes.append(free)
    return lanes


def _below(comparison: Comparison, runs: Sequence[tuple[int, int]]) -> str:
    """Name of the axis, and the ties that no line shows."""
    places = {row.name: place for place, row in enumerate(comparison.leaderboard)}
    left_out = [
        f"{a} and {b}"
        for a, b in combinations(places, 2)
        if not comparison.pair(a, b).apart and not any(first <= places[a] and places[b] <= last for first, last in runs)
    ]
    text = "top-1 accuracy, %"
    if left_out:
        more = f"; and {len(left_out) - _MOST_REMARKED} more" if len(left_out) > _MOST_REMARKED else ""
        remark = f"Not told apart either, though no line joins them: {'; '.join(left_out[:_MOST_REMARKED])}{more}."
        text += "\n" + "\n".join(textwrap.wrap(remark, 85))
    return text


def _legend(placed: Sequence[tuple[float, _Row]], context: EvaluationContext, *, joined: bool) -> list[Line2D]:
    mean = f", mean of {context.seeds} seeds" if any(row.std is not None for _, row in placed) else ""
    handles = [
        Line2D([], [], color=GREY, marker="o", markersize=7, linestyle="none", label=f"top-1{mean}"),
        Line2D([], [], color=GREY, linewidth=9, alpha=0.35, label="95 % interval, from whole sources"),
        Line2D([], [], color=GREY, linewidth=1.4, marker="|", markersize=7, label="… as if clips were independent"),
    ]
    if joined:
        handles.append(Line2D([], [], color=_INK, linewidth=3, label="not told apart by the tests"))
    return handles
