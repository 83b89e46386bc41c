"""Progress of long work: a bar on a terminal, and elsewhere a line every ten seconds with rate and time left."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress(what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told how many units are done since its last call."""
    if sys.stderr.isatty():
        with tqdm(desc=what, total=total, unit=unit, dynamic_ncols=True, leave=False) as bar:
            yield lambda done: (bar.update(done), None)[1]
    else:
        lines = _Lines(what, total, unit)
        yield lines.advance


class _Lines:
    def __init__(self, what: str, total: int, unit: str) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = 0
        self.start = self.last = time.monotonic()

    def advance(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if now - self.last < SECONDS_BETWEEN_LINES or self.done >= self.total:
            return
        self.last = now
        rate = self.done / (now - self.start)
        left = f"{(self.total - self.done) / rate:.0f} s left" if rate else "time left unknown"
        logger.info("%s: %d of %d %ss, %.1f a second, %s", self.what, self.done, self.total, self.unit, rate, left)
