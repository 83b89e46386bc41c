"""Progress table of programs that run side by side: redrawn in place on a terminal, log lines elsewhere."""

import logging
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from actionrec.core.progress import SECONDS_BETWEEN_LINES

logger = logging.getLogger(__name__)

RUNNING = "running"
_SECONDS_BETWEEN_FRAMES = 0.5


@dataclass
class _Row:
    state: str = "waiting"
    note: str = ""
    start: float = 0.0
    """time.monotonic() when it began to run; 0 before."""
    seconds: float = 0.0


class ProgressTable:
    """One row a name: its state, its running time in seconds, and a note.

    A terminal that is high enough shows all rows, redrawn in place. Otherwise each change of state is logged, and each running
    row every ten seconds.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.rows = {name: _Row() for name in names}
        self.width = max(map(len, names))
        self.redraws = sys.stderr.isatty() and shutil.get_terminal_size().lines > len(names)
        self.drawn = False
        self.last = time.monotonic()

    def change(self, name: str, state: str, note: str = "") -> None:
        """Set the state of a row, and show it."""
        row = self.rows[name]
        if state == RUNNING:
            row.start = time.monotonic()
        elif row.start:
            row.seconds = time.monotonic() - row.start
        row.state, row.note = state, note
        if self.redraws:
            self._draw()
        else:
            logger.info("%s", self._line(name))

    def note(self, name: str, note: str) -> None:
        """Set the note of a running row; the next `refresh` shows it."""
        row = self.rows[name]
        row.note, row.seconds = note, time.monotonic() - row.start

    def refresh(self) -> None:
        """Show the running rows, unless they were shown a moment ago."""
        now = time.monotonic()
        if now - self.last < (_SECONDS_BETWEEN_FRAMES if self.redraws else SECONDS_BETWEEN_LINES):
            return
        self.last = now
        if self.redraws:
            self._draw()
            return
        for name, row in self.rows.items():
            if row.state == RUNNING:
                logger.info("%s", self._line(name))

    def in_state(self, *states: str) -> list[str]:
        return [name for name, row in self.rows.items() if row.state in states]

    def _line(self, name: str) -> str:
        row = self.rows[name]
        seconds = f"{row.seconds:.0f} s" if row.seconds else ""
        return f"{name:{self.width}}  {row.state:9}  {seconds:>7}  {row.note}".rstrip()

    def _draw(self) -> None:
        columns = shutil.get_terminal_size().columns
        back = f"\x1b[{len(self.rows)}F" if self.drawn else ""  # to the start of the line of the first row
        lines = "".join(f"\x1b[2K{self._line(name)[: columns - 1]}\n" for name in self.rows)
        sys.stderr.write(back + lines)
        sys.stderr.flush()
        self.drawn = True
