"""Progress of long work: a bar on a terminal, and elsewhere a line every ten seconds with rate and time left."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from actionrec.core.errors import printable

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress(what: str, total: int | None, unit: str, *, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told how many units are done since its last call.

    Args:
        total: how many there are; None where nobody knows.
        unit: a word that takes an s, or a symbol such as MB.
        done: how many an earlier run did.
    """
    what = printable(what)
    if sys.stderr.isatty():
        with tqdm(desc=what, total=total, unit=unit, initial=done, dynamic_ncols=True, leave=False) as bar:
            yield lambda count: (bar.update(count), None)[1]
    else:
        lines = _Lines(what, total, unit, done)
        yield lines.advance


class _Lines:
    def __init__(self, what: str, total: int | None, unit: str, done: int) -> None:
        self.what, self.total = what, total
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
            logger.info("%s: %d %s, %.1f a second", self.what, self.done, self.units, rate)
            return
        left = f"{(self.total - self.done) / rate:.0f} s left" if rate else "time left unknown"
        logger.info("%s: %d of %d %s, %.1f a second, %s", self.what, self.done, self.total, self.units, rate, left)
