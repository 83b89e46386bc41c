"""Tar shards: clips in the `*.tar` files of a data set's folder, in the layout of WebDataset. They are read in place.

A sample is a clip, `<key>.<suffix>`, and its label: `<key>.cls`, the name of its class as text, or `<key>.json`, an object with
`label` and optionally `group`. If no shard has such a file, the clips' folders in the archives are their classes. A clip's id is
its path in the archive, so the same clips have the same ids in shards and in folders.
"""

import logging
import tarfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from actionrec.core.errors import DataError
from actionrec.core.text import first_few, on_one_line, quoted
from actionrec.data.clip_list import INDEX
from actionrec.data.clips import SUFFIXES
from actionrec.io import machine
from actionrec.io.files import parse_json
from actionrec.io.tar_member import TarMember

logger = logging.getLogger(__name__)

_LABELS = (".cls", ".json")
_BLOCK = tarfile.BLOCKSIZE  # bytes of a header
_LARGEST_LABEL = 1 << 20  # bytes
_LISTED = 10  # errors in a message
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True, slots=True)
class Sample:
    """A clip of a shard."""

    file: TarMember
    label: str
    """Empty if `clips.csv` has the labels."""
    group: str
    """Empty if the shard does not name one."""


@dataclass(frozen=True)
class Shards:
    """The clips of all shards of a folder."""

    samples: Mapping[str, Sample] = field(default_factory=dict)
    """Clip id -> sample."""
    damage: tuple[str, ...] = ()
    """A sentence for each shard that cannot be read completely."""

    @property
    def members(self) -> dict[str, TarMember]:
        """Clip id -> its file."""
        return {clip: sample.file for clip, sample in self.samples.items()}


@dataclass
class _Archive:
    """What was found in one archive."""

    clips: list[TarMember] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    """Key -> contents of `.cls`."""
    records: dict[str, dict[str, str]] = field(default_factory=dict)
    """Key -> contents of `.json`."""
    skipped: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    label_errors: list[str] = field(default_factory=list)
    damage: str = ""


def is_shard(path: Path) -> bool:
    """Whether a file's name is that of a shard."""
    return path.suffix.lower() == ".tar" and not path.name.startswith(".")


def is_compressed(path: Path) -> bool:
    """Whether a file's name is that of a compressed archive."""
    return path.name.lower().endswith(_COMPRESSED)


def scan(folder: Path) -> Shards:
    """Read the headers and labels of a folder's shards. Damage and skipped members are logged.

    Raises:
        DataError: clips without a label, keys that occur twice, or paths that lead out of an archive; lists all errors. Or a shard
            cannot be opened.
    """
    tars = sorted(path for path in folder.iterdir() if is_shard(path) and path.is_file()) if folder.is_dir() else []
    try:
        with ThreadPoolExecutor(machine.workers()) as pool:
            archives = list(pool.map(_read, tars))
    except OSError as error:
        raise DataError(
            f"{error.filename or folder} cannot be read: {error.strerror}. Fix its permissions, or move it away."
        ) from None
    if skipped := [one for archive in archives for one in archive.skipped]:
        logger.warning("skipped, neither a clip nor a label: %s", first_few([ascii(one)[1:-1] for one in skipped]))
    errors = [error for archive in archives for error in archive.errors]
    samples: dict[str, Sample] = {}
    seen: dict[str, TarMember] = {}
    source = _label_source(folder, archives)
    for archive in archives:
        unlabelled = 0
        for clip in archive.clips:
            if (other := seen.setdefault(_stem(clip.path), clip)) is not clip:
                errors.append(f"{clip}: the key is also that of {other}")
                continue
            try:
                samples[clip.path] = Sample(clip, *source(archive, clip.path))
            except _NoLabelError as error:
                if archive.damage:  # the label may be in the damaged part
                    unlabelled += 1
                else:
                    errors.append(f"{clip}: {error}")
        if archive.damage and archive.clips:
            lost = f"; skipped, because their labels are lost: {unlabelled}" if unlabelled else ""
            archive.damage += f" Readable clips: {len(archive.clips) - unlabelled}{lost}."
    if errors:
        raise DataError(
            f"{folder}: the tar shards have {len(errors):,} errors: {first_few(errors, _LISTED, '; ')}. Fix them and rerun; "
            "docs/data.md describes the layout."
        )
    damage = tuple(archive.damage for archive in archives if archive.damage)
    for sentence in damage:
        logger.warning("%s", sentence)
    return Shards(samples, damage)


# Labels.


class _NoLabelError(Exception):
    """A clip has no label; says what is expected."""


def _label_source(folder: Path, archives: Sequence[_Archive]) -> Callable[[_Archive, str], tuple[str, str]]:
    """The function that returns the label and group of a clip, given its archive and its path there."""
    if (folder / INDEX).is_file():
        return lambda archive, path: ("", "")
    if any(archive.texts or archive.records for archive in archives):
        return _label_of_file
    return _label_of_folder


def _label_of_file(archive: _Archive, path: str) -> tuple[str, str]:
    """The label and group that the files beside a clip name."""
    for key in dict.fromkeys((_stem(path), _first_stem(path))):
        record = archive.records.get(key, {})
        label = archive.texts.get(key) or record.get("label", "")
        if label:
            return label, record.get("group", "")
    raise _NoLabelError(f"no label; expected {_stem(path)}.cls, or {_stem(path)}.json with an entry label")


