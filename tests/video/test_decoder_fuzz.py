"""Damaged and cut copies of a real clip, in every container: no crash, no hang, no wrong picture, no frame lost."""

import multiprocessing
import random
from fractions import Fraction

import av
import numpy as np
import pytest
from av.error import FFmpegError
from film import read_all

from actionrec.core.errors import VideoError
from actionrec.video.clip_reader import sample_clip, timed_frames
from actionrec.video.decoder import open_video
from actionrec.video.sampling import resize

COPIES = 26
SECONDS = 120  # for all copies of one container

CONTAINERS = {
    "avi": "mpeg4",
    "mp4": "libx264",
    "mov": "libx264",
    "mkv": "libx265",
    "webm": "libvpx-vp9",
    "m4v": "libx264",
    "ts": "libx264",
    "m2ts": "libx264",
    "mpg": "mpeg2video",
    "flv": "flv",
    "wmv": "wmv2",
    "3gp": "mpeg4",
    "ogv": "libvpx",
}
SILENT = ("mkv", "webm", "ogv")  # FFmpeg hides damage of HEVC, VP8 and VP9
QUIET = {"libx265": {"x265-params": "log-level=none"}}


def convert(clip, path, codec, frames=40):
    """Write the first frames of a real clip in another container, 160 x 120, with short groups so that damage ends."""
    with av.open(str(clip)) as source, av.open(str(path), "w", format={"wmv": "asf", "ogv": "ogg"}.get(path.suffix[1:])) as target:
        stream = target.add_stream(codec, rate=25, options={"g": "12", **QUIET.get(codec, {})})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number, frame in enumerate(source.decode(video=0)):
            if number == frames:
                break
            small = frame.reformat(160, 120, "yuv420p")
            small.pts, small.time_base = number, Fraction(1, 25)
            target.mux(stream.encode(small))
        target.mux(stream.encode())
    return path


def damage(contents, pick):
    """Cut the file, overwrite a burst, flip bits, remove a piece, or repeat one."""
    contents = bytearray(contents)
    kind = pick.choice(["cut", "burst", "burst", "flips", "remove", "repeat"])
    place, length = pick.randrange(len(contents)), pick.choice([1, 16, 400, 2000])
    if kind == "cut":
        del contents[max(1, place) :]
    elif kind == "burst":
        contents[place : place + length] = pick.randbytes(len(contents[place : place + length]))
    elif kind == "flips":
        for _ in range(pick.randint(1, 20)):
            contents[pick.randrange(len(contents))] ^= 1 << pick.randrange(8)
    elif kind == "remove":
        del contents[place : place + length]
    else:
        contents[place:place] = contents[place : place + length]
    return bytes(contents)


def everything(path):
    """Every frame, by a plain reader that goes on behind errors and flushes the decoder in the end."""
    pictures, failures = [], 0
    with av.open(str(path), metadata_errors="replace") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        while failures < 100:
            try:
                for packet in container.demux(stream):
                    failures = 0
                    pictures += decoded(stream, packet) if packet.size else []
                break
            except FFmpegError:
                failures += 1
        return pictures + decoded(stream, None)


def decoded(stream, packet):
    try:
        return [frame.to_ndarray(format="rgb24", interpolation="BICUBIC") for frame in stream.codec_context.decode(packet)]
    except FFmpegError:
        return []


def check(clip, folder, suffix, results):
    """Check all copies of one container; runs in a process of its own."""
    whole = convert(clip, folder / f"whole.{suffix}", CONTAINERS[suffix])
    assert sample_clip(whole, 8, 32).decoded_frames == 40
    pick = random.Random(suffix)
    counts = {"decoded": 0, "refused": 0, "warned": 0}
    for number in range(COPIES):
        path = folder / f"{number}.{suffix}"
        path.write_bytes(damage(whole.read_bytes(), pick))
        try:
            sampled = sample_clip(path, 8, 32)
            with open_video(path) as video:
                shown = [one.picture for one in timed_frames(video, 32)]
        except VideoError:
            assert not read_all(path), f"{path.name}: PyAV reads it"
            counts["refused"] += 1
            continue
        reference = [resize(picture, 32) for picture in everything(path)]
        # After damage, a decoder may show what its buffers held before, so that a reader which keeps frames sees other pictures.
        known = {picture.tobytes() for picture in shown + reference}
        assert all(frame.tobytes() in known for frame in sampled.frames), f"{path.name}: a picture that is not in the file"
        assert len(shown) == len(reference), f"{path.name}: {len(shown)} frames, not {len(reference)}"
        assert sampled.decoded_frames >= len(reference) >= len(read_all(path)), f"{path.name}: frames lost"
        np.testing.assert_array_equal(sample_clip(path, 8, 32).frames, sampled.frames)
        counts["decoded"] += 1
        counts["warned"] += sampled.warning != ""
        path.unlink()
    results.put(counts)


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_damaged_copies_give_right_frames_or_a_clear_error(shared, tmp_path, suffix):
    assert COPIES * len(CONTAINERS) >= 300
    clip = shared / "data" / "real_clips" / "Fight" / "v_Fight_g01_c02.mp4"
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=check, args=(clip, tmp_path, suffix, results))
    process.start()
    process.join(SECONDS)
    if process.is_alive():
        process.kill()
        pytest.fail(f"a copy hangs, or all take longer than {SECONDS} s")
    assert process.exitcode == 0, "the process crashed, or a check failed: see its output above"
    counts = results.get()
    assert counts["decoded"] + counts["refused"] == COPIES
    assert counts["decoded"] > COPIES / 3
    assert counts["warned"] > 0 or suffix in SILENT
