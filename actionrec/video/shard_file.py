"""Shard file: a tar file of plain files, as the frame store writes it.

A GPU needs 10,000 pictures a second, each with a header, and the headers of all shards are read before the first one. tarfile reads
any kind of header, which takes Python three to five times as long.
"""

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from actionrec.core.errors import REPAIR, DataError, VideoError

_BLOCK = tarfile.BLOCKSIZE  # bytes of a header; contents are padded to a multiple
_CUT = "unexpected end of data"


class TarMember(NamedTuple):
    """A file in a shard."""

    name: str
    start: int
    """Offset of its first byte in the shard."""
    size: int
    """Bytes."""


@contextmanager
def open_shard(path: Path, buffering: int = 0) -> Iterator[BinaryIO]:
    """Open a shard; while it is open, errors of reading it become a DataError.

    Args:
        buffering: bytes that are read at a time; 0 reads what is asked for.
    """
    with naming_damage(path), path.open("rb", buffering) as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(-min(size, 2 * _BLOCK), io.SEEK_END)
        if size % tarfile.RECORDSIZE or stream.read().strip(b"\0"):  # a file cut between two members has no end mark
            raise EOFError(_CUT)
        yield stream


@contextmanager
def naming_damage(path: Path) -> Iterator[None]:
    """Turn errors of reading and decoding into a DataError that names the shard."""
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError, EOFError, VideoError) as error:
        raise DataError(f"{path} is damaged ({error}). {REPAIR}") from None


def members(shard: BinaryIO) -> Iterator[TarMember]:
    """Yield the members in their order.

    Raises:
        ValueError, EOFError: a header is damaged, is not of a plain file, or is missing.
    """
    place = 0
    while True:
        shard.seek(place)
        header = shard.read(_BLOCK)
        if len(header) < _BLOCK:
            raise EOFError(_CUT)
        if not header.strip(b"\0"):
            return
        member = _parse(header, place)
        yield member
        place = member.start + -(-member.size // _BLOCK) * _BLOCK


def contents(shard: BinaryIO, member: TarMember) -> bytes:
    """Read a member.

    Raises:
        EOFError: the shard ends before its end.
    """
    shard.seek(member.start)
    parts: list[bytes] = []
    missing = member.size
    while missing:  # one call of the system gives at most 2 GiB
        parts.append(shard.read(missing))
        if not parts[-1]:
            raise EOFError(_CUT)
        missing -= len(parts[-1])
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _parse(header: bytes, place: int) -> TarMember:
    """Read a header of the ustar format: its fields have fixed places."""
    size, checksum = (int(field.rstrip(b" \0"), 8) for field in (header[124:136], header[148:156]))
    if checksum != sum(header) - sum(header[148:156]) + 8 * ord(" ") or size < 0:
        raise ValueError(f"the header at byte {place} does not match its checksum")
    if header[156] not in b"0\0":
        raise ValueError(f"the header at byte {place} is not of a plain file")
    return TarMember(header[:100].partition(b"\0")[0].decode(), place + _BLOCK, size)