def _label_of_folder(archive: _Archive, path: str) -> tuple[str, str]:
    folder = path.rpartition("/")[0]
    if not folder or "/" in folder:
        raise _NoLabelError(f"no label; expected {_stem(path)}.cls, {_stem(path)}.json, or a path <Class>/<clip>")
    return folder, ""


def _stem(path: str) -> str:
    """The path without its suffix: the key of a clip."""
    return path.removesuffix(PurePosixPath(path).suffix)


def _first_stem(path: str) -> str:
    """The path up to the first dot of its name: WebDataset's key, if a clip's name has several suffixes.

    >>> _first_stem("a.b/0001.left.mp4")
    'a.b/0001'
    """
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{name.split('.', 1)[0]}"


# Archives.


def _read(tar: Path) -> _Archive:
    """Read the headers and labels of one archive.

    Raises:
        OSError: it cannot be read.
    """
    archive = _Archive()
    size = tar.stat().st_size
    with tar.open("rb") as stream:
        for header in _headers(tar, stream, size, archive):
            _add(tar, stream, header, size, archive)
    if not archive.damage:  # damaged labels are explained by the damage
        archive.errors += archive.label_errors
    return archive


def _headers(tar: Path, stream: IO[bytes], size: int, archive: _Archive) -> Iterator[tarfile.TarInfo]:
    """Yield the headers of an archive of `size` bytes; note damage. After damage, go on with the next header that is whole."""
    start = stream.read(8)
    if compression := next((name for magic, name in _COMPRESSIONS.items() if start.startswith(magic)), None):
        archive.damage = f"{tar} is compressed ({compression}), so its clips cannot be read in place. Decompress it."
        return
    stream.seek(0)
    end = yield from _whole_headers(stream, skip_damage=False)
    stream.seek(end)
    block = stream.read(_BLOCK)
    if block.count(0) == _BLOCK:  # the mark at the end of an archive
        return
    what = "is damaged" if len(block) == _BLOCK else "is cut off"
    archive.damage = f"{tar} {what} at byte {min(end, size):,}. Copy or download it again."
    if len(block) == _BLOCK:
        stream.seek(end + _BLOCK)
        yield from _whole_headers(stream, skip_damage=True)


def _whole_headers(stream: IO[bytes], *, skip_damage: bool) -> Generator[tarfile.TarInfo, None, int]:
    """Yield headers from the stream's position; return the position of the first block that is not one."""
    position = stream.tell()
    try:
        archive = tarfile.TarFile(fileobj=stream, encoding="utf-8", errors="surrogateescape", ignore_zeros=skip_damage)
        while (header := archive.next()) is not None:
            position = archive.offset
            archive.members = []  # type: ignore[attr-defined]  # it keeps every header
            yield header
        return archive.offset
    except (tarfile.TarError, ValueError, ArithmeticError, LookupError):
        return position


def _add(tar: Path, stream: IO[bytes], header: tarfile.TarInfo, size: int, archive: _Archive) -> None:
    """Note a member of an archive of `size` bytes."""
    path = header.name
    while path.startswith("./"):
        path = path[2:]
    parts = path.split("/")
    if header.isdir() or any(part.startswith(".") and part not in (".", "..") for part in parts):
        return
    suffix = PurePosixPath(path).suffix.lower()
    if suffix == ".txt":
        return
    if suffix not in SUFFIXES + _LABELS or not header.isreg() or header.issparse():
        archive.skipped.append(f"{tar}/{path}" + ("" if header.isreg() else " (a link or special file)"))
    elif {"", ".", ".."} & set(parts) or "\0" in path:
        archive.errors.append(f"{tar}: {quoted(path)} must be a path below the archive's top")
    elif suffix in SUFFIXES:
        # As much of the clip as the archive has: the decoder reports what is missing.
        archive.clips.append(TarMember(tar, path, header.offset_data, max(0, min(header.size, size - header.offset_data))))
    else:
        stream.seek(header.offset_data)
        try:
            if header.size > _LARGEST_LABEL:
                raise ValueError(f"larger than {_LARGEST_LABEL >> 20} MiB")
            contents = stream.read(header.size)
            if suffix == ".json":
                archive.records[_stem(path)] = _record(parse_json(contents))
            else:
                archive.texts[_stem(path)] = _one_line(contents.decode("utf-8-sig"))
        except ValueError as error:
            archive.label_errors.append(f"{tar}/{path} is not a label ({on_one_line(str(error))})")


def _record(value: Any) -> dict[str, str]:
    """The entries of a JSON object that are used, as text; missing ones are left out."""
    if not isinstance(value, dict):
        raise ValueError(f"got {quoted(value)}, expected an object with an entry label")
    entries = {}
    for key in ("label", "group"):
        entry = value.get(key)
        if isinstance(entry, bool) or not isinstance(entry, str | int | None):
            raise ValueError(f"{key}: got {quoted(entry)}, expected text or a whole number")
        if entry not in (None, ""):
            entries[key] = _one_line(str(entry))
    return entries


def _one_line(text: str) -> str:
    line = text.strip()
    if not line or len(line.splitlines()) > 1:
        raise ValueError(f"got {quoted(text)}, expected one line of text")
    return line
