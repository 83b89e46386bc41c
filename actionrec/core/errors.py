"""The errors that a person can fix: bad parameters, files, data. Anything else is a defect and keeps its traceback.

Messages quote names and values that others chose; `printable`, `quoted` and `first_few` make them safe and short.
"""

import re
import reprlib
import unicodedata
from collections.abc import Sequence
from typing import Any

# Letters and marks that show as nothing, or as a blank: fillers, joiners, variation selectors, the empty Braille pattern.
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
_LONGEST_QUOTE = 80

REPAIR = "Run `python -m actionrec repair`."
"""The next step where a file that a stage made is damaged; `dvc repro -f` would bring the damage back from DVC's cache."""


MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What code raises that reads a record of which an entry is missing or of another kind."""


class ActionrecError(Exception):
    """What is wrong, where, what was wanted, and the next step, in words for the person who runs the program."""


class ParamsError(ActionrecError):
    """params.yaml has unknown, missing or ill-typed keys, or values out of range."""


class DataError(ActionrecError):
    """The data set's folder, or a file that an earlier stage made, is not what it should be."""


class VideoError(ActionrecError):
    """A clip cannot be decoded, or too many of them cannot.

    Args:
        header_frames: what the file's header claims, where it could be read.
        decoded_frames: how many frames could be read.
    """

    def __init__(self, message: str, *, header_frames: int = 0, decoded_frames: int = 0) -> None:
        super().__init__(message)
        self.header_frames = header_frames
        self.decoded_frames = decoded_frames


class WeightsError(ActionrecError):
    """A backbone's or a model's weights are missing, damaged, or made for something else."""


class TrainingError(ActionrecError):
    """Training cannot start or go on."""


def is_printable(sign: str) -> bool:
    """Whether a character shows as itself: not a control, bidirectional or zero-width one, nor half of a surrogate pair."""
    if sign.isascii():
        return " " <= sign <= "~"
    return (sign.isprintable() or unicodedata.category(sign) == "Zs") and not _INVISIBLE.match(sign)


def printable(text: str, keep: str = "") -> str:
    r"""Show what does not print as an escape, so that no name can upset a terminal or look like another name.

    Args:
        keep: characters to leave as they are, such as line feeds.

    >>> printable("red\x1b[31m")
    'red\\x1b[31m'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(sign if is_printable(sign) or sign in keep else ascii(sign)[1:-1] for sign in text)


def printable_lines(text: object) -> str:
    """The same for text of several lines, such as a message or a report."""
    return printable(str(text), keep="\n\t")


def shortened(text: str, limit: int = _LONGEST_QUOTE) -> str:
    """A name for a message: printable, and cut where it is too long."""
    shown = printable(text[: limit + 1])
    return shown if len(text) <= limit else f"{shown[:limit]}..."


def quoted(value: Any) -> str:
    """A value for a message, as Python writes it: printable, on one line, and cut where it is long or deep.

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
    """Names for a message: the first ones, and how many more there are.

    >>> first_few(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    return between.join(names[:limit]) + (f" and {len(names) - limit:,} more" if len(names) > limit else "")
