"""Progress of long work: a bar on a terminal; elsewhere a log line every ten seconds, with rate and time left."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from actionrec.core.text import printable

logger = logging.getLogger(__name__)

Advance = Callable[[int], None]
"""Adds a count of finished units to the progress."""

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress(description: str, total: int | None, unit: str, *, done: int = 0) -> Iterator[Advance]:
    """Show progress; yield the function that adds finished units.

    Args:
        total: number of units; None if unknown.
        unit: a word whose plural ends in s, or a symbol such as MB.
        done: number of units that an earlier run finished.
    """
    description = printable(description)
    if sys.stderr.isatty():
        with tqdm(desc=description, total=total, unit=unit, initial=done, dynamic_ncols=True, leave=False) as bar:
            yield lambda count: (bar.update(count), None)[1]
    else:
        lines = _Lines(description, total, unit, done)
        yield lines.advance


class _Lines:
    def __init__(self, description: str, total: int | None, unit: str, done: int) -> None:
        self.description, self.total = description, total
        self.units = unit if unit.isupper() else f"{unit}s"
        self.before = self.done = done
        self.start = self.last = time.monotonic()

    def advance(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if now - self.last < SECONDS_BETWEEN_LINES or (self.total is not None and self.done >= self.total):
            return
        self.last = now
        counted, seconds = self.done - self.before, now - self.start
        if self.total is None:
            logger.info("%s: %d %s, %s", self.description, self.done, self.units, rate_text(counted, seconds))
            return
        left = f"{(self.total - self.done) * seconds / counted:.0f} s left" if counted else "time left unknown"
        speed = rate_text(counted, seconds)
        logger.info("%s: %d of %d %s, %s, %s", self.description, self.done, self.total, self.units, speed, left)


def rate_text(count: int, seconds: float) -> str:
    """The rate in words: per second, or seconds for each if it is below 1 a second.

    >>> rate_text(30, 10), rate_text(2, 10)
    ('3.0 a second', '5.0 s each')
    """
    return f"{seconds / count:.1f} s each" if 0 < count < seconds else f"{count / seconds:.1f} a second"
