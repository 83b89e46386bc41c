"""H.264 in MP4 without the frames that nobody asked for: the same pictures as OpenCV's, from less decoding.

Half the frames of an ordinary stream are references for no other, and where none of them is wanted a decoder may pass over them;
after the last wanted frame before an IDR picture (nothing refers across one) it may pass over everything. Which frame is which
follows from the packets, before any decoding. That holds only for streams of the plain kind, and whoever is not plain in every
respect that is known to matter is refused (`NotPlainError`) for the caller to read through as ever: interlaced pictures, times that
are missing or repeat, files cut short, parameter sets between pictures, rotation, other pixels than 8-bit 4:2:0, any error of the
decoder. Whether a file is plain depends on the file and on what is wanted, never on the machine or on chance.

What lies in frames that are passed over is not looked at: damage there goes unnoticed, and does no harm.
"""

import os
from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

DECODER = "pyav"

_LONGEST = 10_000_000  # frames; as many as a header is believed to hold
LARGEST = 1 << 28  # bytes of a file; its packets are held in memory

# Nothing is decoded to find out what the file holds: its header must tell.
_PROBING = {"analyzeduration": "1", "fpsprobesize": "0"}

_STREAMS = 16  # as many as are told not to decode

_QUIET = -8  # FFmpeg's level of complaints; what is wrong is told by errors

# Types of NAL units (ITU-T H.264, table 7-1), and profiles.
_IDR_SLICE, _SEQUENCE = 5, 7
_SLICES = (1, _IDR_SLICE)
_BESIDE = (6, 9, 12)  # supplemental information, delimiters, filler: what may lie beside slices
_HEADER = 32  # bytes of a slice that surely hold its numbers
_BASELINE, _MAIN, _HIGH = 66, 77, 100

_PIXELS = ("yuv420p", "yuvj420p")


class NotPlainError(Exception):
    """The file must be read through; the message says why."""


class _Numbering(NamedTuple):
    """How a sequence numbers its pictures."""

    frame_bits: int
    order_bits: int
    """0 where pictures are shown as they come."""


class _Packet(NamedTuple):
    """One picture, not decoded."""

    packet: "Packet[VideoStream]"
    pts: int
    shown: bool
    """False where an edit list leaves the picture out."""
    idr: bool
    reference: bool
    frame_number: int
    """Of the references, modulo 2 ** frame_bits."""
    order: int
    """Of showing, modulo 2 ** order_bits."""


class PlainFilm:
    """An open file that may be decoded in part."""

    def __init__(self, stream: "VideoStream", packets: list[_Packet]) -> None:
        self._stream = stream
        self._packets = packets
        self._pts = sorted(one.pts for one in packets if one.shown)  # of frame 0, 1, ...

    @property
    def header_frames(self) -> int:
        """What the header claims: all pictures, with those that an edit list leaves out."""
        return self._stream.frames

    @property
    def frame_count(self) -> int:
        """Frames that a read-through yields."""
        return len(self._pts)

    def pictures(self, indices: Iterable[int]) -> Iterator[NDArray[np.uint8]]:
        """Yield the frames at `indices`, (H, W, 3), BGR, in the film's order and each once.

        Raises:
            NotPlainError: the decoder complains, or a frame is not what the packets said.
        """
        from av.error import FFmpegError
        from av.video.reformatter import VideoReformatter

        wanted = {self._pts[index] for index in indices}
        reformatter = VideoReformatter()
        latest = None
        shape = None
        came = 0
        try:
            for frame in self._decode(wanted):
                if frame.pts is None or (latest is not None and frame.pts <= latest):
                    raise NotPlainError("frames come in another order than their times")
                latest = frame.pts
                if frame.is_corrupt:
                    raise NotPlainError("a frame is damaged")
                if frame.pts not in wanted:
                    continue
                shape = shape or (frame.format.name, frame.width, frame.height)
                if frame.rotation or shape[0] not in _PIXELS or (frame.format.name, frame.width, frame.height) != shape:
                    raise NotPlainError("a frame is rotated, of another size, or not of 8-bit 4:2:0 pixels")
                # As OpenCV converts, with the stream's own colour matrix.
                converted = reformatter.reformat(frame, format="bgr24", interpolation="BICUBIC", threads=1)
                yield np.asarray(converted.to_ndarray(), dtype=np.uint8)
                came += 1
        except FFmpegError as error:
            raise NotPlainError(f"FFmpeg: {error}") from None
        if came < len(wanted):
            raise NotPlainError("a wanted frame did not come")

    def _decode(self, wanted: set[int]) -> Iterator[Any]:
        decoder = self._stream.codec_context
        decoder.thread_count = 1
        decoder.thread_type = "NONE"
        decoder.options = {"err_detect": "explode"}
        for packet in _needed(self._packets, wanted):
            yield from decoder.decode(packet)
        yield from decoder.decode(None)


