"""Time of several ways to decode 32 frames of 224x224 from a clip on one core: `python -m benchmarks.decode`.

The clips resemble UCF-50's: 200 frames of 320x240 at 25 fps, about half a megabyte. All ways of a clip alternate, so that other
load on the machine affects all of them. Checks every way's frames, and prints medians and ratios as Markdown. torchcodec and decord
are measured if they are installed.
"""

import argparse
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from actionrec.video.clip_reader import sample_clip
from actionrec.video.sampling import evenly_spaced, resize

LENGTH, WIDTH, HEIGHT, RATE = 200, 320, 240, 25
BITS_PER_SECOND = 460_000  # the average of UCF-50's clips
COUNT, SIZE = 32, 224

Pictures = NDArray[np.uint8]


def scene() -> Iterator[Pictures]:
    """A textured background under a moving camera, a ball in front of it, and a little camera noise."""
    rng = np.random.default_rng(0)
    blotches = rng.integers(0, 220, (40, 52, 3), dtype=np.uint8)
    wall = cv2.resize(blotches, (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_CUBIC)
    wall = cv2.add(wall, cv2.GaussianBlur(rng.integers(0, 60, wall.shape, dtype=np.uint8), (3, 3), 0))
    for number in range(LENGTH):
        left, top = int(90 + 60 * np.sin(number / 19)), int(90 + 60 * np.cos(number / 13))
        picture = wall[top : top + HEIGHT, left : left + WIDTH].copy()
        ball = (int(WIDTH * (0.5 + 0.35 * np.sin(number / 9))), int(HEIGHT * (0.5 + 0.3 * np.cos(number / 7))))
        cv2.circle(picture, ball, 30, (30, 200, 240), -1)
        yield cv2.add(picture, rng.integers(0, 3, picture.shape, dtype=np.uint8))


def encode(path: Path, codec: str, *, tag: str = "", group: int | None = None, b_frames: int | None = None, **options: str) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        if codec == "mpeg4":
            stream.codec_context.bit_rate = BITS_PER_SECOND
        if tag:
            stream.codec_context.codec_tag = tag
        if group is not None:
            stream.codec_context.gop_size = group
        if b_frames is not None:
            stream.codec_context.max_b_frames = b_frames
        packets = [packet for picture in scene() for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24"))]
        packets += stream.encode()
        if tag and b_frames:
            packets = [repacked(contents, place, stream) for place, contents in enumerate(packed([bytes(one) for one in packets]))]
        for packet in packets:
            container.mux(packet)
    if tag and b_frames:
        overstate(path)


def overstate(path: Path) -> None:
    """Make the header claim two frames too many, as Xvid's does when it packs B-frames."""
    contents = bytearray(path.read_bytes())
    for chunk, field in ((b"avih", 16), (b"strh", 32)):
        place = contents.index(chunk) + 8 + field
        contents[place : place + 4] = (LENGTH + 2).to_bytes(4, "little")
    path.write_bytes(contents)


def packed(pictures: list[bytes]) -> list[bytes]:
    """Pack B-frames as DivX and Xvid do: the first shares the packet of the frame that it refers to, and an empty one fills in."""
    signature = b"\0\0\1\xb2DivX503b1393p"
    start = b"\0\0\1\xb6"
    first = pictures[0].index(start)
    pictures = [pictures[0][:first] + signature + pictures[0][first:], *pictures[1:]]
    found: list[bytes] = []
    place = 0
    while place < len(pictures):
        run = place + 1
        while run < len(pictures) and pictures[run][pictures[run].index(start) + 4] >> 6 == 2:  # B
            run += 1
        if run > place + 1:
            empty = start + (0b01_0_1_00000_1_0_01111).to_bytes(2, "big")  # a P-frame that is not coded
            found += [pictures[place] + pictures[place + 1], *pictures[place + 2 : run], empty]
        else:
            found.append(pictures[place])
        place = run
    return found


def repacked(contents: bytes, place: int, stream: av.VideoStream) -> av.Packet:
    packet = av.Packet(contents)
    packet.stream, packet.time_base = stream, stream.codec_context.time_base
    packet.pts = packet.dts = place
    packet.is_keyframe = place == 0
    return packet


CLIPS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "Xvid, GOP 12": ("a.avi", lambda path: encode(path, "mpeg4", tag="XVID", group=12, b_frames=0)),
    "Xvid, GOP 250, packed B": ("b.avi", lambda path: encode(path, "mpeg4", tag="XVID", group=250, b_frames=2)),
    "MPEG-4, GOP 250": ("c.avi", lambda path: encode(path, "mpeg4", group=250, b_frames=0, sc_threshold="1000000000")),
    "H.264": ("d.mp4", lambda path: encode(path, "libx264")),
}


def opened(path: Path) -> cv2.VideoCapture:
    return cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])


def from_bgr(picture: Pictures) -> Pictures:
    return np.asarray(cv2.cvtColor(resize(picture, SIZE), cv2.COLOR_BGR2RGB), dtype=np.uint8)


def decode_only(path: Path, _: list[int]) -> None:
    """PyAV decodes all frames and does nothing else: the lower bound."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "NONE", 1
        for _frame in container.decode(stream):
            pass


def actionrec(path: Path, _: list[int]) -> Pictures:
    return sample_clip(path, COUNT, SIZE).frames


def grab_retrieve(path: Path, indices: list[int]) -> Pictures:
    """OpenCV decodes all frames and converts the sampled ones."""
    capture, number, wanted, frames = opened(path), 0, set(indices), []
    while capture.grab():
        if number in wanted:
            frames.append(from_bgr(capture.retrieve()[1]))
        number += 1
    return np.stack(frames)


def read_and_keep(path: Path, indices: list[int]) -> Pictures:
    """OpenCV reads all frames and keeps the sampled ones: correct if the header's count is."""
    capture, number, wanted, frames = opened(path), 0, set(indices), []
    while (read := capture.read())[0]:
        if number in wanted:
            frames.append(from_bgr(read[1]))
        number += 1
    return np.stack(frames)


