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
        rate = (self.done - self.before) / (now - self.start)
        if self.total is None:
            logger.info("%s: %d %s, %.1f a second", self.description, self.done, self.units, rate)
            return
        left = f"{(self.total - self.done) / rate:.0f} s left" if rate else "time left unknown"
        logger.info("%s: %d of %d %s, %.1f a second, %s", self.description, self.done, self.total, self.units, rate, left)
