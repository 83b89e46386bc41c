"""Reliability diagrams: each model's accuracy over its confidence, before and after temperature scaling."""

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from actionrec.core.text import shorten
from actionrec.evaluation.analyses import Calibration
from actionrec.evaluation.calibration import TEMPERATURES, Reliability
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.intervals import wilson
from actionrec.plots.canvas import COLOURS, GREY, drawing, png

COLUMNS = 4
FEW_CLIPS = 300  # 20 per bin; with fewer, chance alone causes a calibration error of several points

_PALE = "#8A8A8A"  # before temperature scaling
_SMALLEST, _GROWTH = 16.0, 90.0  # dot area in square points: minimum, and increase for a bin with all clips
_HEAD, _BAND, _LINE, _LEFT, _APART = 0.6, 4.1, 0.35, 0.9, 0.45  # inches
_SHOWN = (-5, 105)  # percent
_TICKS = (0, 25, 50, 75, 100)


def reliability_diagram(calibrations: Sequence[Calibration], context: EvaluationContext) -> bytes:
    """Draw one panel per model, in the given order: accuracy over confidence, and above it the number of clips.

    Whiskers are 95 % intervals that treat clips as independent: bins of few clips have wide ones. Empty bins have no dot.

    Args:
        calibrations: at least one.
        context: named in the title.
    """
    bands = ceil(len(calibrations) / COLUMNS)
    fitted = context.val_clips > 0
    remark = _remark(calibrations, context)
    foot = _LINE * bool(remark) + 0.05
    width, height = 12.0, _HEAD + bands * _BAND + foot + _LINE
    cell = (width - _LEFT) / COLUMNS
    with drawing():
        # All positions are computed here, since a layout engine takes seconds.
        figure = Figure(figsize=(width, height))

        def panel(left: float, top: float, tall: float) -> Axes:
            """Axes at a distance in inches from the left and the top."""
            return figure.add_axes((left / width, 1 - (top + tall) / height, (cell - _APART) / width, tall / height))

        figure.text(
            0.5,
            1 - 0.12 / height,
            f"Accuracy over confidence\n{shorten(context.phrase, 130)}",
            ha="center",
            va="top",
            fontsize=12,
        )
        for place, one in enumerate(calibrations):
            band, column = divmod(place, COLUMNS)
            left, top = _LEFT + column * cell, _HEAD + band * _BAND
            counts, shares = panel(left, top + 0.5, 0.6), panel(left, top + 1.2, 2.4)
            _counts(counts, one, fitted)
            _shares(shares, one, fitted)
            counts.set_title(f"{one.model}\n{_errors(one, fitted)}", fontsize=10)
            shares.set_xlabel("confidence, %")
            shares.tick_params(labelleft=column == 0)
            if column == 0:
                counts.set_ylabel("clips")
                shares.set_ylabel("accuracy, %")
                for axes in (counts, shares):
                    axes.yaxis.set_label_coords(-0.22, 0.5)
        handles, above_remark = _legend(fitted), (0.5, foot / height)
        figure.legend(handles=handles, loc="lower center", ncols=4, frameon=False, bbox_to_anchor=above_remark, borderaxespad=0)
        figure.text(0.5, 0.12 / height, remark, ha="center", fontsize=9, color=GREY)
        return png(figure)


def _errors(one: Calibration, fitted: bool) -> str:
    if not fitted:
        return f"ECE {100 * one.error:.1f} %"
    if one.temperature is None:
        return f"ECE {100 * one.error:.1f} %, T not fitted"
    low, high = TEMPERATURES
    sign = "≤" if one.temperature <= 1.001 * low else "≥" if one.temperature >= 0.999 * high else "="  # at a bound of the search
    return f"ECE {100 * one.error:.1f} → {100 * one.calibrated_error:.1f} %, T {sign} {one.temperature:.2f}"


def _counts(axes: Axes, one: Calibration, fitted: bool) -> None:
    edges = 100 * np.linspace(0, 1, len(one.before.count) + 1)
    axes.stairs(one.after.count, edges, color=COLOURS[one.model], alpha=0.55, fill=True)
    if fitted:
        axes.stairs(one.before.count, edges, color=_PALE, linewidth=1.4)
    most = int(max(one.after.count.max(), one.before.count.max()))
    axes.set_xlim(_SHOWN)
    axes.set_ylim(0, 1.08 * most)
    axes.set_yticks([0, most], ["0", f"{most:,}"], fontsize=8)
    axes.tick_params(axis="x", length=0, labelbottom=False)


def _shares(axes: Axes, one: Calibration, fitted: bool) -> None:
    axes.plot((0, 100), (0, 100), color=GREY, linestyle=":", linewidth=1.2)
    if fitted:
        _dots(axes, one.before, edgecolor=_PALE, facecolor="none", linewidth=1.4)
    after, colour = one.after, COLOURS[one.model]
    for confidence, accuracy, count in zip(after.confidence, after.accuracy, after.count, strict=True):
        if count:
            ends = wilson(round(float(accuracy * count)), int(count))
            axes.plot((100 * confidence,) * 2, (100 * ends.low, 100 * ends.high), color=colour, alpha=0.45, linewidth=1.6)
    _dots(axes, after, color=colour, linewidth=0)
    axes.set_xlim(_SHOWN)
    axes.set_ylim(_SHOWN)
    axes.set_xticks(_TICKS)
    axes.set_yticks(_TICKS)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)


def _dots(axes: Axes, bins: Reliability, **look: Any) -> None:
    """A dot for each bin that has clips; its area grows with their share."""
    used = bins.count > 0
    area = _SMALLEST + _GROWTH * bins.count[used] / bins.count.sum()
    axes.scatter(100 * bins.confidence[used], 100 * bins.accuracy[used], s=area, zorder=3, **look)


def _legend(fitted: bool) -> list[Line2D]:
    def dot(label: str, colour: str, face: str) -> Line2D:
        return Line2D(
            [], [], color=colour, marker="o", markersize=8, markerfacecolor=face, markeredgewidth=1.4, linestyle="none", label=label
        )

    whisker = Line2D([], [], color=GREY, alpha=0.45, marker="|", markersize=11, markeredgewidth=1.6, linestyle="none")
    whisker.set_label("95 % interval if clips were independent")
    ideal = Line2D([], [], color=GREY, linestyle=":", linewidth=1.2, label="perfect calibration")
    before = [dot("before", _PALE, "none")] if fitted else []
    return [dot("after temperature scaling" if fitted else "accuracy (larger: more clips)", GREY, GREY), *before, whisker, ideal]


def _remark(calibrations: Sequence[Calibration], context: EvaluationContext) -> str:
    parts = []
    if not context.val_clips:
        parts.append("No temperature scaling: there are no validation clips to fit it on.")
    elif any(one.temperature is None for one in calibrations):
        parts.append("T not fitted: all validation clips are classified correctly.")
    if calibrations[0].after.count.sum() < FEW_CLIPS:
        parts.append("With so few clips, chance alone causes a calibration error (ECE) of several points.")
    return " ".join(parts)
