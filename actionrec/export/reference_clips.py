"""Reference clips to check, calibrate and measure exported models on: the project's stored frames, videos, or noise.

T frames a clip; frames are (T, size, size, 3), uint8, RGB, as the frame store returns them.
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
"""Number of clips that an export is checked on, unless videos are named."""

_MOST_VIDEOS = 32  # to check on, because all of them are in memory twice
_AT_ONCE = 32  # clips in memory at a time: 5 MB each at 32 x 224 x 224


@dataclass(frozen=True)
class ReferenceClips:
    """Clips to check an exported model on."""

    frames: Sequence[NDArray[np.uint8]]
    description: str
    """Such as `4 test clips`."""


def to_check(predictor: Predictor, videos: Sequence[Path]) -> ReferenceClips:
    """Choose clips: some of the named videos, evenly spaced; else some test clips of the project; else noise.

    Raises:
        DataError, VideoError: a video cannot be read.
    """
    if videos:
        chosen = [videos[place] for place in evenly_spaced(len(videos), _MOST_VIDEOS)] if len(videos) > _MOST_VIDEOS else videos
        named = f"{len(videos)} video{'s' if len(videos) > 1 else ''}"
        description = named if chosen is videos else f"{len(chosen)} of {named}, evenly spaced"
        return ReferenceClips([predictor.sample(path).pictures for path in chosen], description)
    if why_not_stored(predictor) is None:
        stored = [frames for _, frames in stored_frames(spread(stored_clips("test"), CHECKED))]
        if stored:
            return ReferenceClips(stored, f"{len(stored)} test clip{'s' if len(stored) > 1 else ''}")
    random, sampling = np.random.default_rng(0), predictor.sampling
    shape = (CHECKED, *sampling.shape)
    noise = list(random.integers(0, 256, shape, dtype=np.uint8))
    return ReferenceClips(noise, f"{CHECKED} clips of noise, because no clips are available")


def why_not_stored(predictor: Predictor) -> str | None:
    """Why the project's stored frames cannot be used with a bundle; None if they can."""
    for path in (paths.CLIPS, paths.SPLIT, paths.FRAMES / LEDGER, paths.FRAMES / DESCRIPTION):
        if not path.is_file():
            return f"{path} is missing"
    stored, expected = current_frames(read_json(paths.FRAMES / DESCRIPTION)), predictor.bundle.features["frames"]
    if stored != expected:
        return f"{paths.FRAMES} has frames of {stored}, but {predictor.name} was trained on frames of {expected}"
    return None


def stored_clips(subset: str) -> list[Clip]:
    """The project's clips of one subset that could be decoded, sorted by id."""
    split = read_split(paths.SPLIT)
    decoded = {row["clip"] for row in read_csv(paths.FRAMES / LEDGER, LEDGER_HEADER) if not row["error"]}
    return [clip for clip in read_clips(paths.CLIPS) if split.get(clip.id) == subset and clip.id in decoded]


def labelled_clips(predictor: Predictor, subset: str, limit: int | None) -> list[Clip]:
    """At most `limit` of the project's clips of one subset, spread over the classes.

    Raises:
        DataError: there are no clips or no frames of them, or the stored frames or the classes are not the bundle's.
    """
    if why := why_not_stored(predictor):
        raise DataError(
            f"--int8 is calibrated on training clips and measured on test clips, from {paths.FRAMES}: {why}. "
            "Run `dvc repro extract_frames` in the project that the model was trained in, or omit --int8."
        )
    clips = stored_clips(subset)
    if not clips:
        raise DataError(f"--int8 needs {subset} clips, but {paths.SPLIT} has none that could be decoded.")
    if unknown := sorted({clip.label for clip in clips} - set(predictor.class_names)):
        raise DataError(
            f"{paths.CLIPS} has classes that {predictor.name} does not know: {first_few(unknown)}. "
            "Run --int8 in the project that the model was trained in."
        )
    chosen = spread(clips, limit)
    if next(stored_frames(chosen), None) is None:
        raise DataError(
            f"{paths.FRAMES}: no clips to {'calibrate' if subset == 'train' else 'measure'} on, because files with frames are "
            "missing. Run `dvc repro extract_frames` to make them again."
        )
    return chosen


def spread(clips: Sequence[Clip], limit: int | None) -> list[Clip]:
    """The first `limit` clips, taken from all classes in turn."""
    by_class: dict[str, list[Clip]] = {}
    for clip in clips:
        by_class.setdefault(clip.label, []).append(clip)
    turns = chain.from_iterable(zip_longest(*by_class.values()))
    return [clip for clip in turns if clip is not None][:limit]


def stored_frames(clips: Sequence[Clip], advance: Callable[[int], object] = int) -> Iterator[tuple[Clip, NDArray[np.uint8]]]:
    """Yield each clip with its stored frames, in order; skips clips that are not in the store.

    Args:
        advance: called with 1 after each clip.
    """
    for start in range(0, len(clips), _AT_ONCE):
        batch = clips[start : start + _AT_ONCE]
        frames = read_frames(paths.FRAMES, [clip.id for clip in batch])
        for clip in batch:
            if clip.id in frames:
                yield clip, frames[clip.id]
            advance(1)
