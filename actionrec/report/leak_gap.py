"""The leak gap as a table, and how to read it."""

from collections.abc import Sequence

from actionrec.core.text import percent
from actionrec.evaluation.intervals import Interval
from actionrec.experiments.leak_gap import Gap, Side
from actionrec.report import p_value, table
from actionrec.report.wording import points

COMMON_HEADER = ["model", "random, top-1 %", "group, top-1 %", "gap, points", "95 % interval", "p"]
ALL_HEADER = ["model", "random, top-1 %", "group, top-1 %", "gap, points", "95 % interval"]


def text(gaps: Sequence[Gap]) -> str:
    """The gap on the common clips, then on all test clips if those are others, and how to read it."""
    first = gaps[0]
    parts = [_common(gaps)]
    if first.common is None or first.common.clips < max(first.random.clips, first.group.clips):
        parts.append(_all(gaps))
    parts.append(
        f"A gap above 0 is what a model owes to siblings of the test clips in training. Means over {first.seeds} "
        f"{'seed' if first.seeds == 1 else 'seeds'}. Intervals are from whole sources; one that holds 0 shows nothing."
    )
    return "\n\n".join(parts) + "\n"


def _common(gaps: Sequence[Gap]) -> str:
    common = gaps[0].common
    if common is None:
        return "No clip is in the test sets of both splits. Use --folds all to test every clip under both."
    rows = [
        [
            one.model,
            percent(one.common.random),
            percent(one.common.group),
            *_gap(one.common.difference, one.common.interval),
            p_value(one.common.p),
        ]
        for one in gaps
        if one.common
    ]
    title = f"{common.clips:,} clips from {common.sources:,} sources, tested under both splits:"
    return f"{title}\n\n{table(COMMON_HEADER, rows, 'lrrrrr')}"


def _all(gaps: Sequence[Gap]) -> str:
    rows = [[one.model, _side(one.random), _side(one.group), *_gap(one.difference, one.interval)] for one in gaps]
    first = gaps[0]
    title = (
        f"All test clips, {first.random.clips:,} under the random split and {first.group.clips:,} under the group split. These are "
        "different clips, so their difficulty adds to the gap; --folds all avoids that:"
    )
    return f"{title}\n\n{table(ALL_HEADER, rows, 'lrrrr')}"


def _gap(difference: float, interval: Interval) -> list[str]:
    return [points(difference), f"{points(interval.low)} to {points(interval.high)}"]


def _side(side: Side) -> str:
    return f"{percent(side.top1)} ({percent(side.interval.low)}–{percent(side.interval.high)})"
