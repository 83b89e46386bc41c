"""Video decoder: the frames of one file in display order, continuing after damaged parts.

All code that reads video files uses this module, so that a file gives the same pictures everywhere:

- Stream: the one marked as default, else the first. Attached pictures (cover art) are ignored.
- Colours: matrix and range as tagged; BT.601 in limited range if there are no tags. Primaries and transfer are ignored, so HDR
  video (PQ, HLG) is converted as if it were SDR.
- Rotation and mirroring tags are applied, to the nearest quarter turn. FFmpeg applies cropping. Interlaced frames keep both fields.
- Threads: one. One process per core is faster than codec threads, and with these, pictures after damaged packets vary between runs.
"""

import os
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.error import FFmpegError
from av.stream import Discard, Disposition
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from actionrec.core.errors import VideoError
from actionrec.io.tar_member import ClipFile, TarMember

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    VideoPacket = Packet[VideoStream]

MAX_PIXELS = 1 << 26
"""Largest picture: width times height, for example 8192 x 8192."""

# Allowed container formats. Playlists (such as HLS and concat) are excluded: they open other files and addresses.
_FORMATS = (
    "avi,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpeg,mpegts,mpegvideo,m4v,asf,flv,ogg,pva,h264,hevc,av1,obu,ivf,mjpeg,gif,dv,mxf,nut,rm,"
    "wtv,yuv4mpegpipe,nsv,vc1,h263,h261,png_pipe,jpeg_pipe,webp_pipe,bmp_pipe"
)
_STREAMS = 64  # number of streams that get the picture limit when a file is opened
_LONGEST = 10_000_000  # frames; larger numbers in headers (over 4 days at 25 frames per second) are ignored
_READ_BYTES = 1 << 20
_MOST_ERRORS = 100  # consecutive errors of the demuxer that count as the end of the file
_SKIPPABLE = ("h264", "hevc")  # decoders that can skip frames that no other frame refers to
_INDEXED = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")  # containers that store where each frame begins
_TRANSFERS = {16: "PQ", 18: "HLG"}
_REENCODE = "Re-encode it: ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p OUT.mp4"
_MAKE_READABLE = "Make the file and its folders readable: chmod u+rX FILE"

av.logging.set_libav_level(av.logging.PANIC)  # errors are raised and counted here


@dataclass(frozen=True)
class Header:
    """Properties of a video according to its file header."""

    frames: int
    """Number of frames, or duration times frame rate; 0 if unknown or absurdly large."""
    frames_per_second: float
    """0 if unknown."""
    width: int
    """Pixels as stored, before rotation."""
    height: int
    codec: str
    """FFmpeg's name, such as `h264` or `mpeg4`."""
    hdr: str = ""
    """`PQ` or `HLG` for HDR video, else empty."""


