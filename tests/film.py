"""Make small real videos whose frames tell their number, and name them as people do."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.error import FFmpegError

WIDTH, HEIGHT = 80, 48  # pixels
BITS = 10

ODD_NAMES = [
    "with spaces  twice.avi",
    " leading space.avi",
    "quo\"te's.avi",
    "a,b;c.avi",
    "#hash & %03d 100%.avi",
    "a:b%03d.avi",
    "line\nfeed.avi",
    "carriage\rreturn.avi",
    "tab\tand\\backslash.avi",
    "separator\u2028and\u2029and\x85.avi",
    "日本語 ñ é 🎥.avi",
    "e\u0301 decomposed.avi",
    "dots.in.the.name.tar.avi",
    "-dash.avi",
    "[glob]*?.avi",
    "$HOME `x` {y}.avi",
    "n" * 196 + ".avi",
    "UPPER.AVI",
]


def numbered_picture(number: int):
    """A picture (HEIGHT, WIDTH, 3), BGR, whose lower half shows the number in bits, lowest first, white for 1."""
    picture = np.full((HEIGHT, WIDTH, 3), (90, 140, 60), np.uint8)
    left = number * 3 % 60
    picture[4:20, left : left + 16] = (40, 40, 220)
    cell = WIDTH // BITS
    for bit in range(BITS):
        picture[HEIGHT // 2 :, cell * bit : cell * (bit + 1)] = 255 * (number >> bit & 1)
    return picture


def number_of(picture) -> int:
    """Read the number of a numbered picture, whatever its size and order of colours."""
    height, width = picture.shape[:2]
    row = picture[height * 3 // 4]
    return sum(1 << bit for bit in range(BITS) if row[int((bit + 0.5) * width / BITS)].mean() > 128)


def write_video(path: Path, pictures, fourcc: str = "XVID", *, frames_per_second: float = 25.0) -> Path:
    """Write pictures, or so many numbered ones, as an AVI, whatever the name."""
    if isinstance(pictures, int):
        pictures = [numbered_picture(number) for number in range(pictures)]
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = path.with_name("plain.being-written.avi")
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(plain), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*fourcc), frames_per_second, (width, height))
    assert writer.isOpened()
    for picture in pictures:
        writer.write(picture)
    writer.release()
    return plain.rename(path)


def write_h264(
    path, length, *, times=None, size=None, rotation=0, pixels="yuv420p", codec="libx264", container_options=None, **encoder
):
    """Write numbered pictures, grainy; `times` are their ticks of 1/100 s; other keywords are the encoder's options."""
    rng = np.random.default_rng(length)
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=25, options={key: str(value) for key, value in encoder.items()})
        stream.pix_fmt = pixels
        stream.width, stream.height = size or (80, 48)
        if times:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 100)
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(length):
            picture = cv2.add(numbered_picture(number), rng.integers(0, 12, (48, 80, 3), dtype=np.uint8))
            frame = av.VideoFrame.from_ndarray(cv2.resize(picture, (stream.width, stream.height)), format="bgr24")
            frame.pts = times[number] if times else number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def read_all(path, stream=0):
    """Every frame of a video stream, (H, W, 3), RGB, by PyAV alone: the reference for what a full decode yields."""
    pictures = []
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            if not container.streams.video or container.streams.video[stream].codec_context is None:
                return []
            track = container.streams.video[stream]
            track.codec_context.thread_count = 1
            for packet in container.demux(track):
                try:
                    frames = packet.decode()
                except FFmpegError:
                    continue
                pictures += [frame.to_ndarray(format="rgb24", interpolation="BICUBIC") for frame in frames]
    except FFmpegError:
        pass
    return pictures
