"""Published data sets: fetched from their host, a mirror or a local archive, checked, unpacked, and put into place whole.

An archive's SHA-256 is recorded at the first fetch in data/archives.sha256 (in the form of the program sha256sum, to be kept in
Git), and enforced from then on.
"""

import logging
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from actionrec.core import paths
from actionrec.core.errors import DataError
from actionrec.core.text import first_few
from actionrec.data import archives, official_splits
from actionrec.data.archives import ArchiveError, DamagedError
from actionrec.data.clips import SUFFIXES
from actionrec.data.download import DownloadError, download
from actionrec.io.files import sha256_of, whole_folder, write_text

logger = logging.getLogger(__name__)

MIRROR = "ACTIONREC_MIRROR"

UNPACKED = 2.1  # sizes of an archive that it takes with what is in it: video does not compress

_SUFFIXES = (".rar", ".zip")
_RECORD = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")  # as sha256sum writes it
_NESTED = 2  # levels of archives within archives


@dataclass(frozen=True)
class Archive:
    """A file that holds a data set, or a part of it."""

    url: str
    bytes: int | None = None
    """As others have found it; another size is a warning."""

    @property
    def file(self) -> str:
        return self.url.rsplit("/", 1)[-1]

    def as_packed(self, path: Path) -> str:
        """The name of the archive in the form that `path` has: somebody else's ZIP is no damaged RAR."""
        return f"{Path(self.file).stem}{path.suffix.lower()}"


@dataclass(frozen=True)
class Published:
    """A data set on somebody's host."""

    title: str
    clips: Archive
    page: str
    """Where to read about it, its licence and its citation."""
    classes: int
    total_clips: int
    class_clips: Mapping[str, int] = field(default_factory=dict)
    """Class name -> clips that it should have, where that is known."""
    lists: Archive | None = None
    """Official lists of training and test clips."""
    lists_folder: str | None = None
    """Where the lists lie, below the data set's folder."""


def bring(source: Published, folder: Path) -> None:
    """Fetch a data set into `folder`, unless it is there.

    Raises:
        DataError: `folder` holds something else, or the archive cannot be had, is not the recorded one, or is unsafe.
    """
    if folder.is_symlink() or (folder.is_dir() and any(folder.iterdir())):
        if not any(_videos(folder)):
            what = f"is a link to {folder.readlink()}, which" if folder.is_symlink() else "is there, but"
            raise DataError(f"{folder} {what} holds no clips in folders of classes. Remove it, to have {source.title} fetched.")
        logger.info("%s is there already, and is kept as it is", folder)
        warn_of_differences(source, folder, folder)
        return

    found = {archive: obtain(archive, source) for archive in (source.clips, source.lists) if archive}
    for archive, path in found.items():
        enforce(path, archive.as_packed(path))
    try:
        with whole_folder(folder) as draft:
            _unpack_clips(found[source.clips], draft)
            if source.lists and source.lists_folder:
                _unpack_lists(found[source.lists], draft / source.lists_folder)
            warn_of_differences(source, draft, folder)
    except DamagedError:
        for path in found.values():  # so that the next run does not meet them again
            if path.parent == paths.DOWNLOADS:
                path.unlink()
        raise
    for archive, path in found.items():
        record(path, archive.as_packed(path))
        if path.parent == paths.DOWNLOADS:
            path.unlink()


def downloaded(archive: Archive, url: str) -> Path:
    """Where an archive is downloaded to from some address."""
    return paths.DOWNLOADS / archive.as_packed(Path(urlsplit(url).path))


