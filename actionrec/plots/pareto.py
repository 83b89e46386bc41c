"""What accuracy costs: operations and time for one clip, and which models no other beats at both."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullLocator
from matplotlib.transforms import IdentityTransform

from actionrec.core.text import shorten
from actionrec.evaluation.analyses import ModelCost
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.intervals import Interval
from actionrec.plots.canvas import COLOURS, DPI, GREY, drawing, png
from actionrec.plots.intervals import percent_limits, percent_ticks

_INK = "#222222"
_POINT = DPI / 72  # pixels
_LEAST_GAP = 9 * _POINT  # between dots, across: closer ones are moved apart, or their intervals would hide one another
_LEAST_RANGE = 4.0  # the highest cost on an axis over the lowest
_MOST_TICKS = 8
# Where a name may stand, seen from its dot: the direction, in degrees, and how far, in points.
_DIRECTIONS = (0, 180, 45, 135, -45, -135, 90, -90, 20, 160, -20, -160, 70, 110, -70, -110)
_DISTANCES = (11, 17, 26, 40, 58, 80, 110, 150)
_LEADER = 18  # points: a name farther off is tied to its dot by a line
_DASHES = (0, (4, 2))

_PARTS = [step / 16 for step in range(17)]  # of a leader

_Pixel = tuple[float, float]
_Line = tuple[_Pixel, _Pixel]


class _Box(NamedTuple):
    """A rectangle in pixels of the picture; matplotlib's own takes ten times as long to compare."""

    x0: float
    y0: float
    x1: float
    y1: float

    def overlaps(self, other: "_Box") -> bool:
        return self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1

    def within(self, other: "_Box") -> bool:
        return other.x0 <= self.x0 and self.x1 <= other.x1 and other.y0 <= self.y0 and self.y1 <= other.y1

    def nearest(self, x: float, y: float) -> _Pixel:
        """The box's point that is nearest to another."""
        return min(max(x, self.x0), self.x1), min(max(y, self.y0), self.y1)

    def distance(self, x: float, y: float) -> float:
        return math.dist(self.nearest(x, y), (x, y))

    def padded(self, pixels: float) -> "_Box":
        return _Box(self.x0 - pixels, self.y0 - pixels, self.x1 + pixels, self.y1 + pixels)


@dataclass(frozen=True)
class _Mark:
    """One model in one panel, in pixels of the picture."""

    model: str
    name: str
    x: float
    y: float
    low: float
    high: float
    fallen: bool
    """Too far below the others to be shown: an arrow at the lower edge stands in for it."""

    @property
    def dot(self) -> _Box:
        return _Box(self.x, self.y, self.x, self.y).padded(5 * _POINT)

    @property
    def bar(self) -> _Box:
        return _Box(self.x - 2 * _POINT, self.low, self.x + 2 * _POINT, self.high)


@dataclass(frozen=True)
class _Place:
    """Where a name may stand."""

    box: _Box
    far: int
    """From the dot, in points."""
    leader: _Line | None
    """From the dot to the box, where they are far apart."""


