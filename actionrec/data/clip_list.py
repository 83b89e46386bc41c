"""clips.csv in a data set's folder: the list of its clips, `clip,label[,group][,subset]`. They may be in any folders or shards."""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from actionrec.core.errors import DataError
from actionrec.core.text import first_few

INDEX = "clips.csv"

_SUBSETS = ("train", "val", "test", "")


@dataclass(frozen=True)
class Row:
    """One row of a list of clips."""

    id: str
    label: str
    group: str
    """Empty if the list does not name one."""
    subset: str
    """train, val or test; empty if the clip is not used, or the list has no such column."""


def read_index(folder: Path, exists: Callable[[str], bool] | None = None) -> list[Row]:
    """Read `<folder>/clips.csv`, in its order.

    Args:
        exists: whether a clip of this id exists; None does not ask.

    Raises:
        DataError: columns or values are missing, or clips are missing or duplicate; lists all errors.
    """
    path = folder / INDEX
    try:
        text = path.read_text(encoding="utf-8-sig")
        table = csv.DictReader(io.StringIO(text), delimiter=_delimiter(text))
        columns, lines = list(table.fieldnames or []), list(table)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8 ({error}). Save it in that format.") from None
    if not {"clip", "label"} <= set(columns):
        raise DataError(f"{path}: got the columns {','.join(columns)}, expected clip,label and optionally group,subset. Add them.")
    rows, problems, seen = [], [], set()
    for number, line in enumerate(lines, start=2):
        cell = {key: (line.get(key) or "").strip() for key in ("clip", "label", "group", "subset")}
        clip = cell["clip"].removeprefix("./")
        parts = clip.split("/")
        where = f"line {number}"
        if not clip or not cell["label"]:
            problems.append(f"{where}: no {'label' if clip else 'clip'}")
        elif clip.startswith("/") or {"", ".", ".."} & set(parts):
            problems.append(f"{where}: {clip!r} must be a path below {folder}")
        elif exists is not None and not exists(clip):
            problems.append(f"{where}: {clip!r} is missing")
        elif clip in seen:
            problems.append(f"{where}: {clip!r} is a duplicate")
        if cell["subset"] not in _SUBSETS:
            problems.append(f"{where}: subset must be train, val, test or empty; got {cell['subset']!r}")
        seen.add(clip)
        rows.append(Row(clip, cell["label"], cell["group"], cell["subset"]))
    if problems:
        raise DataError(f"{path} has {len(problems)} errors: {first_few(problems, 10)}. Fix them and rerun.")
    classes = sorted({row.label for row in rows})
    if len(classes) < 2:
        raise DataError(f"{path}: got clips of {first_few(classes) or 'no class'}, expected at least two classes. Add clips.")
    return rows


def _delimiter(text: str) -> str:
    """The separator of a table's columns: a comma, or a tab or semicolon, as some spreadsheets write."""
    header = text.partition("\n")[0]
    return max(",\t;", key=header.count)  # a comma if there is none
