"""Archives: safely unpack RAR and ZIP files from the network.

Nothing is written outside the folder, no links are made, and no more bytes are written than the archive declares. The archive's
list of members is read first; the archive is rejected if any member is not a plain file or folder inside it. ZIP is unpacked by
zipfile. RAR is unpacked by an installed program, while its list is read by rarfile. Afterwards, exactly the listed members must
exist, with their sizes and checksums.
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

MOST_BYTES = 500 * 10**9  # unpacked; far more than any data set here, far less than a decompression bomb
MOST_MEMBERS = 1_000_000

_MAGIC = {b"Rar!\x1a\x07": "RAR", b"PK\x03\x04": "ZIP", b"PK\x05\x06": "ZIP"}
_POLL_SECONDS = 0.5
_SLACK_BYTES = 16 * MEGABYTE
_CHUNK = 1 << 20

# In the order in which they are tried. bsdtar is last, since it does not support every filter of RAR 3.
RAR_TOOLS: Mapping[str, Callable[[str, str], list[str]]] = {
    "unrar": lambda archive, folder: ["unrar", "x", "-idq", "-o+", "-p-", "-y", "--", archive, f"{folder}/"],
    "unar": lambda archive, folder: ["unar", "-quiet", "-force-overwrite", "-no-directory", "-output-directory", folder, archive],
    "7zz": lambda archive, folder: ["7zz", "x", "-y", "-p-", f"-o{folder}", archive],
    "bsdtar": lambda archive, folder: ["bsdtar", "-x", "--no-same-owner", "-f", archive, "-C", folder],
}
INSTALL = (
    "On Debian and Ubuntu: apt install unar libarchive-tools (each unpacks archives that the other cannot). "
    "On macOS: brew install unar. Elsewhere: unrar from RARLAB."
)


class ArchiveError(DataError):
    """An archive is damaged or unsafe, or no installed program can unpack it."""


class DamagedError(ArchiveError):
    """The file is not an archive, or is cut off, damaged or unsafe: no program could unpack it."""


@dataclass(frozen=True)
class ArchiveMember:
    """One entry of an archive."""

    name: str
    """Path in the archive, as stored."""
    is_folder: bool
    bytes: int
    """Unpacked."""
    crc32: int | None
    """CRC of the contents; None if the archive does not have it."""
    flaw: str | None
    """Why it is not a plain file or folder, such as `a link` or `encrypted`; None if it is."""


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive into `folder`, which must be empty. After an error, `folder` may have partial contents.

    Raises:
        DamagedError: the file is not an archive, or is damaged or unsafe.
        ArchiveError: no installed program can unpack it.
        DownloadError: the disk is too small.
    """
    with archive.open("rb") as stream:
        start = stream.read(16)
    kind = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)
    if kind is None:
        raise DamagedError(
            f"{archive} is neither a RAR nor a ZIP archive; it starts with {start!r}. If the host sent an error page, remove the "
            "file and rerun, or download the archive in another way and set ACTIONREC_MIRROR=<path>."
        )
    try:
        with rarfile.RarFile(archive, errors="strict") if kind == "RAR" else zipfile.ZipFile(archive) as opened:
            members = [*(_rar_members(opened) if kind == "RAR" else _zip_members(opened))]
            check(archive, members)
            total = sum(member.bytes for member in members)
            require_space(folder, total, f"unpacking {archive.name}")
            if kind == "ZIP":
                _unzip(opened, folder, total)
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # such as a full disk
            raise
        raise DamagedError(f"{archive} is damaged ({error}). Remove it and rerun.") from None
    except (rarfile.Error, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, IndexError, ValueError, RuntimeError) as error:
        raise DamagedError(f"{archive} is damaged or incomplete ({error}). Remove it and rerun.") from None
    if kind == "RAR":
        require_tool(archive)
        _unrar(archive, members, folder, total)
    else:
        problems = differences(members, folder)
        if problems:
            raise DamagedError(f"{archive} was not completely unpacked: {first_few(problems)}. Remove it and rerun.")


def installed() -> list[str]:
    """Installed programs that unpack RAR, in the order in which they are tried."""
    return [tool for tool in RAR_TOOLS if shutil.which(tool)]


def require_tool(archive: Path) -> None:
    """Raise an ArchiveError if no program that unpacks RAR is installed."""
    if not installed():
        raise ArchiveError(f"{archive} is a RAR archive, and no program that unpacks it is installed. {INSTALL}")


def _zip_members(opened: zipfile.ZipFile) -> Iterator[ArchiveMember]:
    for info in opened.infolist():
        mode = info.external_attr >> 16
        odd = stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR)
        flaw = "a link" if odd else "encrypted" if info.flag_bits & 1 else None
        yield ArchiveMember(info.filename, info.is_dir(), info.file_size, None if info.is_dir() else info.CRC, flaw)


