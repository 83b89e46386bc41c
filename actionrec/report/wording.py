"""What all sections of the report say in the same words: titles, names, intervals, differences."""

from collections.abc import Sequence

from actionrec.evaluation.analyses import Difference
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.intervals_and_tests import RESAMPLES, SIGNIFICANCE, Interval
from actionrec.report import escape_markdown, p_value, percent, shorten

DIFFERENCE_HEADER = ("difference, points", "95 % interval", "p (Holm)", "verdict")
DIFFERENCE_NOTE = (
    "Each test takes whole source videos as its units ([how](../docs/protocols.md)); p is corrected over the table, intervals are "
    "not, so that a tie may have one without 0. A tie is a difference that is not shown, not one that is shown to be none."
)


def section(title: str, *parts: str) -> str:
    """A section: its title, and what there is of its parts, as paragraphs."""
    return "\n\n".join([f"## {title}", *filter(None, parts)])


def bullets(points: Sequence[str]) -> str:
    return "\n".join(f"- {point}" for point in points)


def protocol(context: EvaluationContext) -> str:
    """What every table of numbers holds for."""
    return f"Protocol: {escape_markdown(context.phrase)}."


def clean(name: str, limit: int = 60) -> str:
    """A name on one line, cut to `limit` characters, that cannot upset a table or a terminal."""
    return escape_markdown(shorten(name, limit))


def listed(names: Sequence[str]) -> str:
    """At least one name.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def span(interval: Interval) -> str:
    """An interval of a share, in percent."""
    return f"{percent(interval.low)}–{percent(interval.high)}"


def points(share: float) -> str:
    """A difference of shares, in points with their sign; never -0.0.

    >>> points(-0.0001)
    '+0.0'
    """
    return f"{round(100 * share, 1) + 0.0:+.1f}"


def difference_cells(difference: Difference, verdict: str | None = None) -> list[str]:
    """Cells under DIFFERENCE_HEADER; the verdict is the difference's own if none is given."""
    ends = f"{points(difference.interval.low)} to {points(difference.interval.high)}"
    return [points(difference.points), ends, p_value(difference.p), verdict or difference.verdict]


def saved_run(context: EvaluationContext) -> str:
    """Says, where each model was trained several times, that a table is about one of these runs."""
    return f"Of each model's saved run, one of {context.seeds}." if context.seeds > 1 else ""


def powerless(tests: int, context: EvaluationContext) -> str:
    """Says so if not even the largest difference could be shown by so many tests on whole sources; else nothing.

    Of the 2 ** G ways to exchange two models on G sources (10,000 of them where there are more), two are as far from chance as
    a model that is better on every source, and Holm multiplies the smallest p by the number of tests.
    """
    least = 2 * tests / min(2**context.test_sources, RESAMPLES + 1)
    if least < SIGNIFICANCE:
        return ""
    return (
        f"**Too few sources to show anything**: the test clips come from {context.test_sources}, and after {tests} "
        f"{'test' if tests == 1 else 'tests'} the smallest p there can be is {min(1.0, least):.2g}, even for a way that is always "
        "right against one that is always wrong. Every verdict here is a tie by necessity."
    )
