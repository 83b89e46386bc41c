"""What commands share: whole numbers as arguments, folders for results, and printing."""

import argparse
import os
import sys
from pathlib import Path
from typing import TypeAlias

from actionrec.errors import DataError

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What `argparse` adds commands to."""


def add(commands: Commands, name: str, what: str, more: str = "") -> argparse.ArgumentParser:
    """Add a command.

    Args:
        what: what it does, in a phrase for the list of commands.
        more: a sentence after it in the command's own help.
    """
    return commands.add_parser(name, help=what, description=" ".join(filter(None, [f"{what[0].upper()}{what[1:]}.", more])))


def positive(text: str) -> int:
    """A whole number from 1, as an argument."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"wanted a whole number from 1; got {text!r}")
    return int(text)


def make_writable(folder: Path) -> None:
    """Make a folder where there is none, before the work whose results it is for."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: no folder can be made there ({error.strerror}). Choose another with --output.") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"{folder} cannot be written to (permission denied). Choose another with --output.")


def say(text: str) -> None:
    """Print a command's result, whatever the terminal's encoding; a reader such as `head` may leave before the end."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends
