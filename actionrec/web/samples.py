"""Sample clips of the page: one of each class, a test clip if there is one."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from actionrec.core import paths
from actionrec.core.errors import ActionrecError, DataError
from actionrec.data import splits
from actionrec.data.clip_files import ClipFiles, read_clip_files
from actionrec.data.clips import SUFFIXES, Clip, read_clips
from actionrec.io import params
from actionrec.io.files import whole_file
from actionrec.video.sampling import evenly_spaced
from actionrec.web.predict_request import RequestError

MOST = 12
"""The most samples; with more classes, evenly spaced ones are taken."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class SampleClip:
    """A clip of a class."""

    label: str
    path: Path


def of_project() -> list[SampleClip]:
    """Samples of the data set in params.yaml; none if it is missing. Those in tar shards are copied to .work/samples."""
    try:
        folder = paths.RAW / str(params.load()["data"]["dataset"])
        if paths.TAR_MEMBERS.is_file() and (files := read_clip_files(folder)).members:
            return _of_shards(read_clips(paths.CLIPS), files, subsets())
        return of_folder(folder, subsets())
    except (ActionrecError, OSError, KeyError, TypeError):  # a bundle can be served outside a project
        return []


def subsets() -> dict[str, str]:
    """The subset of each of the project's clips; empty if there is no split."""
    try:
        return splits.read_split(paths.SPLIT)
    except DataError:
        return {}


def of_folder(folder: Path, subset_of: Mapping[str, str] | None = None) -> list[SampleClip]:
    """The first clip of each class in `<folder>/<Class>/<clip>`: a test clip if there is one.

    Args:
        folder: of the data set.
        subset_of: the subset of each clip, by its path in the folder.
    """
    offered = []
    for class_folder in sorted(folder.glob("*/")):
        clips = sorted(clip for clip in class_folder.iterdir() if clip.suffix.lower() in SUFFIXES and clip.is_file())
        unseen = [clip for clip in clips if (subset_of or {}).get(f"{class_folder.name}/{clip.name}") == "test"]
        offered += [SampleClip(class_folder.name, clip) for clip in (unseen or clips)[:1]]
    return _spread(offered)


def _of_shards(clips: Sequence[Clip], files: ClipFiles, subset_of: Mapping[str, str]) -> list[SampleClip]:
    """As `of_folder`, for a data set with tar shards."""
    first: dict[str, Clip] = {}
    for clip in sorted(clips, key=lambda clip: (clip.label, subset_of.get(clip.id) != "test", clip.id)):
        first.setdefault(clip.label, clip)
    return [SampleClip(clip.label, _file(clip, files)) for clip in _spread([*first.values()])]


def _file(clip: Clip, files: ClipFiles) -> Path:
    """A clip's file. If it is in a tar shard, it is copied: the server sends files, and `actionrec export --space` packs them."""
    file = files[clip.id]
    if isinstance(file, Path):
        return file
    copy = paths.WORK / "samples" / clip.sha256[:16] / file.name
    if not copy.is_file():
        with whole_file(copy) as draft, draft.open("wb") as stream, file.open() as contents:
            shutil.copyfileobj(contents, stream)
    return copy


def _spread(offered: list[Item]) -> list[Item]:
    return [offered[index] for index in sorted(set(evenly_spaced(len(offered), MOST)))] if len(offered) > MOST else offered


def find_sample(samples: Sequence[SampleClip], place: int) -> SampleClip:
    """A sample by its number.

    Raises:
        RequestError: there is no such sample.
    """
    if not 0 <= place < len(samples):
        raise RequestError(404, f"sample {place}: no such sample; there are {len(samples)}, numbered from 0.")
    if not samples[place].path.is_file():
        raise RequestError(404, f"sample {place}: {samples[place].path.name} is no longer there.")
    return samples[place]
