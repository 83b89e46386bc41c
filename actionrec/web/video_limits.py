"""Check a video's frame size and length before any frame is decoded."""

from pathlib import Path

from actionrec.core.errors import VideoError
from actionrec.video.decoder import PictureTooLargeError, Video, open_video
from actionrec.web.predict_request import Limits

_USUAL_RATE = 25.0  # frames a second, if the header does not give them


def check(path: Path, name: str, limits: Limits) -> None:
    """Refuse a video that would take too much memory or time; the decoder reports files that do not open.

    Args:
        path: of the video.
        name: of the video, for messages.
        limits: of frame size and length.

    Raises:
        RequestError: its frames are too large or it is too long, whatever its header claims.
    """
    try:
        with open_video(path, limits.pixels) as video:
            if not video.header.width * video.header.height:  # FFmpeg found the first frame too large, and stopped
                raise limits.too_wide(name)
            _check_length(video, name, limits)
    except PictureTooLargeError:
        raise limits.too_wide(name) from None
    except VideoError:
        return


def _check_length(video: Video, name: str, limits: Limits) -> None:
    """Count packets and read their times up to the limit, as the header may be wrong; each packet is a frame."""
    step = 1 / (video.header.frames_per_second or _USUAL_RATE)
    first = last = None
    for number, packet in enumerate(video.packets()):
        seconds = None if packet.dts is None else float(packet.dts * packet.time_base)
        if last is not None and (seconds is None or seconds <= last):  # as in clip_reader.timed_frames
            seconds = last + step
        last = seconds if seconds is not None else 0.0
        first = last if first is None else first
        if last - first > limits.seconds:
            raise limits.too_long(name)
        if number >= limits.frames:
            raise limits.too_many_frames(name)
