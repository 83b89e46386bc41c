"""A real server in a process of its own, as `serve` starts it."""

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]


@contextmanager
def serving(*arguments, folder=ROOT, script=None, environment=None):
    """Start `serve` on a free port, or another script, in a folder; yield its address, and end it as Ctrl-C does."""
    command = [sys.executable, *(script or ["-m", "actionrec", "serve", "--port", "0"]), *map(str, arguments)]
    environment = {"PYTHONPATH": str(ROOT), **os.environ, **(environment or {})}
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.match(r"(http://\S+) shows the page", line):
                yield found[1]
                break
        else:
            raise AssertionError("".join(said))
    finally:
        process.send_signal(2)
        said.append(process.stderr.read())
        status = process.wait(timeout=20)
        process.stderr.close()
    assert status == 0, "".join(said)
    assert "Traceback" not in "".join(said)
