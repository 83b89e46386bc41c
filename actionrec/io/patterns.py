"""Search with regular expressions that users write, within a time limit.

With nested repetitions, one search can take years. The `regex` library accepts the syntax of Python's `re`, and has a time limit.
"""

import regex

from actionrec.core.errors import DataError
from actionrec.core.text import quoted

LONGEST = 1_000
"""Maximum length of a pattern, in characters."""

SECONDS_A_NAME = 1.0
"""Time limit of one search. A normal search takes microseconds."""


def check(pattern: str) -> None:
    """Raise an error if a text is not a regular expression.

    Raises:
        ValueError: it is not, or is longer than LONGEST.
    """
    if len(pattern) > LONGEST:
        raise ValueError(f"it has {len(pattern):,} characters, more than {LONGEST:,}")
    try:
        regex.compile(pattern)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (regex.error, OverflowError) as error:
        raise ValueError(str(error)) from None


def search(pattern: str, name: str) -> "regex.Match[str] | None":
    """Find the first match of a pattern in a name.

    Raises:
        DataError: the search takes longer than SECONDS_A_NAME.
    """
    try:
        return regex.search(pattern, name, timeout=SECONDS_A_NAME)
    except TimeoutError:
        raise DataError(
            f"data.group (or --group): the pattern {quoted(pattern)} takes more than {SECONDS_A_NAME:g} s on the "
            f"name {quoted(name)}. Write it without a repetition inside a repetition, such as (a+)+."
        ) from None
