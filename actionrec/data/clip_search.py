"""Search for the clips of a data set: in one folder per class, in tar shards, or as `clips.csv` lists them."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from actionrec.core.errors import DataError
from actionrec.core.progress import progress
from actionrec.core.text import first_few
from actionrec.data import tar_shards
from actionrec.data.clip_files import ClipFiles
from actionrec.data.clip_list import INDEX, Row, read_index
from actionrec.data.clips import SUFFIXES, Clip, group_of, is_ucf
from actionrec.data.tar_shards import Shards
from actionrec.parallel.file_hashes import hash_files

logger = logging.getLogger(__name__)


def find_clips(
    folder: Path, group_pattern: str | None = None, *, shards: Shards | None = None, memory: Path | None = None
) -> list[Clip]:
    """Find and hash the clips of `<folder>/<Class>/<clip>` and `<folder>/*.tar`, or those that `<folder>/clips.csv` lists.

    Hidden files, text files and folders of text files are skipped. Other files that are not clips, empty classes and folders inside
    classes are skipped and reported.

    Args:
        group_pattern: see `group_of`.
        shards: those of the folder, from `tar_shards.scan`; None scans them here.
        memory: where hashes are remembered; see `hash_files`.

    Returns:
        The clips, sorted by id.

    Raises:
        DataError: the folder is missing, fewer than two classes have clips, the list or a shard has errors, a file cannot be read,
            a clip is both in a folder and a shard, or a name is not valid UTF-8.
        ActionrecError: the Ray cluster that ACTIONREC_ENGINE asks for cannot be reached.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder. Put the clips there, one folder per class ({folder}/<Class>/<clip>.avi), or "
            f"link to them: ln -s /path/to/clips {folder}; or set data.dataset in params.yaml to an existing folder."
        )
    shards = tar_shards.scan(folder) if shards is None else shards
    files = ClipFiles(folder, shards.members)
    rows = read_index(folder, files.has) if (folder / INDEX).is_file() else _walk(folder, shards)
    _refuse_names(folder, rows)
    try:
        with progress("Hashing clips", len(rows), "clip") as advance:
            hashed = hash_files([files[row.id] for row in rows], memory, advance)
    except OSError as error:
        reason = f"{error.filename} cannot be read: {error.strerror}"
        raise DataError(f"{reason}. Fix its permissions, or move it out of {folder}.") from None
    clips = [
        Clip(row.id, row.label, row.group or group_of(row.id, row.label, group_pattern), size, sha256)
        for row, (size, sha256) in zip(rows, hashed, strict=True)
    ]
    explicit_groups = {clip.group for clip, row in zip(clips, rows, strict=True) if row.group or group_pattern is not None}
    return sorted((_across_classes(clip, explicit_groups) for clip in clips), key=lambda clip: clip.id)


def _refuse_names(folder: Path, rows: Sequence[Row]) -> None:
    for row in rows:
        try:
            row.id.encode("utf-8")
        except UnicodeEncodeError:
            raise DataError(f"{str(folder / row.id)!a}: the name is not valid UTF-8. Rename the file or folder.") from None


def _across_classes(clip: Clip, explicit_groups: Collection[str]) -> Clip:
    """Mark an explicit group that looks like the one in a UCF name (`g07`): unlike UCF's, it spans classes."""
    is_ambiguous = clip.group in explicit_groups and is_ucf(clip.group, clip.id)
    return replace(clip, group=f"{clip.group} (all classes)") if is_ambiguous else clip


def _walk(folder: Path, shards: Shards) -> list[Row]:
    clips, stray, empty, compressed = [], [], [], []
    for entry in _visible(folder):
        if not entry.is_dir():
            if tar_shards.is_compressed(entry):
                compressed.append(entry)
            elif not _is_text(entry) and not tar_shards.is_shard(entry):
                stray.append(entry)
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
    _report(compressed, "skipped, decompress it: clips are read in place, which compressed archives do not allow")
    rows = [Row(path.relative_to(folder).as_posix(), path.parent.name, "", "") for path in clips]
    if twice := sorted(row.id for row in rows if row.id in shards.samples):
        raise DataError(
            f"{folder}: clips that are both in class folders and in tar shards: {first_few(twice)}. Remove one of the two, "
            "or rename it."
        )
    rows += [Row(clip, sample.label, sample.group, "") for clip, sample in shards.samples.items()]
    classes = sorted({row.label for row in rows})
    if len(classes) < 2:
        got = f"clips of one class, {classes[0]!r}" if classes else "no clips"
        deeper = [entry for entry in empty if any(path.is_dir() for path in _visible(entry))]
        hint = f" The classes seem to be one folder deeper: move or link {deeper[0]} to {folder}." if deeper else ""
        raise DataError(
            f"{folder}: got {got}, expected clips of at least two classes, one folder per class "
            f"({folder}/<Class>/<clip>.avi).{hint}"
        )
    return rows


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
