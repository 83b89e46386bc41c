"""Unpacking RAR and ZIP archives from the network: nothing outside the folder, no links, no more than the archive declares.

The archive's own list of members is read first, and refused as a whole if any of them is not a plain file or folder inside it.
ZIP is unpacked here; RAR by whichever known tool is installed (its list is read by rarfile, without a tool). Afterwards every
member must be there with its size and checksum, and nothing else, whatever the tool said.
"""

import errno
import logging
import lzma
import os
import resource
import shutil
import stat
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import rarfile

from actionrec.core import process_lifetime
from actionrec.core.errors import DataError
from actionrec.core.progress import progress
from actionrec.core.text import first_few
from actionrec.data.download import MEGABYTE, require_space

logger = logging.getLogger(__name__)

MOST_BYTES = 500 * 10**9  # unpacked; far more than any data set here, far less than a bomb
MOST_MEMBERS = 1_000_000

_MAGIC = {b"Rar!\x1a\x07": "RAR", b"PK\x03\x04": "ZIP", b"PK\x05\x06": "ZIP"}
_POLL_SECONDS = 0.5
_SLACK_BYTES = 16 * MEGABYTE
_CHUNK = 1 << 20

# Tried in this order: RARLAB's own, then the free ones; bsdtar comes last, as it does not know every filter of RAR 3.
RAR_TOOLS: Mapping[str, Callable[[str, str], list[str]]] = {
    "unrar": lambda archive, folder: ["unrar", "x", "-idq", "-o+", "-p-", "-y", "--", archive, f"{folder}/"],
    "unar": lambda archive, folder: ["unar", "-quiet", "-force-overwrite", "-no-directory", "-output-directory", folder, archive],
    "7zz": lambda archive, folder: ["7zz", "x", "-y", "-p-", f"-o{folder}", archive],
    "bsdtar": lambda archive, folder: ["bsdtar", "-x", "--no-same-owner", "-f", archive, "-C", folder],
}
INSTALL = (
    "On Debian and Ubuntu: apt install unar libarchive-tools (each unpacks some that the other does not). "
    "On macOS: brew install unar. Elsewhere: unrar from RARLAB."
)


class ArchiveError(DataError):
    """An archive is damaged, unsafe, or cannot be unpacked here."""


class DamagedError(ArchiveError):
    """The file itself is at fault: it is none, cut short, damaged or unsafe, whatever is installed here."""


@dataclass(frozen=True)
class Member:
    """One entry of an archive."""

    name: str
    """Path inside the archive, as stored."""
    is_folder: bool
    bytes: int
    """Unpacked."""
    crc32: int | None
    """Of the contents, where the archive has it."""
    flaw: str | None
    """Why it is no plain file or folder: a link, a device, encrypted."""


def unpack(archive: Path, folder: Path) -> None:
    """Unpack into `folder`, which must be empty. Where this fails, what lies there is worthless: work in a draft.

    Raises:
        DamagedError: no archive, or a damaged or unsafe one.
        ArchiveError: no tool for RAR, or none that can unpack this one.
        DownloadError: too little room.
    """
    kind = _kind(archive)
    if kind is None:
        with archive.open("rb") as stream:
            start = stream.read(16)
        raise DamagedError(
            f"{archive} is neither a RAR nor a ZIP archive (it starts with {start!r}). If the host sent an error page instead, "
            "remove the file and fetch again, or fetch it in another way and set ACTIONREC_MIRROR=<path>."
        )
    try:
        with rarfile.RarFile(archive, errors="strict") if kind == "RAR" else zipfile.ZipFile(archive) as opened:
            members = [*(_rar_members(opened) if kind == "RAR" else _zip_members(opened))]
            check(archive, members)
            wanted = sum(member.bytes for member in members)
            require_space(folder, wanted, f"unpacking {archive.name}")
            if kind == "ZIP":
                _unzip(opened, folder, wanted)
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # a full disk is no damage
            raise
        raise DamagedError(f"{archive} is damaged ({error}). Remove it and fetch it again.") from None
    except (rarfile.Error, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, IndexError, ValueError, RuntimeError) as error:
        raise DamagedError(f"{archive} is damaged or no whole archive ({error}). Remove it and fetch it again.") from None
    if kind == "RAR":
        require_tool(archive)
        _unrar(archive, members, folder, wanted)
    else:
        problems = differences(members, folder)
        if problems:
            raise DamagedError(f"{archive} was not unpacked whole: {first_few(problems)}. Fetch it again.")


