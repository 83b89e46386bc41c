"""Write real RAR files, version 3 and stored, as no free program does: headers as in RARLAB's technote.txt of RAR 3."""

import struct
import zlib
from pathlib import Path

_MARKER = b"Rar!\x1a\x07\x00"
_ARCHIVE, _FILE, _END = 0x73, 0x74, 0x7B
_LONG_BLOCK, _FOLDER = 0x8000, 0x00E0
_UNIX, _VERSION, _STORED = 3, 29, 0x30


def _block(kind: int, flags: int, rest: bytes) -> bytes:
    size = 7 + len(rest)
    body = struct.pack("<BHH", kind, flags, size) + rest
    return struct.pack("<H", zlib.crc32(body) & 0xFFFF) + body


def _file(name: str, contents: bytes, mode: int, crc32: int | None, claimed: int | None) -> bytes:
    encoded = name.replace("/", "\\").encode()
    flags = _LONG_BLOCK | (_FOLDER if mode & 0o040000 == 0o040000 and not mode & 0o100000 else 0)
    rest = struct.pack(
        "<IIBIIBBHI",
        len(contents),
        len(contents) if claimed is None else claimed,
        _UNIX,
        zlib.crc32(contents) if crc32 is None else crc32,
        0x5A21_0000,  # a day in 2025
        _VERSION,
        _STORED,
        len(encoded),
        mode,
    )
    return _block(_FILE, flags, rest + encoded) + contents


def rar(files, *, modes=None, crc32=None, claimed=None) -> bytes:
    """A RAR archive of files (name -> contents; a name that ends in / is a folder).

    Args:
        modes: name -> Unix mode, for links.
        crc32, claimed: a checksum and an unpacked size that are not the contents'.
    """
    parts = [_MARKER, _block(_ARCHIVE, 0, bytes(6))]
    for name, contents in files.items():
        mode = (modes or {}).get(name, 0o040755 if name.endswith("/") else 0o100644)
        parts.append(_file(name.rstrip("/"), contents, mode, crc32, claimed))
    return b"".join([*parts, _block(_END, 0x4000, b"")])


def write_rar(path: Path, files, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(rar(files, **options))
    return path
