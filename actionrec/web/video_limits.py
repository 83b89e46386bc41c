"""Limits of a video, checked before a picture of it is decoded: the size of its pictures, and its length."""

from pathlib import Path

from actionrec.core.errors import VideoError
from actionrec.video.decoder import PictureTooLargeError, Video, open_video
from actionrec.web.predict_request import Limits

_USUAL_RATE = 25.0  # frames a second, where nothing is known


def check(path: Path, name: str, limits: Limits) -> None:
    """Refuse a video that would take too much memory or time; one that does not open is left to the decoder's message.

    Args:
        name: of the video, for people.

    Raises:
        RequestError: its pictures are too large, or it is too long, whatever its header claims.
    """
    try:
        with open_video(path, limits.pixels) as video:
            if not video.header.width * video.header.height:  # FFmpeg stops where it sees how large the first picture is
                raise limits.too_wide(name)
            _check_length(video, name, limits)
    except PictureTooLargeError:
        raise limits.too_wide(name) from None
    except VideoError:
        return


def _check_length(video: Video, name: str, limits: Limits) -> None:
    """Count packets and read their times up to the limit: whatever the header claims, each is a frame to be decoded."""
    step = 1 / (video.header.frames_per_second or _USUAL_RATE)
    first = last = None
    for number, packet in enumerate(video.packets()):
        own = None if packet.dts is None else float(packet.dts * packet.time_base)
        if last is not None and (own is None or own <= last):  # as in video.timed_frames
            own = last + step
        last = own if own is not None else 0.0
        first = last if first is None else first
        if last - first > limits.seconds:
            raise limits.too_long(name)
        if number >= limits.frames:
            raise limits.too_many_frames(name)
