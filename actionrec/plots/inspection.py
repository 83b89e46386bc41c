"""A data set on one page: durations, frame rates, sizes, codecs, classes, and a frame of each class."""

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from actionrec.core.text import shorten
from actionrec.inspection.summary import ClassSummary, Summary
from actionrec.plots.canvas import COLOURS, GREY, drawing, fit, png

MOST_PICTURES = 48
WIDTH = 13.0  # inches
CLIPS, GROUPS = COLOURS["bilstm"], COLOURS["simple_rnn"]

_VALUES = 7  # bars of a distribution; the last one counts all other values
_LONGEST_COLUMN = 34  # classes
_MOST_CLASSES = 3 * _LONGEST_COLUMN
_PICTURES_A_ROW = 8
_PICTURE = (0.96, 0.72)  # largest width and height of a picture, in cell widths
_LABEL = 0.3  # inches above a picture
_BLANK = np.full((3, 4, 3), 238, dtype=np.uint8)  # stands for a missing frame
_FAR_APART = 20  # durations this many times above or below the median need a logarithmic axis


def chosen_classes(class_names: Sequence[str]) -> list[str]:
    """The classes that the contact sheet shows: all, or MOST_PICTURES evenly spaced ones."""
    if len(class_names) <= MOST_PICTURES:
        return list(class_names)
    return [class_names[int(place)] for place in np.linspace(0, len(class_names) - 1, MOST_PICTURES)]


def page(summary: Summary, seconds: Sequence[float], pictures: Mapping[str, NDArray[np.uint8] | None]) -> bytes:
    """Draw the page.

    Args:
        summary: the data set.
        seconds: duration of each clip whose duration is known.
        pictures: class -> (H, W, 3), RGB; None where no clip can be decoded.
    """
    classes = _largest_and_smallest(summary.classes)
    columns = ceil(len(classes) / _LONGEST_COLUMN)
    per_column = ceil(len(classes) / columns)
    a_row = min(_PICTURES_A_ROW, max(4, len(pictures)))
    sheet = {name: _BLANK if picture is None else picture for name, picture in pictures.items()}
    cell = WIDTH / a_row
    row = _LABEL / cell + max(_extent(picture)[1] for picture in sheet.values())
    heights = [3.0, 1.1 + 0.2 * per_column, 0.5 + ceil(len(pictures) / a_row) * row * cell]
    with drawing():
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08)  # inches
        figure = Figure(figsize=(WIDTH, 0.6 + sum(heights)), layout=layout)
        figure.suptitle(
            f"{shorten(summary.dataset, 80)}: {summary.clips:,} clips, {len(summary.classes):,} classes, {summary.groups:,} groups"
        )
        parts = figure.subfigures(3, 1, height_ratios=heights, squeeze=False)[:, 0]
        _distributions(parts[0], summary, seconds)
        _classes(parts[1], classes, len(summary.classes), columns, per_column)
        _contact_sheet(parts[2], sheet, len(summary.classes), a_row, row)
        return png(figure)


def _distributions(figure: SubFigure, summary: Summary, seconds: Sequence[float]) -> None:
    durations, rates, sizes, codecs = figure.subplots(1, 4, width_ratios=[1.5, 1, 1, 1])
    _histogram(durations, np.asarray(seconds, dtype=float))
    middle = f" (median {summary.durations.median:.3g})" if summary.durations else ""
    durations.set_title(f"Duration, seconds{middle}", loc="left")
    for axes, title, counts in (
        (rates, "Frames per second", summary.frame_rates),
        (sizes, "Width x height", summary.sizes),
        (codecs, "Codec", summary.codecs),
    ):
        _values(axes, counts)
        axes.set_title(title, loc="left")


def _histogram(axes: Axes, seconds: NDArray[np.float64]) -> None:
    if not len(seconds):
        _write_instead(axes, "no clip has a known duration")
        return
    low, middle, high = np.quantile(seconds, [0, 0.5, 1])
    if high > _FAR_APART * middle or low < middle / _FAR_APART:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        edges = np.geomspace(low * 0.95, high * 1.05, 31)
    else:
        # At least one second wide, so that clips of nearly equal length look equal.
        spare = max(0.0, 1 - (high - low)) / 2
        edges = np.linspace(max(0, low - spare), high + spare, 31)
    axes.hist(seconds, list(edges), color=CLIPS)
    axes.axvline(middle, color=GREY, linestyle=":", linewidth=1.2)
    axes.set_ylabel("clips")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _values(axes: Axes, counts: Mapping[str, int]) -> None:
    if not counts:
        _write_instead(axes, "no file can be opened")
        return
    pairs = list(counts.items())
    if len(pairs) > _VALUES:
        rest = pairs[_VALUES - 1 :]
        pairs = [*pairs[: _VALUES - 1], (f"{len(rest)} others", sum(count for _, count in rest))]
    bars = _bars(axes, [fit(value, 12) for value, _ in pairs], [count for _, count in pairs], CLIPS)
    if len(counts) > _VALUES:
        bars[-1].set_color(GREY)
    axes.set_ylim(_VALUES - 0.5, -0.5)