def _rar_members(opened: rarfile.RarFile) -> Iterator[ArchiveMember]:
    if opened.needs_password():
        yield ArchiveMember("everything", False, 0, None, "encrypted")
    for info in opened.infolist():
        # RAR 5 has symbolic links, hard links and references to other members.
        plain = (info.is_dir() or info.is_file()) and not info.is_symlink() and not getattr(info, "file_redir", None)
        yield ArchiveMember(
            info.filename, info.is_dir(), info.file_size, None if info.is_dir() else info.CRC, None if plain else "a link"
        )


def check(archive: Path, members: Sequence[ArchiveMember]) -> None:
    """Reject an archive that would write outside its folder, make links, overwrite its own files, or unpack to a huge size.

    Raises:
        DamagedError: names the first unsafe members.
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
            problems.append(f"{member.name!r} is outside the folder")
        elif path in kinds and not (kinds[path] and member.is_folder):
            problems.append(f"{member.name!r} is a duplicate")
        kinds[path] = member.is_folder
    files = {path for path, is_folder in kinds.items() if not is_folder}
    problems += [
        f"{str(path)!r} is both a file and a folder" for path in {parent for path in kinds for parent in path.parents} & files
    ]
    total = sum(member.bytes for member in members)
    if total > MOST_BYTES or len(members) > MOST_MEMBERS:
        problems.append(f"it declares {len(members):,} members of {total:,} bytes")
    if problems:
        raise DamagedError(
            f"{archive} is not safe to unpack: {first_few(problems)}. Nothing was written. Get the archive from its own host."
        )


def _unzip(opened: zipfile.ZipFile, folder: Path, total: int) -> None:
    """Unpack a ZIP. zipfile reads no more of a member than it declares, and checks its CRC."""
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


def _unrar(archive: Path, members: Sequence[ArchiveMember], folder: Path, total: int) -> None:
    """Unpack with the first installed program that unpacks the archive completely."""
    failures = []
    for tool in installed():
        output = _run(tool, archive, folder, largest=max((member.bytes for member in members), default=0), total=total)
        problems = differences(members, folder)
        if not problems:
            return
        failures.append(f"{tool}: {first_few(problems)}" + (f" ({output})" if output else ""))
        logger.warning("%s did not completely unpack %s: %s", tool, archive.name, failures[-1])
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    raise ArchiveError(
        f"{archive} could not be unpacked. {' | '.join(failures)}. Install another program that unpacks RAR, or remove the archive "
        f"and rerun to download it again. {INSTALL}"
    )


def _run(tool: str, archive: Path, folder: Path, *, largest: int, total: int) -> str:
    """Run a program and show its progress; stop it if it writes more than the archive declares. Return the end of its output."""
    command = RAR_TOOLS[tool](str(archive.absolute()), str(folder.absolute()))
    log = folder.with_name(f"{folder.name}.log")
    try:
        with log.open("w+b") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=partial(process_lifetime.end_with_parent, os.getpid()),  # the program stops if the stage is killed
            )
            try:
                if sys.platform == "linux":
                    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (largest + _SLACK_BYTES,) * 2)
                with progress(f"Unpacking {archive.name}", total // MEGABYTE, "MB") as advance:
                    reported = 0
                    while not _ended(process):
                        written = _size(folder)
                        if written > total + _SLACK_BYTES:
                            return f"stopped: it wrote {written:,} bytes; the archive declares {total:,}"
                        advance(written // MEGABYTE - reported)
                        reported = written // MEGABYTE
            except ProcessLookupError:
                process.wait()  # it ended before the limit was set
            finally:
                process.kill()
                process.wait()
            _make_accessible(folder)
            output.seek(0)
            words = output.read().decode("utf-8", "replace").split()
            return " ".join(words)[-200:]
    finally:
        log.unlink(missing_ok=True)


def _make_accessible(folder: Path) -> None:
    """Make all folders accessible. With some modes from an archive, they could be neither read nor removed."""
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
            except FileNotFoundError:  # a temporary file of the program
                continue
    return total


def differences(members: Sequence[ArchiveMember], folder: Path) -> list[str]:
    """Compare `folder` with the archive's list, and describe each difference. Make the files readable for all users."""
    expected = {PurePosixPath(member.name.replace("\\", "/")).as_posix(): member for member in members if not member.is_folder}
    problems = []
    for parent, folders, files in os.walk(folder):
        for name in files + [name for name in folders if Path(parent, name).is_symlink()]:
            path = Path(parent, name)
            member = expected.pop(path.relative_to(folder).as_posix(), None)
            status = path.lstat()
            if member is None:
                problems.append(f"{name!r} is not in the archive's list")
            elif not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                problems.append(f"{name!r} is not a plain file")
            elif status.st_size != member.bytes:
                problems.append(f"{name!r} has {status.st_size:,} bytes, expected {member.bytes:,}")
            elif member.crc32 is not None and _crc32(path) != member.crc32:
                problems.append(f"{name!r} does not match its checksum in the archive")
            else:
                path.chmod(0o644)
    return [*problems, *(f"{name!r} is missing" for name in expected)]


def _crc32(path: Path) -> int:
    total = 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            total = zlib.crc32(chunk, total)
    return total