class Video:
    """An open video file. Its packets can be read once, and decoded once."""

    def __init__(self, container: "InputContainer", stream: "VideoStream") -> None:
        self.header = _header(container, stream)
        self.packets_read = self.frames_read = 0  # packets that an edit list discards do not count
        self._container, self._stream, self._decoder = container, stream, stream.codec_context
        self._decoder.thread_count, self._decoder.thread_type = 1, "NONE"
        self._decoder.options = {"max_pixels": str(MAX_PIXELS)}
        self._errors = self._damaged_packets = self._damaged_frames = 0
        self._encrypted = False
        self._reformatter = VideoReformatter()
        self._matrix: NDArray[np.int32] | None = None

    @property
    def damaged(self) -> int:
        """Number of damaged packets so far."""
        return max(self._errors + self._damaged_frames, self._damaged_packets)

    @property
    def warning(self) -> str:
        """Describes the damage so far; empty if there is none."""
        counts = f"{self.frames_read} of {max(self.packets_read, self.frames_read)} frames read"
        return f"{self.damaged} packet{'s' * (self.damaged > 1)} damaged; {counts}" if self.damaged else ""

    def times_for_skipping(self, packets: "Sequence[VideoPacket]") -> list[int]:
        """The time stamp of each frame, in order, if they identify frames and this decoder can skip frames; else empty."""
        times = [packet.pts for packet in packets]
        can_skip = self._decoder.name in _SKIPPABLE and self._container.format.name in _INDEXED
        if not can_skip or None in times or len(set(times)) < len(times):
            return []
        return sorted(packet.pts for packet in packets if packet.pts is not None and not packet.is_discard)

    def packets(self) -> "Iterator[VideoPacket]":
        """Yield the packets of the stream; continue after errors of the demuxer."""
        errors = 0  # since the last packet
        while errors < _MOST_ERRORS:
            try:
                for packet in self._container.demux(self._stream):
                    if not packet.size:
                        continue
                    self._errors += errors
                    errors = 0
                    self.packets_read += not packet.is_discard
                    self._damaged_packets += packet.is_corrupt
                    yield packet
                return
            except FFmpegError:
                errors += 1
        self._errors += 1  # some demuxers repeat an error instead of reporting the end

    def frames(
        self, packets: "Iterable[VideoPacket] | None" = None, needed_times: Collection[int] | None = None
    ) -> "Iterator[VideoFrame]":
        """Decode to the end of the file.

        Args:
            packets: from `packets()`; None reads them now.
            needed_times: time stamps. Other frames may be skipped if no frame refers to them.
        """
        for packet in self.packets() if packets is None else packets:
            if needed_times is not None:
                self._decoder.skip_frame = "DEFAULT" if packet.pts in needed_times else "NONREF"
            yield from self._decode(packet)
        yield from self._decode(None)

    def _decode(self, packet: "VideoPacket | None") -> "Iterator[VideoFrame]":
        if packet is not None and not self.frames_read:
            self._encrypted = self._encrypted or packet.has_sidedata("encryption_info")
        try:
            frames = self._decoder.decode(packet)
        except FFmpegError:
            self._errors += 1
            return
        for frame in frames:
            if not self.frames_read:
                self._matrix = _display_matrix(frame)
            self._damaged_frames += frame.is_corrupt
            self.frames_read += 1
            yield frame

    def seconds(self, frame: "VideoFrame") -> float | None:
        """The time stamp of a frame, in seconds; None if it has none."""
        return None if frame.pts is None or not self._stream.time_base else float(frame.pts * self._stream.time_base)

    def picture(self, frame: "VideoFrame") -> NDArray[np.uint8]:
        """Convert a frame to (H, W, 3), RGB, upright.

        Raises:
            VideoError: FFmpeg cannot convert its colours.
        """
        try:
            converted = self._reformatter.reformat(frame, format="rgb24", interpolation="BICUBIC", threads=1)
        except (FFmpegError, OSError, ValueError) as error:
            got = f"pixel format {frame.format.name}, colour matrix {int(frame.colorspace)}"
            raise VideoError(
                f"colours cannot be converted; got {got} ({getattr(error, 'strerror', None) or error}). {_REENCODE}",
                header_frames=self.header.frames,
            ) from None
        picture = np.asarray(converted.to_ndarray(), dtype=np.uint8)
        return picture if self._matrix is None else upright(picture, self._matrix)

    def no_frame(self) -> VideoError:
        """Create the error for a file of which no frame could be decoded."""
        reason, step = "no frame can be decoded", _REENCODE
        if self._encrypted:
            reason, step = "the video is encrypted", "Export it without copy protection (DRM)"
        elif not self.header.width * self.header.height:  # FFmpeg stops at a size over its limit
            reason, step = f"the picture size is unknown, or over {MAX_PIXELS:,} pixels", _REENCODE
        elif not self.packets_read:
            reason, step = "the file has a header and no video data", "It may be cut off: copy or download it again"
        got = f"codec {self.header.codec}; the header claims {self.header.frames} frames, {self.packets_read} packets were read"
        return VideoError(f"{reason} ({got}). {step}", header_frames=self.header.frames)


def _display_matrix(frame: "VideoFrame") -> NDArray[np.int32] | None:
    """The display matrix (9,) of a frame. Read from a tiny copy, since PyAV's side data keeps the frame's buffer in use."""
    try:
        matrix: Any = VideoReformatter().reformat(frame, width=16, height=16, threads=1).side_data.get("DISPLAYMATRIX")
    except (FFmpegError, OSError, ValueError):  # colours that cannot be converted: `picture` raises the error
        return None
    return None if matrix is None else np.frombuffer(bytes(matrix), dtype=np.int32)


