"""A clock that tests advance, and programs that run on a pseudo-terminal."""

import os
import pty
import subprocess
import sys
import termios


class Clock:
    """Replaces the time module: only tests advance it."""

    now = 100.0

    def monotonic(self):
        return self.now


def terminal_output(code: str, lines: int = 24) -> str:
    """Run Python code on a terminal of 40 columns; return what it prints."""
    ours, programs = pty.openpty()
    termios.tcsetwinsize(programs, (lines, 40))
    environment = {name: value for name, value in os.environ.items() if name not in ("LINES", "COLUMNS")}
    command = [sys.executable, "-c", code]
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            subprocess.run(command, stdin=programs, stdout=programs, stderr=programs, env=environment, check=True, timeout=60)
            return terminal.read(65536).decode()
        finally:
            os.close(programs)
