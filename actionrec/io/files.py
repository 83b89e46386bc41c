"""Files that are whole or absent, and the small formats that stages exchange: JSON, CSV, hashes."""

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

LARGEST_JSON = 32 << 20  # bytes
_MOST_DIGITS = 40  # of a whole number

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?", re.ASCII)
_FORMULA = re.compile(r"(?:^|(?<=;))(?=\s*[=+@\-\uff1d\uff0b\uff20\uff0d])")  # also in the full width of East Asian scripts


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a draft beside `path` that takes its place when the block ends, and goes when the block fails."""
    draft = _draft_of(path)
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty draft folder that becomes `path`, replacing it, when the block ends, and goes when the block fails."""
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
    """Name this process's draft of `path`, in a folder that is there, without what runs that were killed left of theirs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before, after = f".{path.name}.", ".draft"
    for left in path.parent.glob(f"{glob.escape(before)}*{after}"):
        process = left.name.removeprefix(before).removesuffix(after)  # of `a`, `.a.b.7.draft` is none: it is one of `a.b`
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
    """Write indented JSON; keys keep the order given. NaN and infinity are refused, since they are no JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a file of JSON.

    Raises:
        DataError: it is missing, too long, or not JSON.
    """
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError(f"it has more than {LARGEST_JSON >> 20} MiB")
        return parse_json(_read_text(path))
    except FileNotFoundError:
        raise DataError(f"{path} is missing. Run `dvc repro` to make it.") from None
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error}). {REPAIR}") from None


def parse_json(text: str | bytes) -> Any:
    """Parse JSON that others may have written.

    Raises:
        ValueError: it is not JSON, is nested hundreds of levels deep, or has a number that is not finite or has many digits.
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
    """Write RFC 4180 CSV in UTF-8, with "\\n" line ends, for programs: `read_csv` gives back every cell as it was.

    So do data/clips.csv, data/split.csv and ledger.csv: their clip ids are the names of files, which stages look up.
    """
    with whole_file(path) as draft, draft.open("w", encoding="utf-8", newline="") as stream:
        _write_rows(stream, chain([header], rows))


def write_spreadsheet(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write CSV as `write_csv` does, for people: a spreadsheet shows each cell, and never runs one as a formula.

    Tables of results and of `inspect` are such files. Their texts are shown as `spreadsheet_cell` has them.
    """
    with whole_file(path) as draft, draft.open("w", encoding="utf-8", newline="") as stream:
        write_rows_for_spreadsheets(stream, chain([header], rows))


def write_rows_for_spreadsheets(stream: TextIO, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows in which text is as `spreadsheet_cell` has it, and numbers are as they are."""
    _write_rows(stream, ([spreadsheet_cell(cell) if isinstance(cell, str) else cell for cell in row] for row in rows))


def spreadsheet_cell(text: str) -> str:
    """Text that a spreadsheet shows and does not run: an apostrophe stands before what starts a formula.

    Characters that do not print are shown as escapes. A semicolon or tab starts a new cell in many countries' settings, so that
    what follows it counts as a start, too. Numbers stay numbers.

    >>> spreadsheet_cell("=HYPERLINK(A1)"), spreadsheet_cell("-0.5"), spreadsheet_cell("pull-ups")
    ("'=HYPERLINK(A1)", '-0.5', 'pull-ups')
    """
    return text if _NUMBER.fullmatch(text) else _FORMULA.sub("'", printable(text))


def _write_rows(stream: TextIO, rows: Iterable[Sequence[Any]]) -> None:
    csv.writer(Rows(stream), lineterminator="\r\n").writerows(rows)


class Rows:
    """Until Python 3.13, csv quotes a "\\r" in a field only if its own line end has one: it gets "\\r\\n", written as "\\n"."""

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
        raise DataError(f"{path}: the header is '{got}', not '{','.join(header)}'. Run `dvc repro` to make it again.")
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
        raise DataError(f"{path} is damaged: no valid UTF-8 ({error.reason}). {REPAIR}") from None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(value: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON-able mapping, whatever the order of its keys, in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()
