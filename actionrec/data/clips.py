"""Clips of a data set and their groups: data/clips.csv.

A clip is one video file. Its id is its path below the data set's folder, with `/`, or its path in a tar shard. Its group is the
source video or person that it shows, read from its name: `_g<number>_c` as in UCF-50 and UCF-101, the text before the class as in
HMDB-51, or a match of the regular expression `data.group`. A clip without a group in its name is its own group.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actionrec.io import patterns
from actionrec.io.files import read_csv, write_csv

SUFFIXES = (
    ".avi", ".mp4", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v", ".wmv", ".flv", ".3gp", ".ts", ".mts", ".m2ts", ".ogv",
)  # fmt: skip
HEADER = ("clip", "label", "group", "bytes", "sha256")

_UCF = re.compile(r"_g(\d+)_c", re.IGNORECASE)
# Source, action, visible body parts, camera motion, people, viewpoint, quality, number.
_HMDB = re.compile(r"(.+)_[fhlu]_(?:cm|nm)_np\d+_(?:ba|fr|le|ri)_(?:bad|goo|med)_\d+\.\w+", re.IGNORECASE)


@dataclass(frozen=True)
class Clip:
    """One video file of a data set: a row of data/clips.csv."""

    id: str
    """Path below the data set's folder, with `/`, or in a tar shard."""
    label: str
    """Class name."""
    group: str
    """`g07` for UCF's `_g07_c`; the clip's id where the name has no group."""
    bytes: int
    sha256: str

    @property
    def cluster(self) -> tuple[str, str]:
        """The source video or person. Clips of one cluster are siblings, so that their predictions are correlated.

        UCF numbers groups within each class, so a cluster is the class and the group. Every other group (of HMDB-51, data.group or
        clips.csv) is one video or person across all classes.
        """
        return (self.label if is_ucf(self.group, self.id) else "", self.group)


def group_of(clip_id: str, label: str = "", pattern: str | None = None) -> str:
    r"""The source video or person of a clip, from its name.

    Args:
        label: the clip's class, which is part of HMDB-51's names.
        pattern: a regular expression that is searched for in the id. The group is what its first parentheses match, or the whole
            match if it has none. None: names as in UCF-50, UCF-101 and HMDB-51.

    >>> group_of("Billiards/v_Billards_g01_c02.avi")
    'g01'
    >>> group_of("brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi", "brush_hair")
    'April_09'
    >>> group_of("Jump/anna-03.mp4", pattern=r"([a-z]+)-\d+")
    'anna'
    >>> group_of("Jump/holiday.mp4")
    'Jump/holiday.mp4'
    """
    if pattern is not None:
        match = patterns.search(pattern, clip_id)
        group = match[1 if match.re.groups else 0] if match else None
        return group or clip_id
    name = clip_id.rsplit("/", 1)[-1]
    if match := _UCF.search(name):
        return f"g{int(match[1]):02d}"
    if match := _HMDB.fullmatch(name):
        return match[1].removesuffix(f"_{label}")
    return clip_id


def is_ucf(group: str, clip_id: str) -> bool:
    """Whether a group is the number in the clip's own name, as UCF writes it."""
    match = _UCF.search(clip_id.rsplit("/", 1)[-1])
    return match is not None and re.fullmatch(f"g0*{int(match[1])}", group) is not None


def cluster_ids(clips: Sequence[Clip]) -> NDArray[np.int64]:
    """(n,) the number of each clip's cluster, from 0, in the sorted order of clusters."""
    clusters = [clip.cluster for clip in clips]
    number = {cluster: place for place, cluster in enumerate(sorted(set(clusters)))}
    return np.array([number[cluster] for cluster in clusters], dtype=np.int64)


def class_names(clips: Iterable[Clip]) -> list[str]:
    """Names of the classes, sorted. A class's number is its index here."""
    return sorted({clip.label for clip in clips})


def write_clips(path: Path, clips: Iterable[Clip]) -> None:
    write_csv(path, HEADER, ([clip.id, clip.label, clip.group, clip.bytes, clip.sha256] for clip in clips))


def read_clips(path: Path) -> list[Clip]:
    """Read data/clips.csv, sorted by clip."""
    return [Clip(row["clip"], row["label"], row["group"], int(row["bytes"]), row["sha256"]) for row in read_csv(path, HEADER)]
