"""Probes of video files: their headers and, with `decode`, the result of decoding each file to its end."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from actionrec.core.errors import VideoError
from actionrec.data.clip_files import ClipFiles
from actionrec.data.clips import Clip
from actionrec.io.tar_member import ClipFile
from actionrec.parallel.file_pool import each
from actionrec.video import clip_reader
from actionrec.video.decoder import Header, read_header

SAMPLED = 32  # frames per clip that are compared when decoding
LATEST_FRAME = 100  # last frame for a picture of a clip, since all frames before it must be decoded
TRIED = 5  # clips per class that are tried for a picture
THUMBNAIL = 320  # longer side, pixels


@dataclass(frozen=True)
class Probe:
    """Properties of one file."""

    clip: Clip
    header: Header | None
    """None if the file cannot be opened."""
    error: str = ""
    """Why the file cannot be opened or decoded; empty if no error is known."""
    decoded_frames: int | None = None
    """Frames that decoding to the end gives; None if it was not decoded."""
    still: bool = False
    """The file was decoded, and all sampled frames are equal."""
    warning: str = ""
    """Damage found while decoding; empty if there is none or the file was not decoded."""

    @property
    def frames(self) -> int:
        """Number of decoded frames if known, else the number in the header; 0 if neither is known."""
        header_frames = self.header.frames if self.header else 0
        return header_frames if self.decoded_frames is None else self.decoded_frames

    @property
    def seconds(self) -> float | None:
        """Duration; None if unknown."""
        if not self.header or not self.header.frames_per_second or not self.frames:
            return None
        return self.frames / self.header.frames_per_second


_Located = tuple[Clip, ClipFile]


def probe(files: ClipFiles, clips: Sequence[Clip], *, decode: bool) -> list[Probe]:
    """Read the header of each clip; with `decode`, also decode each clip to its end."""
    located: list[_Located] = [(clip, files[clip.id]) for clip in clips]
    return each(_decode, located, "Decoding clips", chunk=1) if decode else each(_read_header, located, "Reading headers", chunk=16)


def _read_header(located: _Located) -> Probe:
    clip, file = located
    try:
        return Probe(clip, read_header(file))
    except VideoError as error:
        return Probe(clip, None, str(error))


def _decode(located: _Located) -> Probe:
    clip, file = located
    header_probe = _read_header(located)
    if not header_probe.header:
        return header_probe
    try:
        # Tiny pictures are enough to see whether anything changes.
        sampled = clip_reader.sample_clip_safely(file, SAMPLED, resolution=8)
    except VideoError as error:
        return Probe(clip, header_probe.header, str(error), error.decoded_frames)
    still = sampled.unique_frames > 1 and bool((sampled.frames == sampled.frames[0]).all())
    return Probe(clip, header_probe.header, "", sampled.decoded_frames, still, sampled.warning)


def pictures(files: ClipFiles, probes: Sequence[Probe], class_names: Sequence[str]) -> dict[str, NDArray[np.uint8] | None]:
    """Class -> a small picture (H, W, 3), RGB, of one of its clips; None if the first few clips cannot be read."""
    by_class: dict[str, list[Probe]] = {name: [] for name in class_names}
    for clip_probe in probes:
        if clip_probe.header and clip_probe.clip.label in by_class:
            by_class[clip_probe.clip.label].append(clip_probe)
    tried = [sorted(of_class, key=lambda clip_probe: clip_probe.error != "")[:TRIED] for of_class in by_class.values()]
    candidates = [[(one, files[one.clip.id]) for one in of_class] for of_class in tried]
    return dict(zip(by_class, each(_picture, candidates, "Taking pictures", chunk=8), strict=True))


def _picture(candidates: Sequence[tuple[Probe, ClipFile]]) -> NDArray[np.uint8] | None:
    for candidate, file in candidates:
        # Frame 0 is tried too: the middle is after the end if the header overstates the length.
        for index in dict.fromkeys((min(candidate.frames // 2, LATEST_FRAME), 0)):
            try:
                return _thumbnail(clip_reader.read_frame(file, index))
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
