"""Files of a data set's clips: paths below its folder, or members of its tar shards, which data/tar_members.csv locates."""

from collections.abc import Mapping
from pathlib import Path

from actionrec.core import paths
from actionrec.core.errors import REPAIR, DataError
from actionrec.io.files import read_csv, write_csv
from actionrec.io.tar_member import ClipFile, TarMember

HEADER = ("clip", "shard", "offset", "bytes")


class ClipFiles:
    """Clip id -> the clip's file."""

    def __init__(self, folder: Path, members: Mapping[str, TarMember] | None = None) -> None:
        """Take the clips that are in `members` from there, and all others from below `folder`."""
        self.folder, self.members = folder, members or {}

    def __getitem__(self, clip_id: str) -> ClipFile:
        return self.members.get(clip_id) or self.folder / clip_id

    def has(self, clip_id: str) -> bool:
        """Whether there is a clip of this id."""
        return clip_id in self.members or (self.folder / clip_id).is_file()


def write_members(path: Path, members: Mapping[str, TarMember]) -> None:
    """Write where each clip is in the shards, sorted by clip; without shards, a table without rows."""
    rows = [[clip, member.tar.name, member.offset, member.size] for clip, member in sorted(members.items())]
    write_csv(path, HEADER, rows)


def read_clip_files(folder: Path) -> ClipFiles:
    """The files of the project's data set, by data/tar_members.csv.

    Args:
        folder: the data set's.

    Raises:
        DataError: the table is missing or damaged.
    """
    members: dict[str, TarMember] = {}
    tars: dict[str, Path] = {}  # one object per shard, not per clip
    for row in read_csv(paths.TAR_MEMBERS, HEADER):
        if not (row["offset"].isdecimal() and row["bytes"].isdecimal()) or "/" in row["shard"]:
            raise DataError(f"{paths.TAR_MEMBERS} is damaged: got the row {','.join(row.values())}. {REPAIR}")
        tar = tars.setdefault(row["shard"], folder / row["shard"])
        members[row["clip"]] = TarMember(tar, row["clip"], int(row["offset"]), int(row["bytes"]))
    return ClipFiles(folder, members)
