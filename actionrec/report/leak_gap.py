"""The leak gap as a table, and how to read it."""

from collections.abc import Sequence

from actionrec.core.text import percent
from actionrec.experiments.leak_gap import Gap, Side
from actionrec.report import table


def text(gaps: Sequence[Gap]) -> str:
    """The table, and how to read it."""
    rows = [
        [
            one.model,
            _in_words(one.random),
            _in_words(one.group),
            f"{100 * one.difference:+.1f}",
            f"{100 * one.interval.low:+.1f} to {100 * one.interval.high:+.1f}",
        ]
        for one in gaps
    ]
    header = ["model", "random, top-1 %", "group, top-1 %", "difference, points", "95 % interval"]
    first = gaps[0]
    note = (
        f"{first.random.clips:,} test clips under the random split, {first.group.clips:,} under the group split. Above 0: what a "
        "model owes to siblings of the test clips in training. Intervals are from whole sources; one that holds 0 shows nothing."
    )
    return f"{table(header, rows, 'lrrrr')}\n\n{note}\n"


def _in_words(side: Side) -> str:
    return f"{percent(side.top1)} ({percent(side.interval.low)}–{percent(side.interval.high)})"
