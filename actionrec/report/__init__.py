"""The comparison for people, spreadsheets and papers. Accuracies are in percent here.

All of it carries timings, so it changes from run to run; compare.json does not.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """One model's training."""

    train_seconds: float
    clips_per_second: float
    device: str


def percent(share: float) -> str:
    """A share from 0 to 1 as a percentage with one decimal."""
    return f"{100 * share:.1f}"


def shorten(name: str, limit: int) -> str:
    """Fit a name into `limit` characters on one line, with an ellipsis in its middle, as names often differ at their ends.

    >>> shorten("PlayingTheVeryLongGuitar", 12)
    'Playin…uitar'
    """
    line = " ".join(name.split())
    if len(line) <= limit:
        return line
    tail = (limit - 1) // 2
    return f"{line[: limit - 1 - tail]}…{line[len(line) - tail :]}"
