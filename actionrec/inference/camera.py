"""Frames of a live camera, or of a video file played in real time; slow consumers skip frames."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from actionrec.core.errors import DataError, VideoError
from actionrec.video.clip_reader import timed_frames
from actionrec.video.decoder import open_video
from actionrec.video.frame_settings import Fit
from actionrec.video.sampling import MOST_FRAMES, TimedFrame, resize


class Camera:
    """A camera, a stream, or a file played in real time. Returns the newest frames; slow consumers skip frames."""

    def __init__(self, source: str, resolution: int, keep_seconds: float, fit: Fit = "squash") -> None:
        """Open a camera.

        Args:
            source: a camera's number, a file's path, or a stream's address.
            resolution: width and height of the frames, pixels.
            keep_seconds: how long frames are kept.
            fit: how a frame becomes a square.

        Raises:
            DataError: the source cannot be opened.
            VideoError: the file is not a video.
        """
        self._resolution, self._keep, self._fit = resolution, keep_seconds, fit
        self._capture: cv2.VideoCapture | None = None
        if Path(source).is_file():
            with open_video(Path(source)):  # raises here, not in the thread
                self._source = self._of_file(Path(source))
        else:
            self._capture = _open_capture(source)
            self._source = self._of_capture(self._capture)
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
        if self._capture:
            self._capture.release()

    def wait(self, until: float) -> tuple[list[TimedFrame], bool]:
        """Wait for a frame at `until` seconds or later, or for the end; return the frames kept, and whether more will come.

        Raises:
            DataError: more than MOST_FRAMES frames would have to be kept.
        """
        with self._news:
            self._news.wait_for(lambda: self._ended or bool(self._frames and self._frames[-1].seconds >= until))
            if len(self._frames) > MOST_FRAMES:
                raise DataError(f"the last {self._keep:g} s have more than {MOST_FRAMES} frames. Choose a shorter --window.")
            return list(self._frames), not self._ended

    def _read(self) -> None:
        try:
            for frame in self._source:
                if self._ended or len(self._frames) > MOST_FRAMES:
                    return
                with self._news:
                    self._frames = [one for one in self._frames if one.seconds > frame.seconds - self._keep] + [frame]
                    self._news.notify_all()
        except VideoError:
            return  # no frame of the file can be decoded; the caller gets none
        finally:
            with self._news:
                self._ended = True
                self._news.notify_all()

    def _of_file(self, path: Path) -> Iterator[TimedFrame]:
        """Yield a file's frames, each at its time."""
        start = time.monotonic()
        with open_video(path) as opened:
            for frame in timed_frames(opened, self._resolution, self._fit):
                while not self._ended and (early := frame.seconds - (time.monotonic() - start)) > 0:
                    time.sleep(min(early, 0.1))
                yield frame

    def _of_capture(self, capture: cv2.VideoCapture) -> Iterator[TimedFrame]:
        start = time.monotonic()
        while (read := capture.read())[0]:
            picture = cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)
            yield TimedFrame(time.monotonic() - start, resize(np.asarray(picture, dtype=np.uint8), self._resolution, self._fit))


def _open_capture(source: str) -> cv2.VideoCapture:
    what = f"camera {source}" if source.isdecimal() else source
    try:
        source.encode()  # OpenCV crashes on text that is not UTF-8
        capture = cv2.VideoCapture(int(source) if source.isdecimal() else source)
    except (UnicodeEncodeError, cv2.error):
        raise DataError(f"{what!a} is not the number, file or address of a camera that OpenCV can open.") from None
    if not capture.isOpened():
        advice = "Check that it is connected and not used by another program, or name another with --camera."
        raise DataError(f"{what} cannot be opened. {advice}")
    return capture
