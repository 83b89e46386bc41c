"""What a video may be, found out before a picture of it is decoded: how large its pictures are, and how long it is."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from actionrec.web.requests import Limits

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import InputContainer

_STREAMS = 16  # as many as are told how large a picture may be
_USUAL_RATE = 25.0  # frames a second, where nothing is known
_QUIET = -8  # FFmpeg's level of complaints


def check(path: Path, name: str, limits: Limits) -> None:
    """Refuse a video that would take too much memory or time; one that does not open passes, and is refused by who decodes it.

    Args:
        name: of the video, for people.

    Raises:
        RequestError: its pictures are too large, or it is too long, whatever its header claims.
    """
    import av
    from av.error import FFmpegError

    av.logging.set_libav_level(_QUIET)
    try:
        with av.open(
            os.path.abspath(path),  # noqa: PTH100 - FFmpeg takes `a:b.avi` for a protocol
            stream_options=[{"max_pixels": str(limits.pixels)}] * _STREAMS,  # type: ignore[list-item]  # PyAV wants dicts
            metadata_errors="replace",
        ) as container:
            if container.streams.video:
                context = container.streams.video[0].codec_context
                if not context.width * context.height:  # FFmpeg gives up where it sees how large the first picture is
                    raise limits.too_wide(name)
                _check_length(container, container.streams.video[0], name, limits)
    except FFmpegError:
        return


def _check_length(container: "InputContainer", stream: "VideoStream", name: str, limits: Limits) -> None:
    """Count packets and read their times up to the limit: whatever the header claims, each is a frame to be decoded."""
    step = 1 / float(stream.average_rate or _USUAL_RATE)
    first = last = None
    for number, packet in enumerate(container.demux(stream)):
        if packet.size == 0:  # no frame; so is the last one
            continue
        own = None if packet.dts is None else float(packet.dts * packet.time_base)
        if last is not None and (own is None or own <= last):  # as in film.frames
            own = last + step
        last = own if own is not None else 0.0
        first = last if first is None else first
        if last - first > limits.seconds:
            raise limits.too_long(name)
        if number >= limits.frames:
            raise limits.too_many_frames(name)
