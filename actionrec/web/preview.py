"""Preview of a video: a small MP4 (H.264) that browsers play, whatever the format of the video.

Times are those of `clip_reader.timed_frames`, so that a player stays in step with a timeline.
"""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from actionrec.core.errors import VideoError
from actionrec.io.tar_member import ClipFile
from actionrec.video.clip_reader import frames_with_times
from actionrec.video.decoder import open_video

MEDIA_TYPE = "video/mp4"

_SIDE = 360  # pixels: the longest that the shorter side may be
_SHORTEST = 1 / 31  # seconds between frames: faster videos lose frames
_CLOCK = 90_000  # ticks per second of the preview's time stamps
_OPTIONS = {"preset": "ultrafast", "crf": "28", "g": "25"}  # a key frame every 25 frames, for quick seeking


def write_preview(source: ClipFile, target: Path, cancelled: Callable[[], bool] = lambda: False) -> None:
    """Encode a preview without sound: aspect ratio kept, at most 360 pixels on the shorter side and 30 frames per second.

    Args:
        target: the MP4, which is overwritten. After an error, or if cancelled, it is incomplete.
        cancelled: asked after each frame.

    Raises:
        VideoError: no frame can be decoded.
    """
    with open_video(source) as video, av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = None
        last = -1.0
        for seconds, frame in frames_with_times(video):
            if cancelled():
                return
            if seconds - last < _SHORTEST:
                continue
            last = seconds
            picture = video.picture(frame)
            if stream is None:
                stream = container.add_stream("libx264", options=_OPTIONS)
                stream.height, stream.width = preview_size(*picture.shape[:2])
                stream.pix_fmt = "yuv420p"
                stream.codec_context.time_base = Fraction(1, _CLOCK)
                stream.codec_context.thread_count = 1  # the other cores decode and predict
            encoded = av.VideoFrame.from_ndarray(_resized(picture, stream.height, stream.width), format="rgb24")
            encoded.pts, encoded.time_base = round(seconds * _CLOCK), Fraction(1, _CLOCK)
            container.mux(stream.encode(encoded))
        if stream is None:
            raise VideoError("no frame can be decoded")
        container.mux(stream.encode(None))


def preview_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of a preview, in pixels: even numbers, as H.264 requires.

    >>> preview_size(1080, 1920), preview_size(240, 320), preview_size(1, 5)
    ((360, 640), (240, 320), (2, 4))
    """
    scale = min(1.0, _SIDE / min(height, width))
    return max(2, round(height * scale / 2) * 2), max(2, round(width * scale / 2) * 2)


def _resized(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
