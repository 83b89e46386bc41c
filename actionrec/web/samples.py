"""Sample clips of the page: one of each class, a test clip if there is one."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2

from actionrec.core import paths
from actionrec.core.errors import ActionrecError, DataError, VideoError
from actionrec.data import splits
from actionrec.data.clips import SUFFIXES
from actionrec.io import params
from actionrec.video import clip_reader, decoder, frame_store
from actionrec.video.sampling import evenly_spaced

MOST = 12
"""The most samples; with more classes, evenly spaced ones are taken."""

_WIDTH = 240  # pixels of a thumbnail
_QUALITY = 85


@dataclass(frozen=True)
class Sample:
    """A clip of a class."""

    label: str
    path: Path


def of_project() -> list[Sample]:
    """Samples of the data set in params.yaml; none if it is missing."""
    try:
        return of_folder(paths.RAW / str(params.load()["data"]["dataset"]), subsets())
    except (ActionrecError, KeyError, TypeError):  # a bundle can be served outside a project
        return []


def subsets() -> dict[str, str]:
    """The subset of each of the project's clips; empty if there is no split."""
    try:
        return splits.read_split(paths.SPLIT)
    except DataError:
        return {}


def of_folder(folder: Path, subset_of: Mapping[str, str] | None = None) -> list[Sample]:
    """The first clip of each class in `<folder>/<Class>/<clip>`: a test clip if there is one.

    Args:
        folder: of the data set.
        subset_of: the subset of each clip, by its path in the folder.
    """
    offered = []
    for class_folder in sorted(folder.glob("*/")):
        clips = sorted(clip for clip in class_folder.iterdir() if clip.suffix.lower() in SUFFIXES and clip.is_file())
        unseen = [clip for clip in clips if (subset_of or {}).get(f"{class_folder.name}/{clip.name}") == "test"]
        offered += [Sample(class_folder.name, clip) for clip in (unseen or clips)[:1]]
    return [offered[index] for index in sorted(set(evenly_spaced(len(offered), MOST)))] if len(offered) > MOST else offered


@lru_cache(MOST)
def thumbnail(path: Path) -> bytes:
    """A clip's middle frame as a small JPEG.

    Raises:
        VideoError: it cannot be decoded.
    """
    picture = clip_reader.read_frame(path, decoder.read_header(path).frames // 2)
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (_WIDTH, max(1, round(height * _WIDTH / width))), interpolation=cv2.INTER_AREA)
    if not small.size:
        raise VideoError("the picture is empty")
    return frame_store.encode_jpeg(small, _QUALITY)  # type: ignore[arg-type]