def accuracy_against_cost(costs: Sequence[ModelCost], intervals: Mapping[str, Interval], context: EvaluationContext) -> bytes:
    """Draw top-1 over operations, with the Pareto front, and over latency; both for one clip, on logarithmic axes.

    Models of nearly equal cost stand side by side, a few points off their place.

    Args:
        costs: at least one; operations and latency above 0.
        intervals: model -> interval of its top-1.
        context: named in the title.
    """
    bars = [(100 * intervals[one.model].low, 100 * intervals[one.model].high) for one in costs]
    # With several seeds the saved model's dot may lie beyond the interval, which is of their mean.
    spans = [(min(bar[0], 100 * one.top1), max(bar[1], 100 * one.top1)) for one, bar in zip(costs, bars, strict=True)]
    low, high = percent_limits(spans)
    fallen = [span[1] < low for span in spans]
    margin = 0.06 * (high - low)
    with drawing():
        figure = Figure(figsize=(12, 6.6))
        figure.text(0.5, 0.98, f"What accuracy costs\n{shorten(context.phrase, 130)}", ha="center", va="top", fontsize=12)
        place = {"left": 0.07, "right": 0.98, "top": 0.85, "bottom": 0.16, "wspace": 0.06}
        operations, latency = figure.subplots(1, 2, sharey=True, gridspec_kw=place)
        operations.set_ylim(low - margin, high + margin)
        operations.set_yticks(percent_ticks(low - margin, high + margin))
        operations.set_ylabel("top-1 accuracy, %")
        operations.set_xlabel("operations for a clip, millions")
        latency.set_xlabel("time for a clip on a CPU, milliseconds")
        latency.tick_params(labelleft=False)
        for axes, values in ((operations, [one.flops / 1e6 for one in costs]), (latency, [one.latency_ms for one in costs])):
            _cost_axis(axes, values)
            axes.set_title("↖ better", loc="left", color=GREY)
            marks = _marks(axes, costs, values, bars, fallen)
            lines = _front(axes, costs, marks) if axes is operations else []
            for mark in marks:
                _draw(axes, mark)
            _name(axes, marks, lines)
        figure.legend(handles=_legend(context), loc="lower center", ncols=3, frameon=False)
        return png(figure)


