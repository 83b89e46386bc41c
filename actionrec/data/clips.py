"""Find and describe the clips of a data set: from a folder with one folder a class, or from a list beside the clips.

A clip is one video file; its id is its path below the data set's folder, with `/`. Its class is the folder's name. Its group is
the source video or person that it was cut from, read from its name: `_g<number>_c` as in UCF-50 and UCF-101, the text before
the class as in HMDB-51, or a regular expression of one's own. A clip whose name has no group is a group of its own.

Where the folder has a `clips.csv` (`clip,label[,group][,subset]`), that file lists the clips, in whatever folders.
"""

import csv
import io
import logging
import re
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actionrec.core.errors import DataError
from actionrec.core.text import first_few
from actionrec.io import machine, patterns
from actionrec.io.files import read_csv, sha256_of, write_csv

logger = logging.getLogger(__name__)

SUFFIXES = (
    ".avi",
    ".mp4",
    ".mov",
    ".mkv",
    ".webm",
    ".mpg",
    ".mpeg",
    ".m4v",
    ".wmv",
    ".flv",
    ".3gp",
    ".ts",
    ".mts",
    ".m2ts",
    ".ogv",
)
HEADER = ("clip", "label", "group", "bytes", "sha256")

INDEX = "clips.csv"
"""A list beside the clips."""

_UCF = re.compile(r"_g(\d+)_c", re.IGNORECASE)
# Source, action, visible body parts, camera motion, people, viewpoint, quality, number.
_HMDB = re.compile(r"(.+)_[fhlu]_(?:cm|nm)_np\d+_(?:ba|fr|le|ri)_(?:bad|goo|med)_\d+\.\w+", re.IGNORECASE)
_SUBSETS = ("train", "val", "test", "")


@dataclass(frozen=True)
class Clip:
    """One video file of a data set: a row of data/clips.csv."""

    id: str
    """Path below the data set's folder, with `/`."""
    label: str
    """Class name."""
    group: str
    """`g07` for UCF's `_g07_c`; the clip's id where the name has no group."""
    bytes: int
    sha256: str

    @property
    def cluster(self) -> tuple[str, str]:
        """The source video or person: clips of one cluster are siblings, and are right or wrong together.

        UCF's group numbers start anew in each class, so there it is the class and the group. Every other group (HMDB-51's,
        data.group's, clips.csv's) is a video or a person by itself, in whatever classes it has clips.
        """
        return (self.label if _is_ucf(self.group, self.id) else "", self.group)


@dataclass(frozen=True)
class Row:
    """One line of a list beside the clips."""

    id: str
    label: str
    group: str
    """Empty where the list tells none."""
    subset: str
    """train, val, test, or empty: for none, or where the list has no such column."""


def find_clips(folder: Path, group_pattern: str | None = None) -> list[Clip]:
    """Find and hash the clips of `<folder>/<Class>/<clip>`, or those that `<folder>/clips.csv` lists; sorted by id.

    Hidden files and text files are passed over, and folders with nothing else; other stray files, empty classes and folders
    within classes are reported and passed over.

    Args:
        group_pattern: see `group_of`.

    Raises:
        DataError: no such folder, fewer than two classes with clips, a list with flaws, a file that cannot be read, or a name
            that is no UTF-8.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder. Put the clips there, one folder a class ({folder}/<Class>/<clip>.avi), or link to "
            f"them: ln -s /path/to/clips {folder}; or set data.dataset in params.yaml to a folder that is there."
        )
    rows = read_index(folder) if (folder / INDEX).is_file() else _walk(folder)
    with ThreadPoolExecutor(machine.workers()) as pool:
        clips = list(pool.map(lambda row: _read(row, folder, group_pattern), rows))
    given = {clip.group for clip, row in zip(clips, rows, strict=True) if row.group or group_pattern is not None}
    return sorted((_across_classes(clip, given) for clip in clips), key=lambda clip: clip.id)


def _across_classes(clip: Clip, given: Collection[str]) -> Clip:
    """The clip; a group that was given and reads like the one in a UCF name (`g07`) gets another text, as it spans classes."""
    return replace(clip, group=f"{clip.group} (all classes)") if clip.group in given and _is_ucf(clip.group, clip.id) else clip


def read_index(folder: Path) -> list[Row]:
    """Read `<folder>/clips.csv`, in its order.

    Raises:
        DataError: with all flaws at once: columns or values that are missing, clips that are not there or come twice.
    """
    path = folder / INDEX
    try:
        text = path.read_text(encoding="utf-8-sig")
        table = csv.DictReader(io.StringIO(text), delimiter=_delimiter(text))
        columns, lines = list(table.fieldnames or []), list(table)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8 ({error}). Save it as one.") from None
    if not {"clip", "label"} <= set(columns):
        raise DataError(f"{path}: wanted the columns clip,label and perhaps group,subset; got {','.join(columns)}.")
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
        elif not (folder / clip).is_file():
            problems.append(f"{where}: {clip!r} is not there")
        elif clip in seen:
            problems.append(f"{where}: {clip!r} comes twice")
        if cell["subset"] not in _SUBSETS:
            problems.append(f"{where}: subset must be train, val, test or empty; got {cell['subset']!r}")
        seen.add(clip)
        rows.append(Row(clip, cell["label"], cell["group"], cell["subset"]))
    if problems:
        raise DataError(f"{path} has {len(problems)} flaws: {first_few(problems, 10)}. Fix them and rerun.")
    classes = sorted({row.label for row in rows})
    if len(classes) < 2:
        raise DataError(f"{path}: wanted clips of at least two classes; got {first_few(classes) or 'none'}.")
    return rows


def _delimiter(text: str) -> str:
    """What separates a table's columns: a comma, or, as some spreadsheets write, a tab or a semicolon."""
    header = text.partition("\n")[0]
    return max(",\t;", key=header.count)  # of equals the first


