"""Published data sets: fetch an archive from its host, a mirror or a local path, check it, and unpack it into a whole folder.

The first fetch records an archive's SHA-256 in data/archives.sha256, in the format of sha256sum; keep that file in Git. Later
fetches reject an archive with another SHA-256.
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
from actionrec.data import archives, official_splits, own_clips
from actionrec.data.archives import ArchiveError, DamagedError
from actionrec.data.clips import SUFFIXES
from actionrec.data.download import DownloadError, download
from actionrec.io.files import sha256_of, whole_folder, write_text

logger = logging.getLogger(__name__)

MIRROR = "ACTIONREC_MIRROR"

UNPACKED = 2.1  # space for an archive and its unpacked contents, in archive sizes: video does not compress

_SUFFIXES = (".rar", ".zip")
_RECORD = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")  # as sha256sum writes it
_NESTED = 2  # levels of archives within archives


@dataclass(frozen=True)
class Archive:
    """An archive file that contains a data set or its official lists."""

    url: str
    bytes: int | None = None
    """The usual size. Another size is reported as a warning."""

    @property
    def file(self) -> str:
        return self.url.rsplit("/", 1)[-1]

    def as_packed(self, path: Path) -> str:
        """The archive's own name with the suffix of `path`, since copies of a RAR archive may be ZIP archives."""
        return f"{Path(self.file).stem}{path.suffix.lower()}"


@dataclass(frozen=True)
class Published:
    """A data set that can be downloaded as an archive, with one folder per class in it."""

    title: str
    clips: Archive
    page: str
    """Web page with its description, licence and citation."""
    classes: int
    total_clips: int
    class_clips: Mapping[str, int] = field(default_factory=dict)
    """Class name -> expected number of clips; empty if not known."""
    lists: Archive | None = None
    """Archive of the official training and test lists."""
    lists_folder: str | None = None
    """Folder for the lists, inside the data set's folder."""


def fetch_published(source: Published, folder: Path) -> None:
    """Fetch a data set into `folder`, unless it is there or can be linked to.

    Raises:
        DataError: `folder` contains something else, or the archive cannot be downloaded, is not the recorded one, or is unsafe.
    """
    own_clips.link_from_elsewhere(folder)
    if folder.is_symlink() or (folder.is_dir() and any(folder.iterdir())):
        if not any(_videos(folder)):
            target = f" (a symlink to {folder.readlink()})" if folder.is_symlink() else ""
            raise DataError(f"{folder}{target} contains no clips in class folders. Remove it to fetch {source.title}.")
        logger.info("%s already exists and is kept", folder)
        warn_of_differences(source, folder, folder)
        return

    files = {archive: obtain(archive, source) for archive in (source.clips, source.lists) if archive}
    for archive, path in files.items():
        enforce(path, archive.as_packed(path))
    try:
        with whole_folder(folder) as draft:
            _unpack_clips(files[source.clips], draft)
            if source.lists and source.lists_folder:
                _unpack_lists(files[source.lists], draft / source.lists_folder)
            warn_of_differences(source, draft, folder)
    except DamagedError:
        for path in files.values():  # else the next run would use them again
            if path.parent == paths.DOWNLOADS:
                path.unlink()
        raise
    for archive, path in files.items():
        record(path, archive.as_packed(path))
        if path.parent == paths.DOWNLOADS:
            path.unlink()


def obtain(archive: Archive, source: Published) -> Path:
    """Return the archive as a local file; download it from ACTIONREC_MIRROR or its own host if needed.

    ACTIONREC_MIRROR is the path or address of the clips' archive, or of a folder of archives with their own names. If it is the
    clips' archive, the lists are looked for beside it, then at their own host.
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
            logger.info("%s Trying the archive's own host.", str(error).split("\n")[0])
            return _download(archive, archive.url, source)
    mirror_path = Path(mirror).expanduser()
    is_file = mirror_path.is_file()
    path = mirror_path if is_file and is_clips else (mirror_path.parent if is_file else mirror_path) / archive.file
    if path.is_file():
        return path
    if is_clips:
        raise DataError(f"{MIRROR} is {mirror}, but {path} does not exist. {_next_step(mirror_path, source)}")
    logger.info("%s is not beside the clips' archive; downloading it from its own host", archive.file)
    return _download(archive, archive.url, source)


def _next_step(mirror_path: Path, source: Published) -> str:
    """What to do if there is no archive at the mirror's path."""
    if mirror_path.is_dir() and any(path.suffix.lower() in SUFFIXES for path in mirror_path.glob("*/*")):
        link = paths.RAW / source.title  # another name than the data set's, which the report still recognises
        return f"The folder contains unpacked clips: ln -s {mirror_path.absolute()} {link}, and set data.dataset to {link.name}."
    return "Correct the path: it must be a RAR or ZIP archive, or a folder with an archive of that name."


def _download(archive: Archive, url: str, source: Published) -> Path:
    target = paths.DOWNLOADS / archive.as_packed(Path(urlsplit(url).path))
    if target.suffix == ".rar":
        archives.require_tool(target)  # before downloading gigabytes
    try:
        download(url, target, factor=UNPACKED if archive == source.clips else 1)
    except DownloadError as error:
        hint = f"{MIRROR}=/path/to/{source.clips.file}"
        if archive != source.clips:
            hint += f", with {archive.file} beside it"
        raise DownloadError(
            f"{error}\n{source.title} is described at {source.page}. If you have the archive, or know a mirror, set {MIRROR} to "
            f"its path or address: {hint}"
        ) from None
    size = target.stat().st_size
    if archive.bytes is not None and size != archive.bytes and url == archive.url:
        logger.warning("%s has %s bytes; expected %s. It may be a newer version.", target, f"{size:,}", f"{archive.bytes:,}")
    return target