def installed() -> list[str]:
    """The programs for RAR that are there, in the order in which they are tried."""
    return [tool for tool in RAR_TOOLS if shutil.which(tool)]


def require_tool(archive: Path) -> None:
    """Raise an ArchiveError where nothing is there that unpacks RAR."""
    if not installed():
        raise ArchiveError(f"{archive} is a RAR archive, and no program that unpacks it is installed. {INSTALL}")


def _kind(path: Path) -> str | None:
    with path.open("rb") as stream:
        start = stream.read(8)
    return next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)


def _zip_members(opened: zipfile.ZipFile) -> Iterator[Member]:
    for info in opened.infolist():
        mode = info.external_attr >> 16
        odd = stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR)
        flaw = "a link" if odd else "encrypted" if info.flag_bits & 1 else None
        yield Member(info.filename, info.is_dir(), info.file_size, None if info.is_dir() else info.CRC, flaw)


def _rar_members(opened: rarfile.RarFile) -> Iterator[Member]:
    if opened.needs_password():
        yield Member("everything", False, 0, None, "encrypted")
    for info in opened.infolist():
        # RAR 5 has symbolic links, hard links and references to the same bytes in the archive.
        plain = (info.is_dir() or info.is_file()) and not info.is_symlink() and not getattr(info, "file_redir", None)
        yield Member(info.filename, info.is_dir(), info.file_size, None if info.is_dir() else info.CRC, None if plain else "a link")


def check(archive: Path, members: Sequence[Member]) -> None:
    """Refuse an archive that would write outside its folder, make links, write over itself, or grow beyond all bounds.

    Raises:
        DamagedError: with the first members at fault.
    """
    kinds: dict[PurePosixPath, bool] = {}
    problems = []
    for member in members:
        path = PurePosixPath(member.name.replace("\\", "/"))
        if member.flaw:
            problems.append(f"{member.name!r} is {member.flaw}")
        elif path.is_absolute() or (path.parts and path.parts[0].endswith(":")):
            problems.append(f"{member.name!r} is an absolute path")
        elif ".." in path.parts or "\0" in member.name or not path.parts:
            problems.append(f"{member.name!r} leads out of the folder")
        elif path in kinds and not (kinds[path] and member.is_folder):
            problems.append(f"{member.name!r} comes twice")
        kinds[path] = member.is_folder
    files = {path for path, is_folder in kinds.items() if not is_folder}
    problems += [f"{str(path)!r} is a file and a folder" for path in {parent for path in kinds for parent in path.parents} & files]
    total = sum(member.bytes for member in members)
    if total > MOST_BYTES or len(members) > MOST_MEMBERS:
        problems.append(f"it declares {len(members):,} members of {total:,} bytes")
    if problems:
        raise DamagedError(
            f"{archive} is not safe to unpack: {first_few(problems)}. Nothing was written. Get it from its own host."
        )