def _cost_axis(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis with plain numbers at 1, 2 and 5, or at powers of ten where those would be many."""
    low, high = min(values), max(values)
    widen = max(1.0, _LEAST_RANGE / (high / low)) ** 0.5 * (max(high / low, _LEAST_RANGE)) ** 0.12
    low, high = low / widen, high * widen
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    powers, digits = range(-9, 16), (1, 2, 5)
    steps, tens = (
        [digit * 10.0**power for power, digit in product(powers, chosen) if low <= digit * 10.0**power <= high]
        for chosen in (digits, digits[:1])
    )
    ticks = steps if len(steps) <= _MOST_TICKS else tens[:: math.ceil(len(tens) / _MOST_TICKS)]
    axes.set_xticks(ticks, [f"{tick:,.10g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)


def _marks(
    axes: Axes, costs: Sequence[ModelCost], values: Sequence[float], bars: Sequence[tuple[float, float]], fallen: Sequence[bool]
) -> list[_Mark]:
    def pixels(value: float, percent: float) -> _Pixel:
        x, y = axes.transData.transform((value, percent))
        return float(x), float(y)

    floor = axes.get_ylim()[0]
    across = _apart([pixels(value, floor)[0] for value in values], _LEAST_GAP)
    marks = []
    for one, x, (low, high), is_fallen in zip(costs, across, bars, fallen, strict=True):
        percent = 100 * one.top1
        if is_fallen:
            y = down = up = pixels(1, floor)[1] + 6 * _POINT
        else:
            y, down, up = (pixels(1, end)[1] for end in (percent, low, high))
        name = f"{one.model}, far below: {percent:.1f}" if is_fallen else one.model
        marks.append(_Mark(one.model, name, x, y, down, up, is_fallen))
    return marks


def _apart(places: Sequence[float], gap: float) -> list[float]:
    """Move places as little as it takes for neighbours to be `gap` apart; equal ones keep their order.

    >>> _apart([5, 20, 5], 2)
    [4.0, 20.0, 6.0]
    """
    groups: list[list[int]] = []

    def ends(group: list[int]) -> tuple[float, float]:
        middle, half = sum(places[one] for one in group) / len(group), gap * (len(group) - 1) / 2
        return middle - half, middle + half

    for one in sorted(range(len(places)), key=lambda index: places[index]):
        groups.append([one])
        while len(groups) > 1 and ends(groups[-1])[0] - ends(groups[-2])[1] < gap:
            groups[-2:] = [groups[-2] + groups[-1]]
    moved = {one: ends(group)[0] + gap * rank for group in groups for rank, one in enumerate(group)}
    return [float(moved[one]) for one in range(len(places))]


def _front(axes: Axes, costs: Sequence[ModelCost], marks: Sequence[_Mark]) -> list[_Box]:
    """Draw the best accuracy that so many operations give, as stairs, and return the boxes of the steps."""
    below = axes.bbox.y0 - 10 * _POINT  # where it cannot be seen
    members = sorted((mark.x, below if mark.fallen else mark.y) for one, mark in zip(costs, marks, strict=True) if one.on_front)
    corners = [corner for (x, y), (after, _) in pairwise(members) for corner in ((x, y), (after, y))]
    corners += members[-1:]
    look: dict[str, Any] = {"color": GREY, "transform": IdentityTransform()}
    axes.plot(*zip(*corners, strict=True), linewidth=1.2, linestyle=_DASHES, **look)
    for x, y in members:
        axes.plot(x, y, marker="o", markersize=14, markerfacecolor="none", markeredgewidth=1.2, linestyle="none", **look)
    return [_Box(*a, *b) for a, b in pairwise(corners)]


def _draw(axes: Axes, mark: _Mark) -> None:
    look: dict[str, Any] = {"color": COLOURS[mark.model], "transform": IdentityTransform()}
    if mark.fallen:
        axes.plot(mark.x, mark.y, marker="v", markersize=8, linestyle="none", **look)
    else:
        axes.plot((mark.x, mark.x), (mark.low, mark.high), linewidth=4, alpha=0.35, solid_capstyle="butt", **look)
        axes.plot(mark.x, mark.y, marker="o", markersize=8, linestyle="none", **look)


def _name(axes: Axes, marks: Sequence[_Mark], lines: Sequence[_Box]) -> None:
    """Write each name where it hides least and cannot be taken for another's."""
    texts = [axes.text(0, 0, mark.name, color=_INK, transform=IdentityTransform(), zorder=5) for mark in marks]
    renderer = FigureCanvasAgg(axes.get_figure(root=True)).get_renderer()
    room = _Box(*axes.bbox.extents).padded(-2 * _POINT)
    choices = []
    for mark, text in zip(marks, texts, strict=True):
        width, height = text.get_window_extent(renderer).size
        places = [_place(mark, direction, far, width, height) for far, direction in product(_DISTANCES, _DIRECTIONS)]
        rated = [(_harm(place, mark, marks, lines, room), place) for place in places]
        choices.append(sorted(rated, key=lambda one: one[0]))
    for place, text in zip(_choose(choices, [mark.x for mark in marks]), texts, strict=True):
        text.set_position((place.box.x0, place.box.y0))
        text.set_verticalalignment("bottom")
        text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
        if place.leader:
            x, y = zip(*place.leader, strict=True)
            axes.plot(x, y, color=GREY, linewidth=0.8, transform=IdentityTransform(), zorder=1.5)


def _choose(choices: Sequence[Sequence[tuple[float, _Place]]], across: Sequence[float]) -> list[_Place]:
    """Choose a place for each name, the whole being as little harmful as a few attempts find.

    An attempt lets one name after another take the best place that the others leave it, three times over. The attempts differ
    in who comes first: the names as they come, those on the outside, those in the middle.

    Args:
        choices: for each name, its places and the harm each does by itself, the least harmful first.
        across: for each name, where its dot is.
    """
    middle = sum(across) / len(across)
    inside = sorted(range(len(choices)), key=lambda one: abs(across[one] - middle))
    best: tuple[float, list[_Place]] = math.inf, []
    for order in (list(range(len(choices))), inside[::-1], inside):
        taken: dict[int, tuple[float, _Place]] = {}
        for one in 3 * order:
            names = [place for other, (_, place) in taken.items() if other != one]
            least = math.inf
            for own, place in choices[one]:
                if own >= least:
                    break
                harm = own + _harm_to_names(place, names)
                if harm < least:
                    least, taken[one] = harm, (harm, place)
        total = sum(harm for harm, _ in taken.values())
        if total < best[0]:
            best = total, [taken[one][1] for one in range(len(choices))]
    return best[1]


def _place(mark: _Mark, direction: int, far: int, width: float, height: float) -> _Place:
    """Put the box's nearest corner, or the middle of its nearest side, so far off in that direction."""
    across, up = math.cos(math.radians(direction)), math.sin(math.radians(direction))
    sideways, upwards = round(1.3 * across), round(1.3 * up)  # -1, 0 or 1
    x = mark.x + across * far * _POINT + (sideways - 1) * width / 2
    y = mark.y + up * far * _POINT + (upwards - 1) * height / 2
    box = _Box(x, y, x + width, y + height)
    return _Place(box, far, ((mark.x, mark.y), box.nearest(mark.x, mark.y)) if far > _LEADER else None)


def _harm(place: _Place, mark: _Mark, marks: Sequence[_Mark], lines: Sequence[_Box], room: _Box) -> float:
    """How bad a place is by itself: to hide a dot or to seem another dot's name is worst, then to hide bars and lines."""
    box, others = place.box, [other for other in marks if other is not mark]
    harm = place.far + 1e6 * (not box.within(room)) + 1e3 * sum(box.overlaps(one.dot) for one in marks)
    harm += 25 * sum(box.overlaps(one.bar) for one in marks) + 15 * sum(map(box.overlaps, lines))
    if place.leader:
        harm += 300 * sum(_cross(place.leader, other.dot) for other in others)
    own, nearest = box.distance(mark.x, mark.y), min((box.distance(other.x, other.y) for other in others), default=math.inf)
    if nearest < own:
        harm += 150 if place.leader else 1e3
    elif nearest < 1.5 * own:
        harm += 10
    return harm


def _harm_to_names(place: _Place, names: Sequence[_Place]) -> float:
    """How bad a place is beside other names: no name may lie on another, and no leader on a name."""
    roomy = place.box.padded(2 * _POINT)
    harm = 1e4 * sum(roomy.overlaps(name.box) for name in names) + 500 * sum(_cross(name.leader, place.box) for name in names)
    if place.leader:
        harm += 500 * sum(_cross(place.leader, name.box) for name in names)
        harm += 200 * sum(_meet(place.leader, name.leader) for name in names if name.leader)
    return harm


def _cross(leader: _Line | None, box: _Box) -> bool:
    """Whether a line runs over a box, tried at points that are nearer to one another than any box is high."""
    if leader is None:
        return False
    (x, y), (to_x, to_y) = leader
    if not box.overlaps(_Box(min(x, to_x), min(y, to_y), max(x, to_x), max(y, to_y))):
        return False
    points = [(x + part * (to_x - x), y + part * (to_y - y)) for part in _PARTS]
    return any(box.x0 < at_x < box.x1 and box.y0 < at_y < box.y1 for at_x, at_y in points)


def _meet(one: _Line, other: _Line) -> bool:
    """Whether two lines cross: each has its ends on both sides of the other."""

    def side(line: _Line, point: _Pixel) -> bool:
        (x, y), (to_x, to_y) = line
        return (to_x - x) * (point[1] - y) > (to_y - y) * (point[0] - x)

    return side(one, other[0]) != side(one, other[1]) and side(other, one[0]) != side(other, one[1])


def _legend(context: EvaluationContext) -> list[Line2D]:
    several = f" of the mean of {context.seeds} seeds (dot: the saved model)" if context.seeds > 1 else ""
    return [
        Line2D([], [], color=GREY, marker="o", markersize=8, linestyle="none", label="top-1"),
        Line2D([], [], color=GREY, linewidth=4, alpha=0.35, label=f"95 % interval{several}"),
        Line2D(
            [],
            [],
            color=GREY,
            linewidth=1.2,
            linestyle=_DASHES,
            marker="o",
            markersize=14,
            markerfacecolor="none",
            label="Pareto front: none is as accurate with fewer operations",
        ),
    ]
