"""Headers of video files and, with `decode`, what reading each file to its end finds."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from actionrec.core.errors import VideoError
from actionrec.data.clips import Clip
from actionrec.parallel.file_pool import each
from actionrec.video import clip_reader
from actionrec.video.decoder import Header, read_header

SAMPLED = 32  # frames, when reading through
LATEST_FRAME = 100  # shown of a clip: a frame costs decoding all before it
TRIED = 5  # clips of a class, for one that can be shown
THUMBNAIL = 320  # pixels, the longer side


@dataclass(frozen=True)
class Probe:
    """One file, as far as it was looked at."""

    clip: Clip
    header: Header | None
    """None where the file does not open."""
    error: str = ""
    """Why it does not open, or does not decode; empty where nothing is known to be wrong."""
    decoded_frames: int | None = None
    """What reading to the end yields; None where it was not read."""
    still: bool = False
    """Read to the end, all sampled frames are the same."""
    warning: str = ""
    """What is damaged, where it was read to the end."""

    @property
    def frames(self) -> int:
        """The true count where it is known, else the header's; 0 where that claims none."""
        claimed = self.header.frames if self.header else 0
        return claimed if self.decoded_frames is None else self.decoded_frames

    @property
    def seconds(self) -> float | None:
        """Duration; None where it cannot be told."""
        if not self.header or not self.header.frames_per_second or not self.frames:
            return None
        return self.frames / self.header.frames_per_second


def probe(folder: Path, clips: Sequence[Clip], *, decode: bool) -> list[Probe]:
    """Read the header of each clip; `decode` reads each clip to its end as well."""
    if decode:
        return each(partial(_read_through, folder), clips, "Reading clips through", chunk=1)
    return each(partial(_read_header, folder), clips, "Reading headers", chunk=16)


def _read_header(folder: Path, clip: Clip) -> Probe:
    try:
        return Probe(clip, read_header(folder / clip.id))
    except VideoError as error:
        return Probe(clip, None, str(error))


def _read_through(folder: Path, clip: Clip) -> Probe:
    found = _read_header(folder, clip)
    if not found.header:
        return found
    try:
        # Tiny pictures: they only tell whether anything changes.
        sampled = clip_reader.sample_clip_safely(folder / clip.id, SAMPLED, resolution=8)
    except VideoError as error:
        return Probe(clip, found.header, str(error), error.decoded_frames)
    still = sampled.unique_frames > 1 and bool((sampled.frames == sampled.frames[0]).all())
    return Probe(clip, found.header, "", sampled.decoded_frames, still, sampled.warning)


def pictures(folder: Path, probes: Sequence[Probe], class_names: Sequence[str]) -> dict[str, NDArray[np.uint8] | None]:
    """A frame of one clip of each class, small, (H, W, 3), RGB; None where none of the first few clips can be shown."""
    by_class: dict[str, list[Probe]] = {name: [] for name in class_names}
    for one in probes:
        if one.header and one.clip.label in by_class:
            by_class[one.clip.label].append(one)
    candidates = [sorted(those, key=lambda one: one.error != "")[:TRIED] for those in by_class.values()]
    return dict(zip(by_class, each(partial(_picture, folder), candidates, "Taking pictures", chunk=8), strict=True))


def _picture(folder: Path, candidates: Sequence[Probe]) -> NDArray[np.uint8] | None:
    for one in candidates:
        # The middle lies after the end where the header overstates the length.
        for index in dict.fromkeys((min(one.frames // 2, LATEST_FRAME), 0)):
            try:
                return _thumbnail(clip_reader.read_frame(folder / one.clip.id, index))
            except VideoError:
                continue
    return None


def _thumbnail(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    scale = THUMBNAIL / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
