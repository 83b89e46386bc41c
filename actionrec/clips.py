"""What there is: the clips of a data set, from a folder with one folder a class.

A clip is one video file; its id is its path below the data set's folder, with `/`. Its class is the folder's name. Its group is
the source video or person that it was cut from, from `_g<number>_c` in its name (as UCF names its files); a clip whose name has
none is a group of its own.
"""

import logging
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from actionrec import machine
from actionrec.errors import DataError
from actionrec.files import read_csv, sha256_of, write_csv

logger = logging.getLogger(__name__)

SUFFIXES = (".avi", ".mp4", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v")
HEADER = ("clip", "label", "group", "bytes", "sha256")

_GROUP = re.compile(r"_g(\d+)_c", re.IGNORECASE)
_LISTED = 5


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


def find_clips(folder: Path) -> list[Clip]:
    """Find and hash the clips of `<folder>/<Class>/<clip>`, sorted by id.

    Hidden files are passed over; other stray files, empty classes and folders within classes are reported and passed over.

    Raises:
        DataError: no such folder, fewer than two classes with clips, a file that cannot be read, or a name that is no UTF-8.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder. Put the clips there, one folder a class ({folder}/<Class>/<clip>.avi), or link to "
            f"them: ln -s /path/to/clips {folder}; or set data.dataset in params.yaml to a folder that is there."
        )
    found, stray, empty = [], [], []
    for entry in _visible(folder):
        if not entry.is_dir():
            stray.append(entry)
            continue
        inside = _visible(entry)
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
    with ThreadPoolExecutor(machine.workers()) as pool:
        return sorted(pool.map(lambda path: _read(path, folder), found), key=lambda clip: clip.id)


def _visible(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}.") from None
    return [entry for entry in entries if not entry.name.startswith(".")]


def _report(entries: list[Path], what: str) -> None:
    if entries:
        names = ", ".join(ascii(str(path))[1:-1] for path in entries[:_LISTED])
        more = f" and {len(entries) - _LISTED} more" if len(entries) > _LISTED else ""
        logger.warning("%s: %s%s", what, names, more)


def _read(path: Path, folder: Path) -> Clip:
    clip_id = path.relative_to(folder).as_posix()
    try:
        clip_id.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"{str(path)!a}: the name is not valid UTF-8. Rename the file or folder.") from None
    try:
        return Clip(clip_id, path.parent.name, group_of(clip_id), path.stat().st_size, sha256_of(path))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Mend its permissions, or move it out of {folder}.") from None


def group_of(clip_id: str) -> str:
    """The source video or person of a clip, by its name.

    >>> group_of("Billiards/v_Billards_g01_c02.avi")
    'g01'
    >>> group_of("Jump/holiday.mp4")
    'Jump/holiday.mp4'
    """
    match = _GROUP.search(clip_id.rsplit("/", 1)[-1])
    return f"g{int(match[1]):02d}" if match else clip_id


def class_names(clips: Iterable[Clip]) -> list[str]:
    """Names of the classes, sorted: a class's number is its place here."""
    return sorted({clip.label for clip in clips})


def write_clips(path: Path, clips: Iterable[Clip]) -> None:
    write_csv(path, HEADER, ([clip.id, clip.label, clip.group, clip.bytes, clip.sha256] for clip in clips))


def read_clips(path: Path) -> list[Clip]:
    """Read data/clips.csv, sorted by clip."""
    return [Clip(row["clip"], row["label"], row["group"], int(row["bytes"]), row["sha256"]) for row in read_csv(path, HEADER)]
