"""Text shared by the report's sections: titles, names, intervals, differences."""

from collections.abc import Sequence

from actionrec.core.text import percent, shorten
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.intervals import Interval
from actionrec.evaluation.significance_tests import PairedTest
from actionrec.report import escape_markdown, p_value

DIFFERENCE_HEADER = ("points", "95 % interval", "p", "verdict")


def section(title: str, *parts: str) -> str:
    """A section: its title, and its parts as paragraphs; empty parts are left out."""
    return "\n\n".join([f"## {title}", *filter(None, parts)])


def bullets(points: Sequence[str]) -> str:
    return "\n".join(f"- {point}" for point in points)


def protocol(context: EvaluationContext) -> str:
    """The line above every table: the data, the split and the backbone of its numbers."""
    return f"Protocol: {escape_markdown(context.phrase)}."


def clean(name: str, limit: int = 60) -> str:
    """A name on one line, shortened to `limit` characters and safe in tables and terminals."""
    return escape_markdown(shorten(name, limit))


def listed(names: Sequence[str]) -> str:
    """Join names, at least one.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def span(interval: Interval) -> str:
    """An interval of a share, in percent."""
    return f"{percent(interval.low)}–{percent(interval.high)}"


def points(share: float) -> str:
    """A difference of shares in percentage points, with its sign; never -0.0.

    >>> points(-0.0001)
    '+0.0'
    """
    return f"{round(100 * share, 1) + 0.0:+.1f}"


def difference_cells(test: PairedTest, verdict: str | None = None) -> list[str]:
    """Cells under DIFFERENCE_HEADER; `verdict` replaces the test's own."""
    ends = f"{points(test.interval.low)} to {points(test.interval.high)}"
    return [points(test.difference), ends, p_value(test.p), verdict or test.verdict]
