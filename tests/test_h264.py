"""Decoding in part gives the bytes that a plain read-through gives, or refuses."""

import random
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from film import number_of, numbered_picture

from actionrec import h264, video
from actionrec.errors import VideoError
from actionrec.h264 import NotPlainError, open_plain
from actionrec.video import evenly_spaced, resize, sample_clip

MADE = Path(__file__).parent / "videos"


def write_h264(path, length, *, times=None, size=None, rotation=0, pixels="yuv420p", container_options=None, **x264):
    """Write numbered pictures, grainy; `times` are their ticks of 1/100 s; other keywords are the encoder's options."""
    rng = np.random.default_rng(length)
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = container.add_stream("libx264", rate=25, options={key: str(value) for key, value in x264.items()})
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


def read_through(path, count, size):
    """The indices and frames that a plain reading of every frame gives."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    pictures = []
    while (read := capture.read())[0]:
        pictures.append(read[1])
    indices = evenly_spaced(len(pictures), count)
    return len(pictures), indices, np.stack([resize(pictures[index], size) for index in indices])


def assert_same(path, count=32, size=40):
    """Decode in part, or fail; compare all of it with a plain reading."""
    sampled = sample_clip(path, count, size)
    assert sampled.decoder == "pyav", why(path)
    decoded, indices, frames = read_through(path, count, size)
    assert (sampled.decoded_frames, sampled.indices) == (decoded, indices)
    np.testing.assert_array_equal(sampled.frames, frames)
    return sampled


def why(path):
    """Why a file is not plain."""
    try:
        with open_plain(path) as film:
            list(film.pictures(range(film.frame_count)))
    except NotPlainError as error:
        return str(error)
    return "it is"


def assert_read_through(path, reason, count=8, size=40):
    assert why(path) == reason
    sampled = sample_clip(path, count, size)
    assert sampled.decoder == "opencv"
    decoded, indices, frames = read_through(path, count, size)
    assert (sampled.decoded_frames, sampled.indices) == (decoded, indices)
    np.testing.assert_array_equal(sampled.frames, frames)


STREAMS = {
    "as x264 does": {},
    "one key frame": {"g": 1000, "sc_threshold": 0},
    "no B-frames": {"bf": 0},
    "every frame a key frame": {"g": 1},
    "short groups": {"g": 12, "bf": 2},
    "pyramid": {"bf": 8, "b_strategy": 2, "g": 60, "refs": 5},
    "strict pyramid": {"bf": 5, "x264-params": "b-pyramid=strict:b-adapt=0"},
    "no pyramid": {"bf": 6, "x264-params": "b-pyramid=none:b-adapt=0"},
    "open groups": {"g": 20, "bf": 3, "x264-params": "open-gop=1"},
    "many references": {"refs": 16, "bf": 16, "g": 90},
    "baseline": {"profile": "baseline"},
    "main": {"profile": "main"},
    "several slices": {"slices": 4},
    "coarse": {"crf": 45},
    "fine": {"crf": 5},
    "a frame at a time": {"tune": "zerolatency"},
    "refreshed little by little": {"x264-params": "intra-refresh=1:keyint=20"},
    "bt709": {"x264-params": "colormatrix=bt709"},
    "fcc": {"x264-params": "colormatrix=fcc"},
    "smpte170m": {"x264-params": "colormatrix=smpte170m"},
    "bt2020nc": {"x264-params": "colormatrix=bt2020nc"},
    "full range": {"pixels": "yuvj420p"},
    "delimited": {"x264-params": "aud=1"},
    "weighted": {"x264-params": "weightp=2"},
    "long": {"length": 700, "g": 25, "bf": 2},
    **{f"of {length} frames": {"length": length, "bf": 3} for length in (1, 2, 3, 5, 31, 32, 33)},
    **{
        f"{width} x {height}": {"size": (width, height), "length": 20}
        for width, height in ((322, 242), (70, 50), (98, 34), (640, 360))
    },
}


@pytest.mark.parametrize("name", STREAMS)
def test_frames_equal_a_plain_read_through_s(tmp_path, name):
    options = {"length": 120, **STREAMS[name]}
    path = write_h264(tmp_path / "a.mp4", options.pop("length"), **options)
    for count in (1, 7, 32):
        assert_same(path, count)


@pytest.mark.parametrize("seed", range(40))
def test_frames_equal_a_plain_read_through_s_for_any_settings(tmp_path, seed):
    pick = random.Random(seed)
    length = pick.randint(1, 160)
    options = {
        "g": pick.choice([1, 2, 5, 12, 30, 250]),
        "bf": pick.choice([0, 1, 2, 3, 7, 16]),
        "refs": pick.randint(1, 16),
        "crf": pick.randint(0, 51),
        "preset": pick.choice(["ultrafast", "veryfast", "medium", "slow"]),
        "x264-params": ":".join(
            (
                f"b-pyramid={pick.choice(['none', 'strict', 'normal'])}",
                f"open-gop={pick.randint(0, 1)}",
                f"b-adapt={pick.randint(0, 2)}",
                f"scenecut={pick.choice([0, 40])}",
                f"slices={pick.choice([1, 1, 3])}",
            )
        ),
    }
    times = None
    if pick.random() < 0.5:
        gaps = [pick.choice([1, 3, 4, 4, 4, 40]) for _ in range(length)]
        times = [sum(gaps[:place]) for place in range(length)]
    path = write_h264(tmp_path / "a.mp4", length, times=times, size=pick.choice([(80, 48), (82, 46), (160, 96)]), **options)
    sampled = sample_clip(path, pick.choice([1, 4, 16, 32]), 40)
    if options["crf"] == 0:
        assert sampled.decoder == "opencv"  # lossless: another profile
    else:
        assert_same(path, len(sampled.indices))
        assert sampled.decoder == "pyav"


def test_frames_of_a_plain_file_are_the_ones_that_they_say():
    for count in (3, 32, 100):
        sampled = assert_same(MADE / "h264_b.mp4", count, 80)
        assert [number_of(frame) for frame in sampled.frames] == sampled.indices
        assert (sampled.header_frames, sampled.decoded_frames) == (260, 260)


def test_real_clips_equal_a_plain_read_through_s(shared):
    clips = sorted((shared / "data" / "real_clips").glob("*/*.mp4"))
    smallest = sorted(clips, key=lambda path: path.stat().st_size)[:12]
    assert len(smallest) == 12
    for path in smallest:
        assert_same(path)


def spoil(contents, packet, keep):
    """Overwrite a packet but for its first bytes."""
    contents[packet.pos + keep : packet.pos + packet.size] = bytes([0xAA]) * (packet.size - keep)


def packets_of(path):
    with av.open(str(path)) as container:
        return [packet for packet in container.demux(video=0) if packet.size]


def test_frames_that_nobody_wants_are_not_decoded(tmp_path):
    path = write_h264(tmp_path / "a.mp4", 200, g=20, bf=3, sc_threshold=0)
    plain = assert_same(path, 4, 80)  # frames 0, 66, 132, 199: four groups of ten
    contents = bytearray(path.read_bytes())
    spoiled = 0
    for packet in packets_of(path):
        number = packet.pts // packet.duration
        if number // 20 in (1, 2, 4, 5, 7, 8) or (number % 20 > 8 and number < 60):
            spoil(contents, packet, 8)
            spoiled += 1
    assert spoiled > 120
    path.write_bytes(contents)
    np.testing.assert_array_equal(sample_clip(path, 4, 80).frames, plain.frames)


def test_frames_that_no_other_refers_to_are_not_decoded(tmp_path):
    path = write_h264(tmp_path / "a.mp4", 100, g=1000, bf=3, **{"x264-params": "b-pyramid=none:b-adapt=0"})
    plain = assert_same(path, 10, 80)
    contents = bytearray(path.read_bytes())
    spoiled = 0
    for packet in packets_of(path):
        loose = contents[packet.pos + 4] & 0x60 == 0
        if loose and packet.pts // packet.duration not in plain.indices:
            spoil(contents, packet, 8)
            spoiled += 1
    assert spoiled > 50
    path.write_bytes(contents)
    np.testing.assert_array_equal(sample_clip(path, 10, 80).frames, plain.frames)


@pytest.mark.parametrize(("skipped", "shown"), [(0, 40), (5, 40), (5, 200), (33, 20), (60, 200)])
def test_edit_lists_leave_frames_out(tmp_path, skipped, shown):
    path = write_h264(tmp_path / "a.mp4", 100, g=30, bf=3)
    contents = bytearray(path.read_bytes())
    place = contents.index(b"elst") + 12  # after version, flags, and the count
    duration, start = (int.from_bytes(contents[place + step : place + step + 4], "big") for step in (0, 4))
    assert duration == 4000  # ms
    contents[place : place + 4] = min(duration, 40 * shown).to_bytes(4, "big")
    contents[place + 4 : place + 8] = (start + 512 * skipped).to_bytes(4, "big")
    path.write_bytes(contents)
    sampled = assert_same(path)
    assert sampled.header_frames == 100
    assert sampled.decoded_frames < 100
    assert number_of(sample_clip(path, 3, 80).frames[0]) == skipped


def test_a_file_cut_short_is_read_through(tmp_path):
    path = write_h264(tmp_path / "a.mp4", 60, container_options={"movflags": "faststart"})
    assert_same(path)
    contents = path.read_bytes()
    for kept in (0.5, 0.8, 0.99):
        path.write_bytes(contents[: int(len(contents) * kept)])
        assert why(path) in (
            "other packets than the header promises",
            "a packet's lengths do not add up",
            "a packet without a time, or damaged",
        )
        assert sample_clip(path, 8, 40).decoder == "opencv"


NOT_PLAIN = {
    "4:4:4": ({"pixels": "yuv444p"}, "profile 244"),
    "10 bits": ({"pixels": "yuv420p10le"}, "profile 110"),
    "lossless": ({"qp": 0}, "profile 244"),
    "rotated": ({"rotation": 90}, "a frame is rotated, of another size, or not of 8-bit 4:2:0 pixels"),
}


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_what_is_not_plain_is_read_through(tmp_path, name):
    options, reason = NOT_PLAIN[name]
    assert_read_through(write_h264(tmp_path / "a.mp4", 40, **options), reason)


def test_other_containers_are_read_through(tmp_path):
    for suffix in ("mkv", "avi", "ts"):
        assert_read_through(write_h264(tmp_path / f"a.{suffix}", 40), "no MP4 file")


def test_fragments_without_a_count_are_read_through(tmp_path):
    path = write_h264(tmp_path / "a.mp4", 40, container_options={"movflags": "frag_keyframe+empty_moov"})
    assert_read_through(path, "other packets than the header promises")


def test_a_file_too_large_for_memory_is_read_through(tmp_path, monkeypatch):
    path = write_h264(tmp_path / "a.mp4", 40)
    monkeypatch.setattr(h264, "LARGEST", path.stat().st_size - 1)
    assert_read_through(path, "too large to hold in memory")


def test_an_empty_file_and_noise_are_no_mp4(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"")
    assert why(tmp_path / "a.mp4") == "no MP4 file"
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(range(256)) * 9)
    assert why(tmp_path / "a.mp4").startswith("FFmpeg: ")


@pytest.mark.parametrize("place", ["wanted", "reference"])
def test_damage_that_a_wanted_frame_meets_is_read_through(tmp_path, place):
    path = write_h264(tmp_path / "a.mp4", 60, g=1000, bf=0, crf=15)
    contents = bytearray(path.read_bytes())
    spoil(contents, packets_of(path)[59 if place == "wanted" else 30], 20)
    path.write_bytes(contents)
    assert why(path).startswith(("FFmpeg: ", "a frame is damaged"))
    assert sample_clip(path, 8, 40).decoder == "opencv"


def outcome(sample, path):
    try:
        sampled = sample(path, 8, 40)
    except VideoError as error:
        return str(error), error.header_frames, error.decoded_frames
    return sampled.frames.tobytes(), sampled.indices, sampled.header_frames, sampled.decoded_frames


def test_a_damaged_file_gives_what_a_read_through_gives_or_what_it_gave_before(tmp_path):
    """The latter where nothing but passed-over frames is damaged, of which a read-through may lose some."""
    path = write_h264(tmp_path / "a.mp4", 60, g=20, bf=3, crf=20)
    before, whole = outcome(sample_clip, path), path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(150):
        contents = bytearray(whole)
        for place in rng.integers(0, len(contents), rng.integers(1, 4)):
            contents[place] ^= 1 << rng.integers(8)
        path.write_bytes(contents)
        first = outcome(sample_clip, path)
        assert outcome(sample_clip, path) == first
        assert first in (outcome(video._sample_by_reading_through, path), before)