def read_all(path: Path, indices: list[int]) -> Pictures:
    """OpenCV reads all frames into a list and samples from it: correct whatever the header's count."""
    capture, pictures = opened(path), []
    while (read := capture.read())[0]:
        pictures.append(read[1])
    return np.stack([from_bgr(pictures[index]) for index in indices])


def seek(path: Path, indices: list[int]) -> Pictures:
    """The study's way: OpenCV seeks each frame."""
    capture, frames = opened(path), []
    for index in indices:
        capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        frames.append(from_bgr(capture.read()[1]))
    return np.stack(frames)


def torchcodec(path: Path, indices: list[int]) -> Pictures:
    """Exact mode: the whole file is scanned first."""
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact")
    known = [min(index, len(decoder) - 1) for index in indices]
    return np.stack([resize(picture, SIZE) for picture in decoder.get_frames_at(known).data.numpy()])


def decord(path: Path, indices: list[int]) -> Pictures:
    from decord import VideoReader

    reader = VideoReader(str(path), num_threads=1)
    known = [min(index, len(reader) - 1) for index in indices]
    return np.stack([resize(picture, SIZE) for picture in reader.get_batch(known).asnumpy()])


WAYS: dict[str, Callable[[Path, list[int]], Pictures | None]] = {
    "decode only (PyAV)": decode_only,
    "actionrec": actionrec,
    "OpenCV: grab all, retrieve the sampled": grab_retrieve,
    "OpenCV: read all, keep the sampled": read_and_keep,
    "OpenCV: read all into a list, then sample": read_all,
    "OpenCV: seeks (the study)": seek,
    **{way.__name__: way for way in (torchcodec, decord) if find_spec(way.__name__)},
}


def timed(path: Path, repeats: int) -> dict[str, list[float]]:
    """Milliseconds of processor time of each way, alternating. Each way's frames are first compared with the list's."""
    decoded = sample_clip(path, COUNT, SIZE).decoded_frames
    indices = evenly_spaced(decoded, COUNT)
    right = read_all(path, indices)
    for name, way in WAYS.items():
        frames = way(path, indices)
        if frames is not None and (wrong := sum(not np.array_equal(one, other) for one, other in zip(frames, right, strict=True))):
            print(f"<!-- {path.name}: {name}: {wrong} of {COUNT} frames are wrong -->")
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(repeats):
        for name, way in WAYS.items():
            start = time.process_time()  # all ways have one thread; the time of other programs is excluded
            way(path, indices)
            found[name].append(1000 * (time.process_time() - start))
    return found


def work(paths: list[Path], ready: multiprocessing.Barrier, seconds: multiprocessing.Queue) -> None:
    cv2.setNumThreads(1)
    sample_clip(paths[0], COUNT, SIZE)
    ready.wait()
    start = time.perf_counter()
    for path in paths:
        sample_clip(path, COUNT, SIZE)
    seconds.put(time.perf_counter() - start)


def clips_per_second(path: Path, processes: int, each: int) -> float:
    """Clips a second of several processes at once, each with its own clips, without their start."""
    context = multiprocessing.get_context("spawn")
    ready, seconds = context.Barrier(processes), context.Queue()
    started = [context.Process(target=work, args=([path] * each, ready, seconds)) for _ in range(processes)]
    for process in started:
        process.start()
    slowest = max(seconds.get() for _ in started)
    for process in started:
        process.join()
    return processes * each / slowest


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="ascii").splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.processor()}, {len(os.sched_getaffinity(0))} cores"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9, help="repeats of each way (default: %(default)s)")
    parser.add_argument(
        "--clips", type=int, default=40, help="clips per process when two processes are compared with one (default: %(default)s)"
    )
    settings = parser.parse_args()
    cv2.setNumThreads(1)
    print(f"{machine()}; Python {platform.python_version()}, OpenCV {cv2.__version__}, PyAV {av.__version__}\n")
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for name, (file, make) in CLIPS.items():
            paths[name] = Path(folder) / file
            make(paths[name])
        found = {name: timed(path, settings.repeats) for name, path in paths.items()}
        kilobytes = {name: path.stat().st_size // 1000 for name, path in paths.items()}
        print("| ms a clip | " + " | ".join(f"{name} ({kilobytes[name]} KB)" for name in CLIPS) + " |")
        print("|---|" + "---|" * len(CLIPS))
        for way in WAYS:
            print(f"| {way} | " + " | ".join(f"{statistics.median(found[name][way]):.1f}" for name in CLIPS) + " |")
        print("\n| times as fast, median of pairs | " + " | ".join(CLIPS) + " |\n|---|" + "---|" * len(CLIPS))
        for way in WAYS:
            if way != "actionrec":
                pairs = {name: zip(found[name][way], found[name]["actionrec"], strict=True) for name in CLIPS}
                ratios = [f"{statistics.median(other / ours for other, ours in pairs[name]):.2f}" for name in CLIPS]
                print(f"| actionrec against {way} | " + " | ".join(ratios) + " |")
        scaling = []
        for path in paths.values():
            pairs = [(clips_per_second(path, 1, settings.clips), clips_per_second(path, 2, settings.clips)) for _ in range(3)]
            scaling.append(f"{statistics.median(two / one for one, two in pairs):.2f}")
        print("| two processes against one | " + " | ".join(scaling) + " |")


if __name__ == "__main__":
    main()