@contextmanager
def open_plain(path: Path) -> Iterator[PlainFilm]:
    """Yield a film, open, where the file is plain.

    Raises:
        NotPlainError: it is not.
    """
    with path.open("rb") as file:
        start = file.read(12)
    if start[4:8] != b"ftyp":  # before FFmpeg is troubled: most files are no MP4
        raise NotPlainError("no MP4 file")
    if path.stat().st_size > LARGEST:
        raise NotPlainError("too large to hold in memory")

    import av  # not above: it takes a tenth of a second, and most files are no MP4
    from av.error import FFmpegError

    av.logging.set_libav_level(_QUIET)
    try:
        # An absolute path, since FFmpeg takes `a:b.mp4` for a protocol.
        with av.open(
            os.path.abspath(path),  # noqa: PTH100
            container_options=_PROBING,
            stream_options=[{"skip_frame": "all"}] * _STREAMS,  # type: ignore[list-item]  # PyAV wants dicts
            metadata_errors="replace",
        ) as container:
            if len(container.streams.video) != 1:
                raise NotPlainError("not exactly one video stream")
            stream = container.streams.video[0]
            yield PlainFilm(stream, _plain_packets(stream, list(container.demux(stream))))
    except FFmpegError as error:
        raise NotPlainError(f"FFmpeg: {error}") from None


def _plain_packets(stream: "VideoStream", packets: "list[Packet[VideoStream]]") -> list[_Packet]:
    """Check everything that can be told without decoding."""
    decoder = stream.codec_context
    extradata = (decoder.extradata if decoder else None) or b""  # no decoder where FFmpeg does not know the codec
    if not decoder or decoder.name != "h264" or len(extradata) < 8 or extradata[0] != 1:
        raise NotPlainError("not H.264 as MP4 holds it")
    numbering = _read_numbering(extradata)
    length_bytes = (extradata[4] & 3) + 1
    found = [_look(packet, length_bytes, numbering) for packet in packets if packet.size]
    # The index lists what an edit list has left of the header's.
    if not found or len(found) != len(stream.index_entries) or not len(found) <= stream.frames <= _LONGEST:
        raise NotPlainError("other packets than the header promises")
    if not found[0].idr:
        raise NotPlainError("does not begin with an IDR picture")
    if not any(one.shown for one in found):
        raise NotPlainError("nothing is shown")
    _check_numbers(found, numbering)
    _check_delay(found, decoder.reorder_depth)
    return found


def _look(packet: "Packet[VideoStream]", length_bytes: int, numbering: _Numbering) -> _Packet:
    """Tell a picture's kind and numbers from its NAL units."""
    pts = packet.pts
    if pts is None or packet.is_corrupt:
        raise NotPlainError("a packet without a time, or damaged")
    contents = bytes(packet)
    end = len(contents)
    kind = None  # IDR and reference, of the picture's slices
    numbers = (0, 0)
    place = 0
    while place < end:
        start = place + length_bytes
        place = start + int.from_bytes(contents[place:start], "big")
        if not start + 1 < place <= end:
            raise NotPlainError("a packet's lengths do not add up")
        unit = contents[start]
        unit_type = unit & 31
        if unit_type in _SLICES:
            # The first bit tells whether the slice begins the picture: first_mb_in_slice, where a lone 1 means 0.
            begins = contents[start + 1] >= 0x80
            if begins != (kind is None) or (not begins and kind != (unit_type == _IDR_SLICE, unit & 0x60 != 0)):
                raise NotPlainError("not one picture a packet")
            kind = (unit_type == _IDR_SLICE, unit & 0x60 != 0)
            if begins:
                numbers = _read_numbers(contents[start + 1 : min(place, start + _HEADER)], numbering, idr=kind[0])
        elif unit_type not in _BESIDE:
            raise NotPlainError(f"a NAL unit of type {unit_type} between pictures")
    if kind is None:
        raise NotPlainError("a packet without a picture")
    return _Packet(packet, pts, not packet.is_discard, *kind, *numbers)


def _read_numbers(slice_header: bytes, numbering: _Numbering, *, idr: bool) -> tuple[int, int]:
    """Read a picture's frame_num and pic_order_cnt_lsb."""
    bits = _Bits(slice_header)
    bits.golomb(), bits.golomb(), bits.golomb()  # where it begins, its type, its parameter set
    frame_number = bits.take(numbering.frame_bits)
    if idr:
        bits.golomb()  # its number among IDR pictures
    return frame_number, bits.take(numbering.order_bits)


