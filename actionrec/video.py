"""Decoding: frames evenly spaced over a whole clip, each of them the frame that it says it is.

One pass grabs every frame and retrieves (converts) only the sampled ones: no seeking, which is slow and, in many files, lands on
the wrong frame. The count of frames that the header claims, or an AVI's index, is not believed: where the read-through yields
another number, a second pass samples by the true one. Plain H.264 is decoded in part instead (`h264`), to the same pictures, and
what OpenCV cannot convert is converted otherwise (`interlaced`).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from actionrec import avi, h264, interlaced
from actionrec.errors import VideoError

DECODER = "opencv"

# Codecs of which a whole stream is interlaced or none of it: MPEG-4 part 2, and those that have no such thing.
_OF_ONE_KIND = frozenset({"FMP4", "XVID", "xvid", "DIVX", "divx", "DX50", "mp4v", "MP4V", "3IV2", "MJPG", "VP80", "VP90", "AV01"})

_LONGEST = 10_000_000  # frames; a header that claims more (4 days at 25 fps) is not even tried


@dataclass(frozen=True)
class Header:
    """What a file says of itself, before anything is decoded."""

    frames: int
    """0 where it claims none, or more than can be."""
    frames_per_second: float
    """0 where it does not say."""
    width: int
    """Pixels, with the rotation tag obeyed."""
    height: int
    codec: str
    """Four characters, such as `h264` or `XVID`; empty where unknown."""


@dataclass(frozen=True)
class SampledClip:
    """The sampled frames of one clip."""

    frames: NDArray[np.uint8]
    """(T, size, size, 3), RGB."""
    indices: list[int]
    """Which frame of the clip each one is, from 0; repeated where the clip has fewer than T frames."""
    header_frames: int
    """What the file's header claims; 0 where it claims nothing."""
    decoded_frames: int
    """What reading to the end yields; where a file was decoded in part, what its packets say that would yield."""
    decoder: str = DECODER
    """`opencv`; `pyav` where the file was decoded in part, to the same pictures, or is interlaced, which OpenCV cannot convert."""

    @property
    def unique_frames(self) -> int:
        """Different frames among the sampled ones."""
        return len(set(self.indices))


def evenly_spaced(frame_count: int, wanted: int) -> list[int]:
    """Pick `wanted` frame indices from the first frame to the last, as the study does: numpy's linspace, rounded down.

    A clip shorter than `wanted` repeats frames; the result is sorted.

    >>> evenly_spaced(frame_count=100, wanted=4)
    [0, 33, 66, 99]
    >>> evenly_spaced(frame_count=2, wanted=4)
    [0, 0, 0, 1]

    Raises:
        ValueError: either count is below 1.
    """
    if frame_count < 1 or wanted < 1:
        raise ValueError(f"counts must be at least 1; got {frame_count} frames and {wanted} wanted")
    return [int(index) for index in np.linspace(0, frame_count - 1, wanted, dtype=np.int64)]


def read_header(path: Path) -> Header:
    """Read what the file claims; nothing of it is checked.

    Raises:
        VideoError: the file does not open as video.
    """
    with _open(path) as capture:
        rate = capture.get(cv2.CAP_PROP_FPS)
        return Header(
            frames=_frames_claimed(capture),
            frames_per_second=float(rate) if 0 < rate < float("inf") else 0.0,
            width=int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            height=int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            codec=_four_characters(capture),
        )


def read_frame(path: Path, index: int) -> NDArray[np.uint8]:
    """Decode frame `index`, from 0, reading all before it: (H, W, 3), RGB.

    Raises:
        VideoError: the file does not open as video, ends before that frame, or the frame does not decode.
    """
    with _open(path) as capture:
        for before in range(index + 1):
            if not capture.grab():
                raise VideoError(f"wanted frame {index}, but only {before} can be read", decoded_frames=before)
        try:
            got, picture = capture.retrieve()
            if not got:
                raise VideoError(f"frame {index} cannot be decoded", decoded_frames=index)
        except cv2.error as error:
            raise VideoError(f"frame {index}: OpenCV: {error.err}", decoded_frames=index) from None
    for better, is_interlaced in interlaced.converted(path, [index]):
        picture = better if is_interlaced else picture
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def sample_clip(path: Path, count: int, size: int) -> SampledClip:
    """Decode `count` frames of a clip, resized (not cropped) to `size` x `size`. Rotation tags are obeyed.

    Raises:
        VideoError: the file does not open as video, or a frame that is wanted does not decode.
    """
    try:
        return _sample_in_part(path, count, size)
    except h264.NotPlainError:
        return _sample_by_reading_through(path, count, size)


def _sample_in_part(path: Path, count: int, size: int) -> SampledClip:
    """Decode no more than the wanted frames need.

    Raises:
        h264.NotPlainError: the file must be read through.
    """
    with h264.open_plain(path) as film:
        sample = _Sample(evenly_spaced(film.frame_count, count), size)
        for picture in film.pictures(sample.indices):
            sample.add(picture)
        return SampledClip(sample.frames, sample.indices, film.header_frames, film.frame_count, h264.DECODER)