def obtain(archive: Archive, source: Published) -> Path:
    """The archive as a local file: where ACTIONREC_MIRROR says, or downloaded from there, or from its own host.

    The variable holds the path or address of a folder with the archives under their own names, or of the clips' archive itself,
    in which case the lists are looked for beside it, and then at their own host.
    """
    mirror = os.environ.get(MIRROR, "")
    is_clips = archive == source.clips
    if not mirror:
        return _download(archive, archive.url, source)
    if "://" in mirror:
        parts = urlsplit(mirror)
        names_archive = parts.path.lower().endswith(_SUFFIXES)
        folder = parts.path.rpartition("/")[0] if names_archive else parts.path.rstrip("/")
        beside = parts._replace(path=f"{folder}/{archive.file}", query="" if names_archive else parts.query)
        if is_clips:
            return _download(archive, mirror if names_archive else urlunsplit(beside), source)
        try:
            return _download(archive, urlunsplit(beside), source)
        except DownloadError as error:
            logger.info("%s Trying its own host.", str(error).split("\n")[0])
            return _download(archive, archive.url, source)
    there = Path(mirror).expanduser()
    path = there if there.is_file() and is_clips else (there.parent if there.is_file() else there) / archive.file
    if path.is_file():
        return path
    if is_clips:
        raise DataError(f"{MIRROR} is {mirror}, but there is no file {path}. {_instead(there, source)}")
    logger.info("%s is not beside the clips' archive; it is fetched from its own host", archive.file)
    return _download(archive, archive.url, source)


def _instead(there: Path, source: Published) -> str:
    """The next step where a mirror's path holds no archive."""
    if there.is_dir() and any(path.suffix.lower() in SUFFIXES for path in there.glob("*/*")):
        link = paths.RAW / source.title  # a name of its own, by which the report still knows the data set
        return f"Clips are there, unpacked: ln -s {there.absolute()} {link}, and set data.dataset to {link.name}."
    return "Mend the path: it must be a RAR or ZIP archive, or a folder that holds one of that name."


def _download(archive: Archive, url: str, source: Published) -> Path:
    target = downloaded(archive, url)
    if target.suffix == ".rar":
        archives.require_tool(target)  # before gigabytes come
    try:
        download(url, target, factor=UNPACKED if archive == source.clips else 1)
    except DownloadError as error:
        hint = f"{MIRROR}=/path/to/{source.clips.file}"
        if archive != source.clips:
            hint += f", with {archive.file} beside it"
        raise DownloadError(
            f"{error}\n{source.title} is described at {source.page}. Having the archive already, or from a mirror, set {MIRROR} to "
            f"its path or address: {hint}"
        ) from None
    size = target.stat().st_size
    if archive.bytes is not None and size != archive.bytes and url == archive.url:
        logger.warning("%s has %s bytes, not the %s that it used to have: a newer one?", target, f"{size:,}", f"{archive.bytes:,}")
    return target


def recorded() -> dict[str, str]:
    """Archive's own file name -> SHA-256, from data/archives.sha256.

    Raises:
        DataError: a line that sha256sum would not write.
    """
    if not paths.ARCHIVES.is_file():
        return {}
    known = {}
    for number, line in enumerate(paths.ARCHIVES.read_text(encoding="utf-8").splitlines(), start=1):
        match = _RECORD.fullmatch(line)
        if match:
            known[match[2]] = match[1].lower()
        elif line.strip():
            raise DataError(f"{paths.ARCHIVES}, line {number}: wanted `<SHA-256>  <file>`, got {line!r}. Mend or remove the line.")
    return known


def enforce(path: Path, name: str) -> None:
    """Refuse an archive whose SHA-256 is not the one recorded for `name`, the archive's own name.

    Raises:
        ArchiveError: with both.
    """
    wanted = recorded().get(name)
    if wanted is None:
        return
    got = sha256_of(path)
    if got != wanted:
        raise ArchiveError(
            f"{path}: its SHA-256 is {got}, but {paths.ARCHIVES} has {wanted} from the first fetch. It was damaged on its way, "
            f"replaced by its host, or packed by somebody else. Remove it and fetch again; if it is right, remove the line of "
            f"{name} from {paths.ARCHIVES}."
        )