def recorded() -> dict[str, str]:
    """Read data/archives.sha256: an archive's own file name -> SHA-256.

    Raises:
        DataError: a line is not in the format of sha256sum.
    """
    if not paths.ARCHIVES.is_file():
        return {}
    known = {}
    for number, line in enumerate(paths.ARCHIVES.read_text(encoding="utf-8").splitlines(), start=1):
        match = _RECORD.fullmatch(line)
        if match:
            known[match[2]] = match[1].lower()
        elif line.strip():
            raise DataError(f"{paths.ARCHIVES}, line {number}: got {line!r}, expected `<SHA-256>  <file>`. Fix or remove the line.")
    return known


def enforce(path: Path, name: str) -> None:
    """Raise an ArchiveError if an archive's SHA-256 differs from the one recorded for `name`, the archive's own name."""
    expected = recorded().get(name)
    if expected is None:
        return
    got = sha256_of(path)
    if got != expected:
        raise ArchiveError(
            f"{path}: SHA-256 differs from the first fetch; got {got}, expected {expected} ({paths.ARCHIVES}). The download was "
            f"damaged, the host has replaced the file, or this is another copy. Remove it and rerun; if it is correct, remove the "
            f"line of {name} from {paths.ARCHIVES}."
        )


def record(path: Path, name: str) -> None:
    """Add an archive's SHA-256 to data/archives.sha256, unless it is there."""
    known = recorded()
    if name not in known:
        known[name] = sha256_of(path)
        logger.info("%s: SHA-256 %s, recorded in %s; commit that file", name, known[name], paths.ARCHIVES)
        write_text(paths.ARCHIVES, "".join(f"{digest}  {file}\n" for file, digest in sorted(known.items())))


def _unpack_clips(archive: Path, draft: Path) -> None:
    """Unpack an archive, and archives inside it, and move the class folders to `draft`."""
    inside = draft / ".unpacked"
    inside.mkdir()
    archives.unpack(archive, inside)
    for _ in range(_NESTED):
        for inner in sorted(path for path in _files(inside) if path.suffix.lower() in _SUFFIXES):
            # A folder for each, so that the contents of one cannot overwrite those of another.
            target = inner.with_suffix("")
            while target.exists():
                target = target.with_name(f"{target.name}_")
            target.mkdir()
            try:
                archives.unpack(inner, target)
            except ArchiveError as error:
                raise type(error)(f"{archive}: inner archive {inner.name}: {error}") from None
            inner.unlink()
    for video in sorted(_videos(inside)):
        target = draft / video.parent.name / video.name
        target.parent.mkdir(exist_ok=True)
        if target.exists():
            raise ArchiveError(f"{archive}: duplicate clip {target.parent.name}/{video.name}. Get the archive from its own host.")
        video.replace(target)
    if not any(draft.glob("[!.]*")):
        raise ArchiveError(f"{archive} contains no clips in class folders. Check that it is the right archive.")
    shutil.rmtree(inside)


def _unpack_lists(archive: Path, folder: Path) -> None:
    """Unpack an archive, and move its text files from any depth to `folder`."""
    inside = folder / ".unpacked"
    inside.mkdir(parents=True)
    archives.unpack(archive, inside)
    for text in sorted(path for path in _files(inside) if path.suffix.lower() == ".txt"):
        text.replace(folder / text.name)
    shutil.rmtree(inside)


def _files(folder: Path) -> Iterator[Path]:
    """Plain files at any depth, except hidden ones and those that macOS adds."""
    return (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".") and "__MACOSX" not in path.parts)


def _videos(folder: Path) -> Iterator[Path]:
    return (path for path in _files(folder) if path.suffix.lower() in SUFFIXES and path.parent != folder)


def warn_of_differences(source: Published, folder: Path, shown_as: Path) -> None:
    """Warn about missing or unexpected classes and clips. This is not an error, since published copies differ.

    Args:
        shown_as: the path that stands for `folder` in messages.
    """
    clips = sorted(f"{path.parent.name}/{path.name}" for path in _videos(folder))
    counts = Counter(clip.split("/", 1)[0] for clip in clips)
    expected = source.class_clips
    notes = []
    unexpected = counts.keys() - expected.keys() if expected else set()
    for kind, names in (("missing", sorted(expected.keys() - counts.keys())), ("unexpected", sorted(unexpected))):
        if names:
            notes.append(f"{len(names)} classes are {kind}: {first_few(names, 8)}")
    other = [f"{name} {counts[name]} (not {count})" for name, count in sorted(expected.items()) if counts[name] not in (0, count)]
    if other:
        notes.append(f"other numbers of clips in {len(other)} classes: {first_few(other, 8)}")
    if source.lists and not official_splits.list_numbers(folder):
        notes.append(f"the official lists are missing (unpack {source.lists.file} into {shown_as}/{source.lists_folder})")
    elif source.lists:
        missing, unlisted = official_splits.differences(folder, clips)
        for kind, names in (("missing", missing), ("in no official list", unlisted)):
            if names:
                notes.append(f"{len(names):,} clips are {kind}: {first_few(names, 8)}")
    if len(counts) != source.classes or len(clips) != source.total_clips:
        notes.append(f"{len(clips):,} clips in {len(counts)} classes, not {source.total_clips:,} in {source.classes}")
    for note in notes:
        logger.warning("%s differs from the published %s: %s", shown_as, source.title, note)
    logger.info("%s: %s clips in %d classes are in %s", source.title, f"{len(clips):,}", len(counts), shown_as)
