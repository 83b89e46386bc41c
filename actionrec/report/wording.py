"""Text shared by the report's sections: titles, names, intervals, differences."""

from collections.abc import Sequence

from actionrec.core.text import percent, shorten
from actionrec.evaluation.analyses import Difference
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.intervals import RESAMPLES, Interval
from actionrec.evaluation.significance_tests import SIGNIFICANCE
from actionrec.report import escape_markdown, p_value

DIFFERENCE_HEADER = ("difference, points", "95 % interval", "p (Holm)", "verdict")
DIFFERENCE_NOTE = (
    "The tests treat each source video as one unit ([details](../docs/protocols.md)). p is corrected over the table and intervals "
    "are not, so the interval of a tie can exclude 0. A tie means that no difference was found, not that there is none."
)


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


def difference_cells(difference: Difference, verdict: str | None = None) -> list[str]:
    """Cells under DIFFERENCE_HEADER; `verdict` replaces the difference's own."""
    ends = f"{points(difference.interval.low)} to {points(difference.interval.high)}"
    return [points(difference.points), ends, p_value(difference.p), verdict or difference.verdict]


def saved_run(context: EvaluationContext) -> str:
    """A remark for tables about one of several training runs; empty if there is only one."""
    return f"These numbers are from each model's saved run, one of {context.seeds}." if context.seeds > 1 else ""


def powerless(tests: int, context: EvaluationContext) -> str:
    """A warning if the tests cannot find even the largest difference, because there are too few source videos; else empty.

    There are 2 ** G ways to swap two models on G sources (10,000 random ones are used if there are more). Two of them are as
    extreme as a model that is better on every source, and Holm multiplies the smallest p by the number of tests.
    """
    least = 2 * tests / min(2**context.test_sources, RESAMPLES + 1)
    if least < SIGNIFICANCE:
        return ""
    return (
        f"**Too few source videos to find a difference**: the test clips come from {context.test_sources}. With {tests} "
        f"{'test' if tests == 1 else 'tests'}, the smallest possible p is {min(1.0, least):.2g}, even if one model is always right "
        "and the other always wrong. So every verdict here is a tie."
    )
