"""What commands share: whole numbers as arguments, folders for results, and printing."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from actionrec.core.errors import DataError
from actionrec.core.text import is_printable, printable_lines, quoted

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


def share(text: str) -> float:
    """A share from 0 to 1, as an argument."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"wanted a share from 0 to 1; got {text!r}")
    return value


def pattern(text: str) -> str:
    """A regular expression, as an argument."""
    from actionrec.io import patterns

    try:
        patterns.check(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is not a regular expression: {error}") from None
    return text


def check_model(name: str | None) -> None:
    """Refuse an empty name, which a shell makes of a variable that is not set."""
    if name is not None and not name.strip():
        raise DataError("--model is empty. Name a model, such as gru, or a bundle's folder.")


def make_writable(folder: Path) -> None:
    """Make a folder where there is none, before the work whose results it is for."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: no folder can be made there ({error.strerror}). Choose another with --output.") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"{folder} cannot be written to (permission denied). Choose another with --output.")


def say(text: str) -> None:
    """Print a command's result, whatever the terminal's encoding; a reader such as `head` may leave before the end.

    Text for people is printable already. In JSON such characters may stand in strings, where their escapes mean the same.
    """
    text = "".join(sign if sign == "\n" or is_printable(sign) else json.dumps(sign)[1:-1] for sign in text)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        with _beside_bars():
            sys.stdout.write(text)
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends
        raise SystemExit(0) from None  # nobody reads the rest


def complain(error: Exception) -> None:
    """Print an error that does not end the command."""
    with _beside_bars():
        sys.stderr.write(f"error: {printable_lines(error)}\n")


@contextmanager
def _beside_bars() -> Iterator[None]:
    """Clear progress bars from the terminal while something else is written to it."""
    from tqdm import tqdm

    with tqdm.external_write_mode():
        yield
