"""Interlaced video, whose pictures OpenCV refuses to convert without saying so: what it returns is memory as it was.

PyAV converts them, each field's colours to its own lines. It reads the same frames, but a little slower.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.reformatter import VideoReformatter

DECODER = "pyav"

_QUIET = -8  # FFmpeg's level of complaints


class Converted(NamedTuple):
    """One frame."""

    picture: NDArray[np.uint8]
    """(H, W, 3), BGR, with the rotation tag obeyed."""
    interlaced: bool


def converted(path: Path, indices: Iterable[int]) -> Iterator[Converted]:
    """Decode all frames up to the last of `indices`, and yield those: in the film's order, each once, as far as there are any."""
    from av.video.reformatter import VideoReformatter  # not above: it takes a tenth of a second, and few files come here

    wanted = set(indices)
    reformatter = VideoReformatter()
    for number, frame in enumerate(decoded(path)):
        if number in wanted:
            yield Converted(picture_of(frame, reformatter), frame.interlaced_frame)
            wanted.discard(number)
            if not wanted:
                return


def picture_of(frame: "VideoFrame", reformatter: "VideoReformatter") -> NDArray[np.uint8]:
    """Convert a frame to (H, W, 3), BGR, as OpenCV does where it can; the rotation tag is obeyed."""
    picture = np.asarray(reformatter.reformat(frame, format="bgr24", interpolation="BICUBIC", threads=1).to_ndarray())
    return np.ascontiguousarray(np.rot90(picture, round(frame.rotation / 90)), np.uint8)


def decoded(path: Path) -> "Iterator[VideoFrame]":
    """Decode all frames as OpenCV does: one thread, and past errors; none where the file does not open."""
    import av
    from av.error import FFmpegError

    av.logging.set_libav_level(_QUIET)
    try:
        # An absolute path, since FFmpeg takes `a:b.avi` for a protocol.
        with av.open(os.path.abspath(path), metadata_errors="replace") as container:  # noqa: PTH100
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            stream.codec_context.thread_type = "NONE"
            for packet in container.demux(stream):
                try:
                    yield from packet.decode()
                except FFmpegError:
                    continue
    except FFmpegError:
        return  # what was decoded before counts
