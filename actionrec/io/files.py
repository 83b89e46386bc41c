"""Atomic writing of files and folders, and small formats: JSON, CSV, checksums."""

import csv
import glob
import hashlib
import io
import json
import math
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from actionrec.core.errors import REPAIR, DataError
from actionrec.core.process_lifetime import is_running
from actionrec.core.text import printable, shortened
from actionrec.io.tar_member import ClipFile

LARGEST_JSON = 32 << 20  # bytes
_MOST_DIGITS = 40  # of a whole number

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?", re.ASCII)
_FORMULA = re.compile(r"(?:^|(?<=;))(?=\s*[=+@\-\uff1d\uff0b\uff20\uff0d])")  # also in the full width of East Asian scripts


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a draft beside `path`. It replaces `path` when the block ends, and is removed if the block fails."""
    draft = _draft_of(path)
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty draft folder. It replaces `path` when the block ends, and is removed if the block fails."""
    draft = _draft_of(path)
    draft.mkdir()
    try:
        yield draft
        if path.exists():
            shutil.rmtree(path)
        draft.replace(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _draft_of(path: Path) -> Path:
    """Path of this process's draft of `path`. Creates its folder, and removes the drafts of killed processes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before, after = f".{path.name}.", ".draft"
    for left in path.parent.glob(f"{glob.escape(before)}*{after}"):
        # Of `.a.b.7.draft`, "b.7" remains for `a`, which is not a process ID: the draft belongs to `a.b`.
        process = left.name.removeprefix(before).removesuffix(after)
        if process.isdecimal() and (int(process) == os.getpid() or not is_running(int(process))):
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
    return path.with_name(f"{before}{os.getpid()}{after}")


def write_text(path: Path, text: str) -> None:
    with whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON; keys keep their order. NaN and infinity raise ValueError, since JSON does not have them."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: it is missing, too long, or not JSON.
    """
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError(f"larger than {LARGEST_JSON >> 20} MiB")
        return parse_json(_read_text(path))
    except FileNotFoundError:
        raise DataError(f"{path} is missing. Run `dvc repro` to make it.") from None
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error}). {REPAIR}") from None


def parse_json(text: str | bytes) -> Any:
    """Parse JSON from an untrusted source.

    Raises:
        ValueError: it is not JSON, is nested too deeply, or contains a number that is not finite or has too many digits.
    """
    try:
        return json.loads(text, parse_int=_whole_number, parse_float=_finite_number, parse_constant=_finite_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _whole_number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits")
    return int(digits)


def _finite_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {shortened(text)} is not finite")
    return number


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write RFC 4180 CSV in UTF-8, with "\\n" line ends, for programs: `read_csv` returns every cell unchanged.

    Used for data/clips.csv, data/split.csv and ledger.csv, because stages look up files by their clip ids.
    """
    with whole_file(path) as draft, draft.open("w", encoding="utf-8", newline="") as stream:
        _write_rows(stream, chain([header], rows))


def write_spreadsheet(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write CSV for people. Texts pass through `spreadsheet_cell`, so that a spreadsheet never runs one as a formula.

    Used for tables of results and of `inspect`.
    """
    with whole_file(path) as draft, draft.open("w", encoding="utf-8", newline="") as stream:
        write_rows_for_spreadsheets(stream, chain([header], rows))


def write_rows_for_spreadsheets(stream: TextIO, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows; texts pass through `spreadsheet_cell`, numbers are unchanged."""
    _write_rows(stream, ([spreadsheet_cell(cell) if isinstance(cell, str) else cell for cell in row] for row in rows))


def spreadsheet_cell(text: str) -> str:
    """Put an apostrophe before text that a spreadsheet would run as a formula. Numbers stay numbers.

    Unprintable characters become escapes. In many countries' settings a semicolon starts a new cell, so text after one is
    treated alike.

    >>> spreadsheet_cell("=HYPERLINK(A1)"), spreadsheet_cell("-0.5"), spreadsheet_cell("pull-ups")
    ("'=HYPERLINK(A1)", '-0.5', 'pull-ups')
    """
    return text if _NUMBER.fullmatch(text) else _FORMULA.sub("'", printable(text))


def _write_rows(stream: TextIO, rows: Iterable[Sequence[Any]]) -> None:
    csv.writer(Rows(stream), lineterminator="\r\n").writerows(rows)


class Rows:
    """Writes "\\r\\n" line ends as "\\n". Before Python 3.13, csv quotes a "\\r" in a field only if the line end has one."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, row: str) -> int:
        return self.stream.write(row.removesuffix("\r\n") + "\n")


def read_csv(path: Path, header: Sequence[str]) -> list[dict[str, str]]:
    """Read rows as dictionaries.

    Raises:
        DataError: the file is missing, its first line is not `header`, or a row has more or fewer fields.
    """
    rows = csv.DictReader(io.StringIO(_read_text(path), newline=""))
    if rows.fieldnames is None or list(rows.fieldnames) != list(header):
        got = ",".join(rows.fieldnames or [])
        raise DataError(f"{path}: the header is '{got}', not '{','.join(header)}'. Run `dvc repro` to recompute it.")
    read = list(rows)
    if any(None in row or None in row.values() for row in read):
        raise DataError(f"{path} is damaged: a row has more or fewer than {len(header)} fields. {REPAIR}")
    return read


def _read_text(path: Path) -> str:
    try:
        # newline="" keeps line ends inside quoted CSV fields as they are.
        with path.open(encoding="utf-8", newline="") as stream:
            return stream.read()
    except FileNotFoundError:
        raise DataError(f"{path} is missing. Run `dvc repro` to make it.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is damaged: not valid UTF-8 ({error.reason}). {REPAIR}") from None


def sha256_of(path: ClipFile) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(value: Mapping[str, Any]) -> str:
    """SHA-256 of a mapping of JSON values, independent of the order of its keys, in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()
