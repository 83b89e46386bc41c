"""A whole film frame after frame, each with its time: a file of any length, or a camera."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from actionrec import interlaced, video
from actionrec.errors import DataError, VideoError

MOST_FRAMES = 3000
"""That are held in memory at once, 0.15 MB each at 224 x 224."""

_USUAL_RATE = 25.0  # frames a second, where nothing is known


@dataclass(frozen=True)
class TimedFrame:
    """One frame of a film."""

    seconds: float
    """From the film's first frame."""
    picture: NDArray[np.uint8]
    """(size, size, 3), RGB."""


def frames(path: Path, size: int) -> Iterator[TimedFrame]:
    """Decode a file from its start to its end; only one frame is held.

    The frames are those that `video.sample_clip` samples from, but where a file is damaged or odd: what OpenCV gives up there (the
    rest of a file after an error, AV1) is read on.

    Raises:
        VideoError: the file does not open as video, or holds no frame that can be decoded.
    """
    from av.video.reformatter import VideoReformatter

    header = video.read_header(path)
    step = 1 / (header.frames_per_second or _USUAL_RATE)
    reformatter = VideoReformatter()
    first = last = None
    for frame in interlaced.decoded(path):
        # Frames without a time, as in AVIs with packed B-frames, or with an earlier one than before, come one step later.
        own = frame.time
        if last is not None and (own is None or own <= last):
            own = last + step
        last = own if own is not None else 0.0
        first = last if first is None else first
        yield TimedFrame(last - first, video.resize(interlaced.picture_of(frame, reformatter), size))
    if first is None:
        raise VideoError(f"no frame can be decoded (codec {header.codec or 'unknown'}; the header claims {header.frames} frames)")


class Camera:
    """A camera, or a file or address that plays as one: whoever asks gets its newest frames, however slow he is."""

    def __init__(self, source: str, size: int, keep_seconds: float) -> None:
        """Open a camera.

        Args:
            source: a camera's number, or a path or address of a stream.
            keep_seconds: how far back frames are kept.

        Raises:
            DataError: it does not open.
        """
        numbered = source.isdecimal()
        self._live = numbered or not Path(source).is_file()
        what = f"camera {source}" if numbered else source
        try:
            source.encode()  # OpenCV crashes on what is no UTF-8
            self._capture = cv2.VideoCapture(int(source)) if numbered else cv2.VideoCapture(source)
        except (UnicodeEncodeError, cv2.error):
            raise DataError(f"{what!a} is no camera's number, file or address that OpenCV takes.") from None
        if not self._capture.isOpened():
            raise DataError(
                f"{what} does not open. Check that it is there and no other program uses it, or name another with --camera."
            )
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self._step = 1 / rate if 0 < rate < 1000 else 1 / _USUAL_RATE
        self._size, self._keep = size, keep_seconds
        self._frames: list[TimedFrame] = []
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, name="camera", daemon=True)

    def __enter__(self) -> "Camera":
        self._reader.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended = True
        self._reader.join()
        self._capture.release()

    def wait(self, until: float) -> tuple[list[TimedFrame], bool]:
        """Wait for a frame at `until` seconds or later, or for the end; return the frames kept, and whether more will come.

        Raises:
            DataError: more than MOST_FRAMES came in the time for which they are kept.
        """
        with self._news:
            self._news.wait_for(lambda: self._ended or bool(self._frames and self._frames[-1].seconds >= until))
            if len(self._frames) > MOST_FRAMES:
                raise DataError(f"the last {self._keep:g} s have more than {MOST_FRAMES} frames. Choose a shorter --window.")
            return list(self._frames), not self._ended

    def _read(self) -> None:
        start = time.monotonic()
        number = 0
        try:
            while not self._ended and len(self._frames) <= MOST_FRAMES:
                got, picture = self._capture.read()
                if not got:
                    return
                seconds = time.monotonic() - start
                if not self._live:  # a file gives its frames at once; they come at the file's own rate
                    time.sleep(max(0.0, number * self._step - seconds))
                    seconds = number * self._step
                number += 1
                frame = TimedFrame(seconds, video.resize(np.asarray(picture, dtype=np.uint8), self._size))
                with self._news:
                    self._frames = [one for one in self._frames if one.seconds > seconds - self._keep] + [frame]
                    self._news.notify_all()
        finally:
            with self._news:
                self._ended = True
                self._news.notify_all()