def _sample_by_reading_through(path: Path, count: int, size: int) -> SampledClip:
    with _open(path) as capture:
        header = _frames_claimed(capture)
        codec = _four_characters(capture) or "unknown"
        expected = avi.indexed_frames(path) or header
        sample = _Sample(evenly_spaced(expected, count) if expected else [], size)
        decoded = _read_through(capture, sample)
    if decoded == 0:
        raise VideoError(f"no frame can be decoded (codec {codec}; the header claims {header} frames)", header_frames=header)
    if decoded != expected:
        sample = _Sample(evenly_spaced(decoded, count), size)
        with _open(path) as capture:
            again = _read_through(capture, sample)
        if again != decoded:
            raise VideoError(f"two readings differ: {decoded} frames, then {again}", header_frames=header, decoded_frames=decoded)
    # OpenCV gives the picture before for an interlaced one, which shows as a repeat, but for the first it has none before.
    first_is_lost = codec not in _OF_ONE_KIND and _is_interlaced(path, sample.indices[0])
    if (first_is_lost or sample.repeats) and (better := _sample_interlaced(path, sample.indices, size)):
        return SampledClip(better.frames, better.indices, header, decoded, interlaced.DECODER)
    return SampledClip(sample.frames, sample.indices, header, decoded, DECODER)


def _is_interlaced(path: Path, index: int) -> bool:
    return any(frame.interlaced for frame in interlaced.converted(path, [index]))


def _sample_interlaced(path: Path, indices: list[int], size: int) -> "_Sample | None":
    """Convert the frames as interlaced ones; None where none of them is, or not all of them come."""
    sample = _Sample(indices, size)
    some = False
    for picture, is_interlaced in interlaced.converted(path, indices):
        sample.add(picture)
        some = some or is_interlaced
    return sample if some and sample.next is None else None


class _Sample:
    """The wanted frames, as they are met."""

    def __init__(self, indices: list[int], size: int) -> None:
        self.indices = indices  # sorted, perhaps with repeats
        self.frames = np.empty((len(indices), size, size, 3), dtype=np.uint8)  # RGB; what is not met stays undefined
        self._met = 0

    @property
    def next(self) -> int | None:
        """The frame that is wanted next; None when all have been met."""
        return self.indices[self._met] if self._met < len(self.indices) else None

    @property
    def repeats(self) -> bool:
        """Whether different frames of the clip that follow each other here look the same, or there is only one.

        So it is in still scenes, and where OpenCV does not convert.
        """
        places = [place for place in range(1, len(self.indices)) if self.indices[place - 1] != self.indices[place]]
        middle = self.frames.shape[1] // 2  # a line of it tells nearly always, and soon
        return not places or any(
            np.array_equal(self.frames[place - 1, middle], self.frames[place, middle])
            and np.array_equal(self.frames[place - 1], self.frames[place])
            for place in places
        )

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Take frame `next`, (H, W, 3), BGR, for each place that wants it."""
        met = self.indices[self._met]
        resized = resize(picture, self.frames.shape[1], into=self.frames[self._met])
        self._met += 1
        while self.next == met:
            self.frames[self._met] = resized
            self._met += 1


def _read_through(capture: cv2.VideoCapture, sample: _Sample) -> int:
    """Read to the end, converting only the frames of the sample; return how many frames there are."""
    decoded = 0
    picture = None  # its memory is used again for the next one: fresh pages cost more than converting
    wanted = sample.next
    while capture.grab():
        if decoded == wanted:
            try:
                got, picture = capture.retrieve(picture)
                if not got:
                    raise VideoError(f"frame {decoded} cannot be decoded", decoded_frames=decoded)
                sample.add(np.asarray(picture, dtype=np.uint8))
            except cv2.error as error:
                raise VideoError(f"frame {decoded}: OpenCV: {error.err}", decoded_frames=decoded) from None
            wanted = sample.next
        decoded += 1
    return decoded


def resize(picture: NDArray[np.uint8], size: int, into: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Resize a picture (H, W, 3) in BGR, as OpenCV decodes, to (size, size, 3) in RGB: a new one, or `into`.

    Bilinear interpolation reads the two nearest pixels of a row or column; where the picture is at least twice as large as
    wanted it would pass over pixels, and averaging by area, ten times slower, takes its place.
    """
    shrink = max(picture.shape[0], picture.shape[1]) >= 2 * size
    small = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB, dst=into), dtype=np.uint8)


def _frames_claimed(capture: cv2.VideoCapture) -> int:
    claimed = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return int(claimed) if 0 < claimed <= _LONGEST else 0


def _four_characters(capture: cv2.VideoCapture) -> str:
    code = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True)
    return code.decode("ascii", "replace").strip("\0 ")


@contextmanager
def _open(path: Path) -> Iterator[cv2.VideoCapture]:
    """Yield an open capture, and release it.

    Raises:
        VideoError: the file is empty, or holds no video that FFmpeg can open, or OpenCV cannot be told its name.
    """
    try:
        os.path.abspath(path).encode()  # noqa: PTH100
    except UnicodeEncodeError:  # OpenCV crashes on it
        raise VideoError("the path is not valid UTF-8; rename the file or folder") from None
    if path.stat().st_size == 0:
        raise VideoError("the file is empty")
    # An absolute path, since FFmpeg takes `a:b.avi` for a protocol. One thread: a process a core is faster than codec threads,
    # which race where packets are damaged: their pictures differ from run to run.
    capture = cv2.VideoCapture(os.path.abspath(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])  # noqa: PTH100
    try:
        if not capture.isOpened():
            raise VideoError("not a video file that can be opened, or no video stream in it")
        yield capture
    finally:
        capture.release()