def _bars(axes: Axes, names: Sequence[str], values: Sequence[int], colour: str) -> BarContainer:
    """Draw bars from top to bottom with numbers at their ends; `names` may be empty."""
    bars = axes.barh(range(len(values)), values, height=0.72, color=colour)
    for label in axes.bar_label(bars, [f"{value:,}" for value in values], padding=3, fontsize=8):
        label.set_in_layout(False)  # the margin below has room for it; measuring hundreds of texts takes seconds
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.margins(x=0.22)  # for the numbers
    return bars


def _classes(figure: SubFigure, classes: Sequence[ClassSummary], total: int, columns: int, per_column: int) -> None:
    cut = f" (the {ceil(len(classes) / 2)} largest and {len(classes) // 2} smallest of {total:,})" if len(classes) < total else ""
    figure.suptitle(f"Clips and groups per class, largest first{cut}", x=0.01, ha="left", fontsize=11)
    panels = figure.subplots(1, 2 * columns, squeeze=False, width_ratios=[1.6, 1] * columns)[0]
    most_clips, most_groups = (max(getattr(one, what) for one in classes) for what in ("clips", "groups"))
    limit = 60 if columns == 1 else 24
    for column in range(columns):
        own = classes[column * per_column : (column + 1) * per_column]
        clips, groups = panels[2 * column], panels[2 * column + 1]
        _bars(clips, [fit(one.name, limit) for one in own], [one.clips for one in own], CLIPS)
        _bars(groups, [], [one.groups for one in own], GROUPS)
        clips.set_title("clips", fontsize=9, color=CLIPS, loc="left")
        groups.set_title("groups", fontsize=9, color=GROUPS, loc="left")
        for axes, most in ((clips, most_clips), (groups, most_groups)):
            axes.set_xlim(0, 1.25 * most)
            axes.set_ylim(per_column - 0.5, -0.5)


def _largest_and_smallest(classes: Sequence[ClassSummary]) -> list[ClassSummary]:
    if len(classes) <= _MOST_CLASSES:
        return list(classes)
    half = _MOST_CLASSES // 2
    return [*classes[:half], *classes[-half:]]


def _contact_sheet(figure: SubFigure, sheet: Mapping[str, NDArray[np.uint8]], classes: int, a_row: int, height: float) -> None:
    """Draw all pictures on one pair of axes, in cell widths; separate axes for each would take seconds to lay out."""
    cut = f" ({len(sheet)} of {classes:,} classes)" if len(sheet) < classes else ""
    figure.suptitle(f"One frame per class{cut}", x=0.01, ha="left", fontsize=11)
    axes = figure.subplots()
    label = _LABEL * a_row / WIDTH
    for place, (name, picture) in enumerate(sheet.items()):
        row, column = divmod(place, a_row)
        wide, high = _extent(picture)
        middle, top = column + 0.5, row * height + label
        axes.imshow(picture, extent=(middle - wide / 2, middle + wide / 2, top + high, top))
        axes.text(middle, top - 0.1 * label, fit(name, 168 // a_row), ha="center", va="bottom", fontsize=8, in_layout=False)
        if picture is _BLANK:
            axes.text(middle, top + high / 2, "no frame", ha="center", va="center", color=GREY, fontsize=8)
    axes.set_xlim(0, a_row)
    axes.set_ylim(ceil(len(sheet) / a_row) * height, 0)
    axes.set_anchor("NW")
    axes.set_axis_off()


def _extent(picture: NDArray[np.uint8]) -> tuple[float, float]:
    """Width and height of a picture on the sheet, in cell widths."""
    height, width = picture.shape[:2]
    scale = min(_PICTURE[0] / width, _PICTURE[1] / height)
    return scale * width, scale * height


def _write_instead(axes: Axes, text: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY, fontsize=8)
