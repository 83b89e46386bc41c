"""Run a command of the command line in this process: a new one imports torch for seconds."""

import contextlib
import io
import logging
import subprocess
import sys
from unittest import mock

from actionrec.cli import main


def actionrec(*arguments, cwd):
    """Run `actionrec` with these arguments in a folder; return its exit status and what it prints."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    root = logging.getLogger()
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", ["actionrec", *map(str, arguments)]),
        mock.patch.object(root, "handlers", []),
    ):
        level, status = root.level, 0
        try:
            main.main()
        except SystemExit as end:
            status = end.code
        finally:
            root.setLevel(level)
    stdout, stderr = (stream.buffer.getvalue().decode("utf-8", "surrogateescape") for stream in (out, err))
    return subprocess.CompletedProcess(arguments, status, stdout, stderr)
