"""SHA256SUMS, the checksums of a folder of shards: write them, and verify files before they are read.

DVC trusts the files in its cache without reading them, so it does not notice a byte that changes on disk. Code that reads frames or
features therefore verifies them first, once in each process. `sha256sum --check SHA256SUMS` does the same in a shell.
"""

import logging
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from pathlib import Path

from actionrec.core.errors import REPAIR, DataError
from actionrec.core.text import first_few
from actionrec.io import machine
from actionrec.io.files import sha256_of, write_text

logger = logging.getLogger(__name__)

FILE = "SHA256SUMS"
_HEX = 64  # characters of a SHA-256


def write(folder: Path, known: Mapping[str, str]) -> None:
    """Write the checksums of all files of a folder. Those in `known`, by file name, are not computed again."""
    names = sorted(path.name for path in folder.iterdir())
    sums = {name: known.get(name) or sha256_of(folder / name) for name in names}
    write_text(folder / FILE, "".join(f"{digest}  {name}\n" for name, digest in sums.items()))


def read(folder: Path) -> dict[str, str] | None:
    """SHA-256 of each file by name; None if the folder has no SHA256SUMS, because an earlier version wrote it.

    Raises:
        DataError: the file is damaged.
    """
    file = folder / FILE
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        lines = ["?"]
    if any(line[_HEX : _HEX + 2] != "  " for line in lines):
        raise DataError(f"{file}: the file is damaged; expected lines of a checksum, two spaces and a file name. {REPAIR}")
    return {line[_HEX + 2 :]: line[:_HEX] for line in lines}


def verify(folder: Path, names: Collection[str]) -> dict[str, str]:
    """Compare files of a folder with its SHA256SUMS; return the SHA-256 of each by name.

    A file that has not changed since this process read it is not read again.

    Raises:
        DataError: files are damaged or not listed in SHA256SUMS.
    """
    ordered = sorted(names)
    expected = read(folder)
    with ThreadPoolExecutor(machine.cores()) as pool:  # hashing releases the GIL
        actual = dict(zip(ordered, pool.map(current, [folder / name for name in ordered]), strict=True))
    if expected is None:
        _warn(folder)
        return actual
    if wrong := [name for name, digest in actual.items() if digest != expected.get(name)]:
        raise DataError(
            f"{folder}: {len(wrong)} of {len(actual)} files are damaged, as their contents do not match {FILE}: "
            f"{first_few(wrong)}. {REPAIR}"
        )
    return actual


@lru_cache
def _warn(folder: Path) -> None:
    logger.warning("%s has no %s, so its contents are not verified. `dvc repro` writes one.", folder, FILE)


def refuse_missing(folder: Path, suffix: str, names: Collection[str]) -> None:
    """Raise an error if files of a folder are missing.

    Args:
        suffix: of the file names, such as `.tar`.
        names: the files that exist.

    Raises:
        DataError: SHA256SUMS lists files that do not exist.
    """
    missing = sorted(name for name in read(folder) or {} if name.endswith(suffix) and name not in names)
    if missing:
        raise DataError(f"{folder}: {len(missing)} files are missing: {first_few(missing)}. {REPAIR}")


def current(file: Path) -> str:
    """SHA-256 of a file's present contents. A file that has not changed since the last call is not read again."""
    status = file.stat()
    return _sha256(file.absolute(), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


@cache
def _sha256(file: Path, *_identity: int) -> str:
    return sha256_of(file)
