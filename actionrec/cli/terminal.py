"""Argument types, output folders and printing, shared by the commands."""

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
"""The object of `argparse` that commands are added to."""


def add(commands: Commands, name: str, what: str, more: str = "") -> argparse.ArgumentParser:
    """Add a command.

    Args:
        what: its purpose, for the list of commands.
        more: further sentences for the command's own help.
    """
    return commands.add_parser(name, help=what, description=" ".join(filter(None, [f"{what[0].upper()}{what[1:]}.", more])))


def positive(text: str) -> int:
    """Argument type: a whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1; got {text!r}")
    return int(text)


def share(text: str) -> float:
    """Argument type: a share from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1; got {text!r}")
    return value


def pattern(text: str) -> str:
    """Argument type: a regular expression."""
    from actionrec.io import patterns

    try:
        patterns.check(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is not a regular expression: {error}") from None
    return text


def check_model(name: str | None) -> None:
    """Raise an error for an empty name, as a shell passes for an unset variable."""
    if name is not None and not name.strip():
        raise DataError("--model is empty. Name a model, such as gru, or a bundle's folder.")


def make_writable(folder: Path) -> None:
    """Create the output folder if it is missing, before the work starts."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be created ({error.strerror}). Choose another with --output.") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"{folder} cannot be written to (permission denied). Choose another with --output.")


def say(text: str) -> None:
    """Print a command's result. Works with any terminal encoding, and with readers such as `head` that stop early.

    Text for people is printable already. In JSON, escapes of unprintable characters mean the same as the characters.
    """
    text = "".join(sign if sign == "\n" or is_printable(sign) else json.dumps(sign)[1:-1] for sign in text)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        with _beside_bars():
            sys.stdout.write(text)
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # otherwise Python prints an error when it exits
        raise SystemExit(0) from None


def complain(error: Exception) -> None:
    """Print an error that does not end the command."""
    with _beside_bars():
        sys.stderr.write(f"error: {printable_lines(error)}\n")


@contextmanager
def _beside_bars() -> Iterator[None]:
    """Hide progress bars while other text is written to the terminal."""
    from tqdm import tqdm

    with tqdm.external_write_mode():
        yield
