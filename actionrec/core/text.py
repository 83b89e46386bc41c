"""Text for people: percentages, and names that fit on one line."""

from actionrec.core.errors import printable


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