def upright(picture: NDArray[np.uint8], matrix: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Rotate and mirror a picture (H, W, 3) according to a display matrix, to the nearest quarter turn.

    Args:
        matrix: (9,), row by row, as in ISO/IEC 14496-12: a pixel at (x, y) is shown at (a x + c y, b x + d y).
    """
    across, b, _, c, down = (int(value) for value in matrix[:5])
    if abs(b) + abs(c) > abs(across) + abs(down):
        picture, across, down = picture.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(picture[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])


class PictureTooLargeError(VideoError):
    """The pictures of a file are larger than allowed."""


@contextmanager
def open_video(path: ClipFile, max_pixels: int = MAX_PIXELS) -> Iterator[Video]:
    """Open a video file.

    Args:
        path: a file, or a member of a tar archive, which is read in place.
        max_pixels: largest picture, width times height.

    Raises:
        FileNotFoundError: the file does not exist.
        VideoError: it is empty, not a video, without a video stream, of an unknown codec, or its pictures are too large.
    """
    try:
        os.path.abspath(str(path)).encode()  # noqa: PTH100
    except UnicodeEncodeError:
        raise VideoError("the path is not valid UTF-8. Rename the file or folder") from None
    try:
        status = path.stat()
    except PermissionError:
        raise VideoError(f"permission denied. {_MAKE_READABLE}") from None
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would block
        raise VideoError("not a regular file; expected a video file, got a folder, pipe or device")
    if not status.st_size:
        raise VideoError("the file is empty (0 bytes). Copy or download it again")
    try:
        container = _open(path, max_pixels)
    except PermissionError:
        raise VideoError(f"permission denied. {_MAKE_READABLE}") from None
    except (FFmpegError, ValueError) as error:
        reason = f"not a video file that FFmpeg can open ({getattr(error, 'strerror', None) or error})"
        if _lacks_index(path):
            reason = "the file is cut off: its index (the moov box) is missing"
        raise VideoError(f"{reason}. Copy or download it again") from None
    with container:
        yield Video(container, _video_stream(container, max_pixels))


def read_header(path: ClipFile) -> Header:
    """Read the header of a video file. Raises the same errors as `open_video`."""
    with open_video(path) as video:
        return video.header


def _open(path: ClipFile, max_pixels: int) -> "InputContainer":
    """Open a file such that FFmpeg decodes no picture of more than `max_pixels`, not even to detect the format."""
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
    limits = [{"max_pixels": str(max_pixels)}] * _STREAMS
    try:
        return av.open(_source(path), container_options=options, stream_options=limits, metadata_errors="replace")  # type: ignore[arg-type]
    except ValueError as error:
        if isinstance(error, FFmpegError):
            raise
    # In MPEG and FLV files, streams are found only while reading. Their parsers find the picture sizes without decoders.
    with av.open(_source(path), container_options=options | {"codec_whitelist": "none"}, metadata_errors="replace") as container:
        if container.streams.video:
            _video_stream(container, max_pixels)
    return av.open(_source(path), container_options=options, metadata_errors="replace")


def _source(path: ClipFile) -> Any:  # PyAV's stubs accept a name or a stream, not either
    """What FFmpeg reads a file from."""
    if isinstance(path, TarMember):
        return path.open()
    return os.path.abspath(path)  # noqa: PTH100 - FFmpeg treats `a:b.avi` as a protocol


def _lacks_index(path: ClipFile) -> bool:
    """Whether a file starts like MP4 and MOV but has no `moov` box: it was not completely written or copied."""
    with path.open("rb") as file:
        before = file.read(8)
        if before[4:] != b"ftyp":
            return False
        while part := file.read(_READ_BYTES):
            if b"moov" in before + part:
                return False
            before = part[-3:]
    return True


def _video_stream(container: "InputContainer", max_pixels: int) -> "VideoStream":
    """Select the stream marked as default, else the first that is not an attached picture. Other streams are not read."""
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams:
        kinds = sorted({stream.type or "unknown" for stream in container.streams})
        if container.streams.video:
            raise VideoError("no video stream, only an attached picture (cover art). Use the original video file")
        got = f"only {', '.join(kinds)}" if kinds else "the file has no streams"
        raise VideoError(f"no video stream; {got}. Use a file with video")
    selected = next((stream for stream in streams if stream.disposition & Disposition.default), streams[0])
    decoder = selected.codec_context
    if decoder is None:
        raise VideoError(f"unknown video codec. {_REENCODE}")
    if decoder.width * decoder.height > max_pixels:
        got = f"got {decoder.width} x {decoder.height}, expected at most {max_pixels:,} pixels"
        raise PictureTooLargeError(f"pictures are too large; {got}. Scale the video down")
    for stream in container.streams:
        if stream.index != selected.index:
            stream.discard = Discard.all
    return selected


def _header(container: "InputContainer", stream: "VideoStream") -> Header:
    decoder = stream.codec_context
    rate = float(stream.guessed_rate or stream.average_rate or 0)
    frames = stream.frames or round((container.duration or 0) / av.time_base * rate)
    return Header(
        frames=frames if 0 < frames <= _LONGEST else 0,
        frames_per_second=rate,
        width=decoder.width,
        height=decoder.height,
        codec=decoder.codec.canonical_name,
        hdr=_TRANSFERS.get(int(decoder.color_trc or 0), ""),
    )
