"""A file inside a tar archive, read in place. It has the part of Path's interface that reading a clip needs."""

import errno
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Status:
    """What `TarMember.stat` returns: the archive's, but with the member's size. Fields are named as in os.stat_result."""

    st_mode: int
    st_size: int
    """Bytes of the member."""
    st_mtime_ns: int
    st_ctime_ns: int
    st_ino: int


@dataclass(frozen=True, slots=True)
class TarMember:
    """A regular file in an uncompressed tar archive."""

    tar: Path
    path: str
    """In the archive, with `/`."""
    offset: int
    """Of its first byte in the archive."""
    size: int
    """Bytes."""

    def __str__(self) -> str:
        return f"{self.tar}/{self.path}"

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[-1]

    def open(self, mode: str = "rb") -> "MemberStream":
        """Open the member for reading.

        Raises:
            OSError: the archive cannot be opened.
            ValueError: another mode than `rb`.
        """
        if mode != "rb":
            raise ValueError(f"a member of a tar archive can only be read; got the mode {mode!r}")
        return MemberStream(self)

    def stat(self) -> Status:
        """Raises OSError if the archive is missing."""
        archive = self.tar.stat()
        return Status(archive.st_mode, self.size, archive.st_mtime_ns, archive.st_ctime_ns, archive.st_ino)

    def exists(self) -> bool:
        """Whether the archive exists."""
        return self.tar.exists()

    def is_file(self) -> bool:
        """Whether the archive is a regular file."""
        return self.tar.is_file()

    def is_dir(self) -> bool:
        return False


ClipFile = Path | TarMember
"""Where the bytes of a clip are."""


class MemberStream(io.RawIOBase):
    """The bytes of a member as a stream that ends with it, also where the archive goes on."""

    def __init__(self, member: TarMember) -> None:
        self.name = os.path.join(os.path.abspath(member.tar), member.path)  # noqa: PTH100, PTH118 - FFmpeg sees its suffix
        self._start, self._size, self._place = member.offset, member.size, 0
        self._archive = member.tar.open("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = max(0, self._size - self._place)
        with memoryview(buffer) as view:
            self._archive.seek(self._start + self._place)
            count = self._archive.readinto(view[:left]) if left else 0
        self._place += count or 0
        return count or 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte of the member; after its end is allowed, as in a file."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def close(self) -> None:
        self._archive.close()
        super().close()
