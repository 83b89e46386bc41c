"""Sample clips of the page: one of each class, a test clip if there is one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from actionrec.core import paths
from actionrec.core.errors import ActionrecError, DataError
from actionrec.data import splits
from actionrec.data.clips import SUFFIXES
from actionrec.io import params
from actionrec.video.sampling import evenly_spaced
from actionrec.web.predict_request import RequestError

MOST = 12
"""The most samples; with more classes, evenly spaced ones are taken."""


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


def find_sample(samples: Sequence[Sample], place: int) -> Sample:
    """A sample by its number.

    Raises:
        RequestError: there is no such sample.
    """
    if not 0 <= place < len(samples):
        raise RequestError(404, f"sample {place}: no such sample; there are {len(samples)}, numbered from 0.")
    if not samples[place].path.is_file():
        raise RequestError(404, f"sample {place}: {samples[place].path.name} is no longer there.")
    return samples[place]
