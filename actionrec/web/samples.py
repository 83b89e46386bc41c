"""Clips to try a model with: one of each class, where there can be a choice one that no model was trained on."""

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
"""Samples that are offered; of more classes, so many that are evenly spread over them."""

_WIDTH = 240  # pixels of a thumbnail
_QUALITY = 85


@dataclass(frozen=True)
class Sample:
    """A clip of a class."""

    label: str
    path: Path


def of_project() -> list[Sample]:
    """Samples of the data set that params.yaml names; none where it is not here."""
    try:
        return of_folder(paths.RAW / str(params.load()["data"]["dataset"]), subsets())
    except (ActionrecError, KeyError, TypeError):  # a bundle is served without a project, too
        return []


def subsets() -> dict[str, str]:
    """Who was trained on which of the project's clips; empty where nobody knows."""
    try:
        return splits.read_split(paths.SPLIT)
    except DataError:
        return {}


def of_folder(folder: Path, known: Mapping[str, str] | None = None) -> list[Sample]:
    """The first clip of each class in `<folder>/<Class>/<clip>`: of the test clips, where there are such.

    Args:
        known: subsets of clips, by their paths below the folder.
    """
    found = []
    for place in sorted(folder.glob("*/")):
        clips = sorted(clip for clip in place.iterdir() if clip.suffix.lower() in SUFFIXES and clip.is_file())
        unseen = [clip for clip in clips if (known or {}).get(f"{place.name}/{clip.name}") == "test"]
        found += [Sample(place.name, clip) for clip in (unseen or clips)[:1]]
    return [found[place] for place in sorted(set(evenly_spaced(len(found), MOST)))] if len(found) > MOST else found


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