def _unzip(opened: zipfile.ZipFile, folder: Path, total: int) -> None:
    """zipfile reads no more of a member than it declares, and checks its CRC."""
    with progress(f"Unpacking {Path(opened.filename or '').name}", total // MEGABYTE, "MB") as advance:
        done = 0
        for info in opened.infolist():
            target = folder / info.filename.replace("\\", "/")
            if info.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(info) as source, target.open("xb") as stream:
                while chunk := source.read(_CHUNK):
                    stream.write(chunk)
                    before, done = done, done + len(chunk)
                    advance(done // MEGABYTE - before // MEGABYTE)


def _unrar(archive: Path, members: Sequence[Member], folder: Path, total: int) -> None:
    """Unpack with the first installed tool whose work is whole."""
    complaints = []
    for tool in installed():
        said = _run(tool, archive, folder, largest=max((member.bytes for member in members), default=0), total=total)
        problems = differences(members, folder)
        if not problems:
            return
        complaints.append(f"{tool}: {first_few(problems)}" + (f" ({said})" if said else ""))
        logger.warning("%s did not unpack %s whole: %s", tool, archive.name, complaints[-1])
        for left in folder.iterdir():
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
    raise ArchiveError(
        f"{archive} could not be unpacked. {' | '.join(complaints)}. If another tool unpacks it, install that one; otherwise fetch "
        f"the archive again. {INSTALL}"
    )


def _run(tool: str, archive: Path, folder: Path, *, largest: int, total: int) -> str:
    """Run a tool, show its progress, and stop it where it writes more than the archive declares; return its last words."""
    command = RAR_TOOLS[tool](str(archive.absolute()), str(folder.absolute()))
    log = folder.with_name(f"{folder.name}.log")
    try:
        with log.open("w+b") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=partial(process_lifetime.end_with_parent, os.getpid()),  # a killed stage leaves no tool writing
            )
            try:
                if sys.platform == "linux":
                    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (largest + _SLACK_BYTES,) * 2)
                with progress(f"Unpacking {archive.name}", total // MEGABYTE, "MB") as advance:
                    shown = 0
                    while not _ended(process):
                        written = _size(folder)
                        if written > total + _SLACK_BYTES:
                            return f"stopped: it wrote {written:,} bytes, and the archive declares {total:,}"
                        advance(written // MEGABYTE - shown)
                        shown = written // MEGABYTE
            except ProcessLookupError:
                process.wait()  # done before the limit was set
            finally:
                process.kill()
                process.wait()
            _open_up(folder)
            output.seek(0)
            words = output.read().decode("utf-8", "replace").split()
            return " ".join(words)[-200:]
    finally:
        log.unlink(missing_ok=True)


def _open_up(folder: Path) -> None:
    """Make folders accessible whatever modes the archive has for them, or they could be neither read nor removed."""
    for parent, folders, _ in os.walk(folder):
        for name in folders:
            path = Path(parent, name)
            if not path.is_symlink():
                path.chmod(0o755)


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


def _size(folder: Path) -> int:
    total = 0
    for parent, _, files in os.walk(folder):
        for file in files:
            try:
                total += os.lstat(f"{parent}/{file}").st_size
            except FileNotFoundError:  # a tool's temporary file
                continue
    return total


def differences(members: Sequence[Member], folder: Path) -> list[str]:
    """What in `folder` is not as the archive's list has it; files there become readable for all."""
    wanted = {PurePosixPath(member.name.replace("\\", "/")).as_posix(): member for member in members if not member.is_folder}
    problems = []
    for parent, folders, files in os.walk(folder):
        for name in files + [name for name in folders if Path(parent, name).is_symlink()]:
            path = Path(parent, name)
            member = wanted.pop(path.relative_to(folder).as_posix(), None)
            status = path.lstat()
            if member is None:
                problems.append(f"{name!r} is not in the archive's list")
            elif not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                problems.append(f"{name!r} is no plain file")
            elif status.st_size != member.bytes:
                problems.append(f"{name!r} has {status.st_size:,} bytes, not {member.bytes:,}")
            elif member.crc32 is not None and _crc32(path) != member.crc32:
                problems.append(f"{name!r} has another checksum than the archive says")
            else:
                path.chmod(0o644)
    return [*problems, *(f"{name!r} is missing" for name in wanted)]


def _crc32(path: Path) -> int:
    total = 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            total = zlib.crc32(chunk, total)
    return total
