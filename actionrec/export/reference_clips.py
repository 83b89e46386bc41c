"""Clips that an exported model is checked, calibrated and measured on: the project's stored frames, videos, or noise.

T frames a clip; frames are (T, size, size, 3), uint8, RGB, as the frame store gives them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actionrec.core import paths
from actionrec.core.errors import DataError
from actionrec.core.text import first_few
from actionrec.data.clips import Clip, read_clips
from actionrec.data.splits import read_split
from actionrec.features.feature_store import current_frames
from actionrec.inference.predictor import Predictor
from actionrec.io.files import read_csv, read_json
from actionrec.video.frame_store import DESCRIPTION, LEDGER, LEDGER_HEADER, read_frames
from actionrec.video.sampling import evenly_spaced

CHECKED = 4
"""Clips that an export is checked on, unless videos are named."""

_MOST_VIDEOS = (
    32  # of those that are named, as all that are checked on are in memory, once as they are and once as models take them
)
_AT_ONCE = 32  # clips of which the frames are in memory: 5 MB each at 32 x 224 x 224


@dataclass(frozen=True)
class Shown:
    """Clips to check an exported model on."""

    frames: Sequence[NDArray[np.uint8]]
    what: str
    """In words, such as `4 test clips`."""


def to_check(predictor: Predictor, videos: Sequence[Path]) -> Shown:
    """Videos where some are named, and of many some that are evenly spaced; else some test clips of the project, else noise.

    Raises:
        DataError, VideoError: a video cannot be read.
    """
    if videos:
        chosen = [videos[place] for place in evenly_spaced(len(videos), _MOST_VIDEOS)] if len(videos) > _MOST_VIDEOS else videos
        named = f"{len(videos)} video{'s' if len(videos) > 1 else ''}"
        what = named if chosen is videos else f"{len(chosen)} of {named}, evenly spaced"
        return Shown([predictor.sample(path).frames for path in chosen], what)
    if why_not_stored(predictor) is None:
        found = [frames for _, frames in stored_frames(spread(stored_clips("test"), CHECKED))]
        if found:
            return Shown(found, f"{len(found)} test clip{'s' if len(found) > 1 else ''}")
    random, sampling = np.random.default_rng(0), predictor.sampling
    shape = (CHECKED, sampling.count, sampling.resolution, sampling.resolution, 3)
    return Shown(list(random.integers(0, 256, shape, dtype=np.uint8)), f"{CHECKED} clips of noise, for want of real ones")


def why_not_stored(predictor: Predictor) -> str | None:
    """Why the project's stored frames are of no use to a bundle; None where they are."""
    for path in (paths.CLIPS, paths.SPLIT, paths.FRAMES / LEDGER, paths.FRAMES / DESCRIPTION):
        if not path.is_file():
            return f"{path} is missing"
    stored, wanted = current_frames(read_json(paths.FRAMES / DESCRIPTION)), predictor.bundle.features["frames"]
    if stored != wanted:
        return f"{paths.FRAMES} has frames of {stored}, but {predictor.name} was trained on frames of {wanted}"
    return None


def stored_clips(subset: str) -> list[Clip]:
    """The project's clips of one subset that could be decoded, sorted by id."""
    split = read_split(paths.SPLIT)
    decoded = {row["clip"] for row in read_csv(paths.FRAMES / LEDGER, LEDGER_HEADER) if not row["error"]}
    return [clip for clip in read_clips(paths.CLIPS) if split.get(clip.id) == subset and clip.id in decoded]


def labelled_clips(predictor: Predictor, subset: str, limit: int | None) -> list[Clip]:
    """At most `limit` of the project's clips of one subset, spread over the classes, of which the bundle knows all.

    Raises:
        DataError: there are none, or the stored frames or the classes are not the bundle's.
    """
    if why := why_not_stored(predictor):
        raise DataError(
            f"--int8 is calibrated on training clips and measured on test clips, from {paths.FRAMES}: {why}. "
            "Run `dvc repro extract_frames` in the project that the model was trained in, or do without --int8."
        )
    clips = stored_clips(subset)
    if not clips:
        raise DataError(f"--int8 needs {subset} clips, and {paths.SPLIT} has none that could be decoded.")
    if strange := sorted({clip.label for clip in clips} - set(predictor.class_names)):
        raise DataError(
            f"{paths.CLIPS} has classes that {predictor.name} does not know: {first_few(strange)}. "
            "Run --int8 in the project that the model was trained in."
        )
    return spread(clips, limit)


def spread(clips: Sequence[Clip], limit: int | None) -> list[Clip]:
    """The first `limit` clips, taking one of each class in turns."""
    by_class: dict[str, list[Clip]] = {}
    for clip in clips:
        by_class.setdefault(clip.label, []).append(clip)
    turns = chain.from_iterable(zip_longest(*by_class.values()))
    return [clip for clip in turns if clip is not None][:limit]


def stored_frames(clips: Sequence[Clip], advance: Callable[[int], object] = int) -> Iterator[tuple[Clip, NDArray[np.uint8]]]:
    """Yield each clip with its stored frames, in their order; clips that are not in the store are left out.

    Args:
        advance: told of each clip that is done with.
    """
    for start in range(0, len(clips), _AT_ONCE):
        some = clips[start : start + _AT_ONCE]
        found = read_frames(paths.FRAMES, [clip.id for clip in some])
        for clip in some:
            if clip.id in found:
                yield clip, found[clip.id]
            advance(1)
