"""Text for messages: names and values from outside, made printable and short."""

import re
import reprlib
import unicodedata
from collections.abc import Sequence
from typing import Any

# Letters and marks that look like nothing or like a blank: fillers, joiners, variation selectors, the empty Braille pattern.
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
_LONGEST_QUOTE = 80


def is_printable(sign: str) -> bool:
    """Whether a character is visible: not a control, bidirectional or zero-width character, nor half of a surrogate pair."""
    if sign.isascii():
        return " " <= sign <= "~"
    return (sign.isprintable() or unicodedata.category(sign) == "Zs") and not _INVISIBLE.match(sign)


def printable(text: str, keep: str = "") -> str:
    r"""Replace unprintable characters by escapes, so that no name can disturb a terminal or look like another name.

    Args:
        keep: characters to leave as they are, such as line feeds.

    >>> printable("red\x1b[31m")
    'red\\x1b[31m'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(sign if is_printable(sign) or sign in keep else ascii(sign)[1:-1] for sign in text)


def printable_lines(text: object) -> str:
    """`printable` for text of several lines, such as a message or a report."""
    return printable(str(text), keep="\n\t")


def shortened(text: str, limit: int = _LONGEST_QUOTE) -> str:
    """A name for a message: printable, and cut if it is too long."""
    start = printable(text[: limit + 1])
    return start if len(text) <= limit else f"{start[:limit]}..."


def quoted(value: Any) -> str:
    """A value for a message, as Python writes it: printable, on one line, and cut if it is long or nested deeply.

    >>> quoted([1, "a"])
    "[1, 'a']"
    """
    try:
        return shortened(_brief.repr(value), 2 * _LONGEST_QUOTE)
    except ValueError:  # Python refuses to write numbers of more than 4,300 digits
        return f"a value of type {type(value).__name__} that is too long to show"


_brief = reprlib.Repr()
_brief.maxlevel = 3
_brief.maxstring = _brief.maxlong = _brief.maxother = _LONGEST_QUOTE


def first_few(names: Sequence[str], limit: int = 5, between: str = ", ") -> str:
    """Names for a message: the first ones, and the number of the others.

    >>> first_few(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    return between.join(names[:limit]) + (f" and {len(names) - limit:,} more" if len(names) > limit else "")


def percent(share: float) -> str:
    """A share from 0 to 1 as a percentage with one decimal."""
    return f"{100 * share:.1f}"


def on_one_line(text: str) -> str:
    """Text without line breaks, in which every character shows: control and bidirectional ones as their escapes."""
    return printable(" ".join(text.split()))


def shorten(name: str, limit: int) -> str:
    """Fit a name into `limit` characters on one line, with an ellipsis in its middle, as names often differ at their ends.

    >>> shorten("PlayingTheVeryLongGuitar", 12)
    'Playin…uitar'
    """
    line = on_one_line(name)
    if len(line) <= limit:
        return line
    tail = (limit - 1) // 2
    return f"{line[: limit - 1 - tail]}…{line[len(line) - tail :]}"
