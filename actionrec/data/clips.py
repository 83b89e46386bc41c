"""Clips: find and describe the clips of a data set, from one folder per class or from a list beside the clips.

A clip is one video file. Its id is its path below the data set's folder, with `/`. Its class is the name of its folder. Its group
is the source video or person that it shows, read from its name: `_g<number>_c` as in UCF-50 and UCF-101, the text before the class
as in HMDB-51, or a match of the regular expression `data.group`. A clip without a group in its name is its own group.

If the folder has a `clips.csv` (`clip,label[,group][,subset]`), that file lists the clips, which may be in any folders.
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
    ".avi", ".mp4", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v", ".wmv", ".flv", ".3gp", ".ts", ".mts", ".m2ts", ".ogv",
)  # fmt: skip
HEADER = ("clip", "label", "group", "bytes", "sha256")

INDEX = "clips.csv"
"""Name of the list of clips in a data set's folder."""

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
        """The source video or person. Clips of one cluster are siblings, so that their predictions are correlated.

        UCF numbers groups within each class, so a cluster is the class and the group. Every other group (of HMDB-51, data.group or
        clips.csv) is one video or person across all classes.
        """
        return (self.label if _is_ucf(self.group, self.id) else "", self.group)


@dataclass(frozen=True)
class Row:
    """One row of a list of clips."""

    id: str
    label: str
    group: str
    """Empty if the list does not name one."""
    subset: str
    """train, val or test; empty if the clip is not used, or the list has no such column."""


def find_clips(folder: Path, group_pattern: str | None = None) -> list[Clip]:
    """Find and hash the clips of `<folder>/<Class>/<clip>`, or those that `<folder>/clips.csv` lists; sorted by id.

    Hidden files, text files and folders of text files are skipped. Other files that are not clips, empty classes and folders inside
    classes are skipped and reported.

    Args:
        group_pattern: see `group_of`.

    Raises:
        DataError: the folder is missing, fewer than two classes have clips, the list has errors, a file cannot be read, or a name
            is not valid UTF-8.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder. Put the clips there, one folder per class ({folder}/<Class>/<clip>.avi), or "
            f"link to them: ln -s /path/to/clips {folder}; or set data.dataset in params.yaml to an existing folder."
        )
    rows = read_index(folder) if (folder / INDEX).is_file() else _walk(folder)
    with ThreadPoolExecutor(machine.workers()) as pool:
        clips = list(pool.map(lambda row: _read(row, folder, group_pattern), rows))
    explicit_groups = {clip.group for clip, row in zip(clips, rows, strict=True) if row.group or group_pattern is not None}
    return sorted((_across_classes(clip, explicit_groups) for clip in clips), key=lambda clip: clip.id)


def _across_classes(clip: Clip, explicit_groups: Collection[str]) -> Clip:
    """Mark an explicit group that looks like the one in a UCF name (`g07`): unlike UCF's, it spans classes."""
    is_ambiguous = clip.group in explicit_groups and _is_ucf(clip.group, clip.id)
    return replace(clip, group=f"{clip.group} (all classes)") if is_ambiguous else clip


def read_index(folder: Path) -> list[Row]:
    """Read `<folder>/clips.csv`, in its order.

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
        elif not (folder / clip).is_file():
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


def _walk(folder: Path) -> list[Row]:
    clips, stray, empty = [], [], []
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
        clips += videos
    _report(stray, "skipped, not a clip in a class folder")
    _report(empty, f"skipped, no clips ({', '.join(SUFFIXES)}) in this class folder")
    classes = sorted({path.parent.name for path in clips})
    if len(classes) < 2:
        got = f"clips of one class, {classes[0]!r}" if classes else "no clips"
        deeper = [entry for entry in empty if any(path.is_dir() for path in _visible(entry))]
        hint = f" The classes seem to be one folder deeper: move or link {deeper[0]} to {folder}." if deeper else ""
        raise DataError(
            f"{folder}: got {got}, expected clips of at least two classes, one folder per class "
            f"({folder}/<Class>/<clip>.avi).{hint}"
        )
    return [Row(path.relative_to(folder).as_posix(), path.parent.name, "", "") for path in clips]


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
        raise DataError(f"{path} cannot be read: {error.strerror}. Fix its permissions, or move it out of {folder}.") from None
    return Clip(row.id, row.label, row.group or group_of(row.id, row.label, group_pattern), size, sha256)


def group_of(clip_id: str, label: str = "", pattern: str | None = None) -> str:
    r"""The source video or person of a clip, from its name.

    Args:
        label: the clip's class, which is part of HMDB-51's names.
        pattern: a regular expression that is searched for in the id. The group is what its first parentheses match, or the whole
            match if it has none. None: names as in UCF-50, UCF-101 and HMDB-51.

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
        group = match[1 if match.re.groups else 0] if match else None
        return group or clip_id
    name = clip_id.rsplit("/", 1)[-1]
    if match := _UCF.search(name):
        return f"g{int(match[1]):02d}"
    if match := _HMDB.fullmatch(name):
        return match[1].removesuffix(f"_{label}")
    return clip_id


def _is_ucf(group: str, clip_id: str) -> bool:
    """Whether a group is the number in the clip's own UCF name."""
    match = _UCF.search(clip_id.rsplit("/", 1)[-1])
    return match is not None and re.fullmatch(f"g0*{int(match[1])}", group) is not None


def cluster_ids(clips: Sequence[Clip]) -> NDArray[np.int64]:
    """(n,) the number of each clip's cluster, from 0, in the sorted order of clusters."""
    clusters = [clip.cluster for clip in clips]
    number = {cluster: place for place, cluster in enumerate(sorted(set(clusters)))}
    return np.array([number[cluster] for cluster in clusters], dtype=np.int64)


def class_names(clips: Iterable[Clip]) -> list[str]:
    """Names of the classes, sorted. A class's number is its index here."""
    return sorted({clip.label for clip in clips})


def write_clips(path: Path, clips: Iterable[Clip]) -> None:
    write_csv(path, HEADER, ([clip.id, clip.label, clip.group, clip.bytes, clip.sha256] for clip in clips))


def read_clips(path: Path) -> list[Clip]:
    """Read data/clips.csv, sorted by clip."""
    return [Clip(row["clip"], row["label"], row["group"], int(row["bytes"]), row["sha256"]) for row in read_csv(path, HEADER)]