def _check_numbers(packets: Sequence[_Packet], numbering: _Numbering) -> None:
    """Refuse pictures that are missing, and times that repeat or have another order than the pictures' own numbers."""
    references, period, high, low = 0, 0, 0, 0
    cycle = 1 << numbering.order_bits
    keys = []
    for place, one in enumerate(packets):
        if one.idr:
            references, period, high, low = 0, period + 1, 0, 0
        if one.frame_number != references & (1 << numbering.frame_bits) - 1:
            raise NotPlainError("pictures are missing or misnumbered")
        if numbering.order_bits:  # the high part follows from that of the reference before (ITU-T H.264, 8.2.1.1)
            turn = high - cycle * (one.order - low > cycle // 2) + cycle * (low - one.order >= cycle // 2)
            keys.append((one.pts, period, turn + one.order))
            if one.reference:
                high, low = turn, one.order
        else:
            keys.append((one.pts, period, place))
        references += one.reference
    keys.sort()
    if any(one[0] == other[0] or one[1:] >= other[1:] for one, other in pairwise(keys)):
        raise NotPlainError("times repeat or have another order than the pictures")


def _check_delay(packets: Sequence[_Packet], reorder_depth: int) -> None:
    """Refuse pictures further out of order than the pictures that the decoder holds back: it would drop some."""
    since: list[int] = []  # times since the last IDR picture, sorted
    for one in packets:
        if one.idr:
            since = []
        place = bisect(since, one.pts)
        if len(since) - place > reorder_depth:
            raise NotPlainError("pictures are further out of order than the header says")
        since.insert(place, one.pts)


def _needed(packets: Sequence[_Packet], wanted: set[int]) -> Iterator["Packet[VideoStream]"]:
    """Yield what the decoder must see for the wanted times: they and references, up to the last wanted one before an IDR picture.

    The first is always among them: encoders sign there, and decoders heed what the signature tells of their faults.
    """
    waiting: list[Packet[VideoStream]] = []  # references, for the next wanted one
    for place, one in enumerate(packets):
        if one.idr:
            waiting = []
        if place == 0 or one.pts in wanted:
            yield from waiting
            waiting = []
            yield one.packet
        elif one.reference:
            waiting.append(one.packet)


def _read_numbering(extradata: bytes) -> _Numbering:
    """Read a decoder configuration (`avcC`).

    Raises:
        NotPlainError: several sequence parameter sets, or one for interlaced pictures, gaps, scaling lists, other profiles.
    """
    if extradata[5] & 31 != 1:
        raise NotPlainError("not one sequence parameter set")
    length = int.from_bytes(extradata[6:8], "big")
    bits = _Bits(extradata[8 : 8 + length])
    if bits.take(8) & 31 != _SEQUENCE:
        raise NotPlainError("no sequence parameter set")
    profile = bits.take(8)
    bits.take(16)  # constraints, level
    bits.golomb()  # the set's number
    if profile == _HIGH:
        chroma, luma_bits, chroma_bits = bits.golomb(), bits.golomb(), bits.golomb()
        if (chroma, luma_bits, chroma_bits) != (1, 0, 0) or bits.take(2):  # lossless, scaling lists
            raise NotPlainError("other pixels than 8-bit 4:2:0, lossless, or scaling lists")
    elif profile not in (_BASELINE, _MAIN):
        raise NotPlainError(f"profile {profile}")
    frame_bits = bits.golomb() + 4
    order = bits.golomb()
    order_bits = bits.golomb() + 4 if order == 0 else 0
    if order not in (0, 2):
        raise NotPlainError("an order of pictures that is hardly ever used")
    bits.golomb()  # reference frames
    if bits.take(1):
        raise NotPlainError("gaps between frame numbers")
    bits.golomb(), bits.golomb()  # width, height
    if not bits.take(1):
        raise NotPlainError("perhaps interlaced")
    return _Numbering(frame_bits, order_bits)


class _Bits:
    """Reads a NAL unit bit by bit."""

    def __init__(self, unit: bytes) -> None:
        plain = unit.replace(b"\0\0\3", b"\0\0") if b"\0\0\3" in unit else unit  # the 3 keeps start codes from arising
        self._value = int.from_bytes(plain, "big")
        self._left = 8 * len(plain)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise NotPlainError("a parameter set ends early")
        return self._value >> self._left & (1 << count) - 1

    def golomb(self) -> int:
        """An Exp-Golomb code: n zeros, a one, n bits."""
        zeros = self._left - (self._value & (1 << self._left) - 1).bit_length()
        return self.take(2 * zeros + 1) - 1