def record(path: Path, name: str) -> None:
    known = recorded()
    if name not in known:
        known[name] = sha256_of(path)
        logger.info("%s: SHA-256 %s, recorded in %s; commit that file", name, known[name], paths.ARCHIVES)
        write_text(paths.ARCHIVES, "".join(f"{digest}  {file}\n" for file, digest in sorted(known.items())))


def _unpack_clips(archive: Path, draft: Path) -> None:
    """Unpack, archives within the archive too, and move the classes' folders up to `draft`."""
    inside = draft / ".unpacked"
    inside.mkdir()
    archives.unpack(archive, inside)
    for _ in range(_NESTED):
        for inner in sorted(path for path in _files(inside) if path.suffix.lower() in _SUFFIXES):
            # A folder of its own for each: what is in one cannot overwrite what is in another.
            target = inner.with_suffix("")
            while target.exists():
                target = target.with_name(f"{target.name}_")
            target.mkdir()
            try:
                archives.unpack(inner, target)
            except ArchiveError as error:
                raise type(error)(f"{archive}: {inner.name} in it: {error}") from None
            inner.unlink()
    for video in sorted(_videos(inside)):
        target = draft / video.parent.name / video.name
        target.parent.mkdir(exist_ok=True)
        if target.exists():
            raise ArchiveError(f"{archive} has two clips {target.parent.name}/{video.name}. Get it from its own host.")
        video.replace(target)
    if not any(draft.glob("[!.]*")):
        raise ArchiveError(f"{archive} holds no clips in folders of classes. Is it another archive?")
    shutil.rmtree(inside)


def _unpack_lists(archive: Path, folder: Path) -> None:
    """Unpack, and keep the text files, whatever folders they lie in."""
    inside = folder / ".unpacked"
    inside.mkdir(parents=True)
    archives.unpack(archive, inside)
    for text in sorted(path for path in _files(inside) if path.suffix.lower() == ".txt"):
        text.replace(folder / text.name)
    shutil.rmtree(inside)


def _files(folder: Path) -> Iterator[Path]:
    """Plain files at any depth, without hidden ones and what macOS adds."""
    return (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".") and "__MACOSX" not in path.parts)


def _videos(folder: Path) -> Iterator[Path]:
    return (path for path in _files(folder) if path.suffix.lower() in SUFFIXES and path.parent != folder)


def warn_of_differences(source: Published, folder: Path, place: Path) -> None:
    """Warn of classes and clips that are missing or surplus; a difference is no failure, since published copies differ.

    Args:
        place: how to name `folder` in messages.
    """
    clips = sorted(f"{path.parent.name}/{path.name}" for path in _videos(folder))
    found = Counter(clip.split("/", 1)[0] for clip in clips)
    wanted = source.class_clips
    notes = []
    surplus = found.keys() - wanted.keys() if wanted else set()
    for kind, names in (("missing", sorted(wanted.keys() - found.keys())), ("surplus", sorted(surplus))):
        if names:
            notes.append(f"{len(names)} classes are {kind}: {first_few(names, 8)}")
    other = [f"{name} {found[name]} (not {count})" for name, count in sorted(wanted.items()) if found[name] not in (0, count)]
    if other:
        notes.append(f"other numbers of clips in {len(other)} classes: {first_few(other, 8)}")
    if source.lists and not official_splits.list_numbers(folder):
        notes.append(f"its official lists are missing (unpack {source.lists.file} into {place}/{source.lists_folder})")
    elif source.lists:
        absent, unlisted = official_splits.differences(folder, clips)
        for kind, names in (("missing", absent), ("in no official list", unlisted)):
            if names:
                notes.append(f"{len(names):,} clips are {kind}: {first_few(names, 8)}")
    if len(found) != source.classes or len(clips) != source.total_clips:
        notes.append(f"{len(clips):,} clips in {len(found)} classes, not {source.total_clips:,} in {source.classes}")
    for note in notes:
        logger.warning("%s differs from %s as it is known: %s", place, source.title, note)
    logger.info("%s: %s clips in %d classes are in %s", source.title, f"{len(clips):,}", len(found), place)