def _walk(folder: Path) -> list[Row]:
    found, stray, empty = [], [], []
    for entry in _visible(folder):
        if not entry.is_dir():
            stray += [] if _is_text(entry) else [entry]
            continue
        inside = _visible(entry)
        if inside and all(map(_is_text, inside)):  # official lists
            continue
        videos = [path for path in inside if path.suffix.lower() in SUFFIXES and path.is_file()]
        stray += sorted(set(inside) - set(videos))
        if not videos:
            empty.append(entry)
        found += videos
    _report(stray, "not a clip in a class's folder: passed over")
    _report(empty, f"no clips in this class's folder (wanted {', '.join(SUFFIXES)}): passed over")
    classes = sorted({path.parent.name for path in found})
    if len(classes) < 2:
        got = f"only one, {classes[0]!r}" if classes else "none"
        deeper = [entry for entry in empty if any(path.is_dir() for path in _visible(entry))]
        hint = f" The classes seem to lie one folder deeper: move or link {deeper[0]} to {folder}." if deeper else ""
        raise DataError(
            f"{folder}: wanted clips of at least two classes, one folder a class ({folder}/<Class>/<clip>.avi); got {got}.{hint}"
        )
    return [Row(path.relative_to(folder).as_posix(), path.parent.name, "", "") for path in found]


def _visible(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}.") from None
    return [entry for entry in entries if not entry.name.startswith(".")]


def _is_text(path: Path) -> bool:
    return path.suffix.lower() == ".txt"


def _report(entries: list[Path], what: str) -> None:
    if entries:
        logger.warning("%s: %s", what, first_few([ascii(str(path))[1:-1] for path in entries]))


def _read(row: Row, folder: Path, group_pattern: str | None) -> Clip:
    path = folder / row.id
    try:
        row.id.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"{str(path)!a}: the name is not valid UTF-8. Rename the file or folder.") from None
    try:
        size, sha256 = path.stat().st_size, sha256_of(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Mend its permissions, or move it out of {folder}.") from None
    return Clip(row.id, row.label, row.group or group_of(row.id, row.label, group_pattern), size, sha256)


def group_of(clip_id: str, label: str = "", pattern: str | None = None) -> str:
    r"""The source video or person of a clip, by its name.

    Args:
        label: the clip's class, which HMDB-51 has in its names.
        pattern: a regular expression, searched for in the id; its first pair of brackets is the group, or all of it without
            any. None: names as in UCF-50, UCF-101 and HMDB-51.

    >>> group_of("Billiards/v_Billards_g01_c02.avi")
    'g01'
    >>> group_of("brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi", "brush_hair")
    'April_09'
    >>> group_of("Jump/anna-03.mp4", pattern=r"([a-z]+)-\d+")
    'anna'
    >>> group_of("Jump/holiday.mp4")
    'Jump/holiday.mp4'
    """
    if pattern is not None:
        match = patterns.search(pattern, clip_id)
        found = match[1 if match.re.groups else 0] if match else None
        return found or clip_id
    name = clip_id.rsplit("/", 1)[-1]
    if match := _UCF.search(name):
        return f"g{int(match[1]):02d}"
    if match := _HMDB.fullmatch(name):
        return match[1].removesuffix(f"_{label}")
    return clip_id


def _is_ucf(group: str, clip_id: str) -> bool:
    """Tell whether a group is the number in the clip's own UCF name."""
    match = _UCF.search(clip_id.rsplit("/", 1)[-1])
    return match is not None and re.fullmatch(f"g0*{int(match[1])}", group) is not None


def cluster_ids(clips: Sequence[Clip]) -> NDArray[np.int64]:
    """Number the clips by their cluster: (n,), from 0, in the clusters' sorted order."""
    clusters = [clip.cluster for clip in clips]
    number = {cluster: place for place, cluster in enumerate(sorted(set(clusters)))}
    return np.array([number[cluster] for cluster in clusters], dtype=np.int64)


def class_names(clips: Iterable[Clip]) -> list[str]:
    """Names of the classes, sorted: a class's number is its place here."""
    return sorted({clip.label for clip in clips})


def write_clips(path: Path, clips: Iterable[Clip]) -> None:
    write_csv(path, HEADER, ([clip.id, clip.label, clip.group, clip.bytes, clip.sha256] for clip in clips))


def read_clips(path: Path) -> list[Clip]:
    """Read data/clips.csv, sorted by clip."""
    return [Clip(row["clip"], row["label"], row["group"], int(row["bytes"]), row["sha256"]) for row in read_csv(path, HEADER)]
