"""Write tar shards of a data set."""

import io
import tarfile
from pathlib import Path


def write_tar(tar: Path, members, kind=tarfile.USTAR_FORMAT) -> Path:
    """Write an archive.

    Args:
        members: path -> contents, as text or bytes; a tarfile.TarInfo is written as it is.
    """
    tar.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(tar, "w", format=kind) as archive:
        for path, contents in members.items():
            if isinstance(contents, tarfile.TarInfo):
                archive.addfile(contents)
                continue
            contents = contents.encode() if isinstance(contents, str) else contents
            header = tarfile.TarInfo(path)
            header.size = len(contents)
            archive.addfile(header, io.BytesIO(contents))
    return tar


def offsets(tar: Path) -> dict[str, int]:
    """Where each member's header is in an archive."""
    with tarfile.open(tar) as archive:
        return {header.name: header.offset for header in archive}
