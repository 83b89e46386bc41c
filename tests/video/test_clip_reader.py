import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from film import ODD_NAMES, number_of, numbered_picture, read_all, write_h264, write_video

from actionrec.core.errors import VideoError
from actionrec.video import clip_reader
from actionrec.video.clip_reader import read_frame, sample_clip, sample_clip_safely, sample_piece, timed_frames
from actionrec.video.decoder import open_video, read_header
from actionrec.video.frame_settings import Sampling, Snippet
from actionrec.video.sampling import evenly_spaced, resize, snippet_frames

MADE = Path(__file__).parent / "videos"  # its README describes each


def assert_frame_exact(path, count, resolution):
    """The sampled frames are those of a full decode, byte for byte."""
    pictures, sampled = read_all(path), sample_clip(path, count, resolution)
    assert sampled.decoded_frames == len(pictures)
    assert sampled.indices == evenly_spaced(len(pictures), count)
    np.testing.assert_array_equal(sampled.frames, np.stack([resize(pictures[index], resolution) for index in sampled.indices]))
    return sampled


@pytest.mark.parametrize("name", ["gop12.avi", "gop250.avi", "packed_b.avi", "h264_b.mp4"])
@pytest.mark.parametrize("count", [7, 32])
def test_frames_are_exact_whatever_lies_between_key_frames(name, count):
    sampled = assert_frame_exact(MADE / name, count, 64)
    assert sampled.header_frames == 260
    numbers = [number_of(frame) for frame in sampled.frames]
    if name == "packed_b.avi":  # ends early, and its header does not say so
        assert sampled.decoded_frames == 258
        assert numbers[:-1] == sampled.indices[:-1]
    else:
        assert (sampled.decoded_frames, numbers) == (260, sampled.indices)


@pytest.mark.parametrize("fourcc", ["XVID", "MJPG", "mp4v", "DIVX"])
@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 75])
def test_frames_of_a_fresh_video_are_the_ones_that_they_say(tmp_path, fourcc, length):
    path = write_video(tmp_path / "a.avi", length, fourcc)
    sampled = assert_frame_exact(path, 32, 80)
    assert [number_of(frame) for frame in sampled.frames] == sampled.indices
    assert sampled.unique_frames == min(length, 32)
    assert (sampled.header_frames, sampled.decoded_frames, sampled.frame_rate) == (length, length, 25)
    assert sampled.frames.shape == (32, 80, 80, 3)
    assert sampled.frames.dtype == np.uint8


@pytest.mark.parametrize("name", ["gop250.avi", "packed_b.avi", "h264_b.mp4"])
@pytest.mark.parametrize("snippet", [Snippet(4), Snippet(16, 7.5)])
def test_frames_of_snippets_are_exact_and_each_is_kept_once(name, snippet):
    pictures, sampled = read_all(MADE / name), sample_clip(MADE / name, 6, 64, "crop", snippet)
    expected = snippet_frames(len(pictures), 6, snippet, read_header(MADE / name).frames_per_second)
    assert sampled.indices == sorted(set(expected.ravel().tolist()))
    assert sampled.frame_rate == read_header(MADE / name).frames_per_second
    assert sampled.pictures.shape == (6, snippet.length, 64, 64, 3)
    for found, wanted in zip(sampled.pictures.reshape(-1, 64, 64, 3), expected.ravel(), strict=True):
        np.testing.assert_array_equal(found, resize(pictures[wanted], 64, "crop"))
    shown, indices = sampled.shown
    assert indices == expected[:, (snippet.length - 1) // 2].tolist()
    np.testing.assert_array_equal(shown, sampled.pictures[:, (snippet.length - 1) // 2])


@pytest.mark.parametrize(("length", "unique", "padded"), [(3, 3, 5), (12, 12, 1), (40, 30, 0)])
def test_a_clip_with_few_frames_repeats_snippets(tmp_path, length, unique, padded):
    sampled = sample_clip(write_video(tmp_path / "a.avi", length), 6, 80, snippet=Snippet(8 if length < 40 else 5))
    assert (sampled.unique_frames, sampled.padded) == (unique, padded)


def test_colours_are_red_green_blue(tmp_path):
    blue_green_red = np.zeros((48, 80, 3), np.uint8)
    blue_green_red[:] = (10, 20, 240)
    path = write_video(tmp_path / "red.avi", [blue_green_red] * 3, "MJPG")
    for frame in sample_clip(path, 3, 32).frames:
        np.testing.assert_allclose(frame.mean(axis=(0, 1)), (240, 20, 10), atol=6)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_decode(tmp_path, name):
    path = write_video(tmp_path / "Odd Class#1: %d" / name, 5)
    assert [number_of(frame) for frame in sample_clip(path, 3, 80).frames] == [0, 2, 4]


@pytest.mark.parametrize("name", ["a:b%03d.avi", "http:x.avi", "file:x.avi", "concat:a|b.avi", "-.avi"])
def test_a_relative_path_is_never_taken_for_a_protocol_or_a_pattern(project, name):
    write_video(project / name, 5)
    assert sample_clip(Path(name), 3, 80).decoded_frames == 5


def test_a_clip_that_nobody_may_write_to_and_a_link_to_it_decode(tmp_path):
    path = write_video(tmp_path / "a.avi", 5)
    path.chmod(0o444)
    (tmp_path / "link").symlink_to(path)
    assert sample_clip(tmp_path / "link", 3, 80).decoded_frames == 5
    assert path.stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.8])
def test_a_video_cut_short_gives_the_frames_that_are_left_or_says_why(tmp_path, kept):
    contents = (MADE / "gop12.avi").read_bytes()
    path = tmp_path / "cut.avi"
    path.write_bytes(contents[: int(len(contents) * kept)])
    sampled = assert_frame_exact(path, 32, 64)
    assert 0 < sampled.decoded_frames < 260
    assert sampled.indices[-1] == sampled.decoded_frames - 1


def test_damaged_packets_shift_no_frame_and_give_the_same_pictures_every_time(tmp_path):
    contents = bytearray((MADE / "gop12.avi").read_bytes())
    rng = np.random.default_rng(0)
    for place in rng.integers(8000, len(contents) - 8000, 20):
        contents[place] ^= 0xFF
    path = tmp_path / "damaged.avi"
    path.write_bytes(contents)
    first = assert_frame_exact(path, 32, 64)
    for _ in range(5):
        np.testing.assert_array_equal(sample_clip(path, 32, 64).frames, first.frames)


@pytest.mark.parametrize("claim", [0, 1, 259, 261, 1_000_000, 2**31 - 1, 2**32 - 1])
def test_a_header_that_lies_is_not_believed(tmp_path, claim):
    contents = bytearray((MADE / "gop12.avi").read_bytes())
    for chunk, field in ((b"avih", 16), (b"strh", 32)):  # their counts of frames
        place = contents.index(chunk) + 8 + field
        assert int.from_bytes(contents[place : place + 4], "little") == 260
        contents[place : place + 4] = claim.to_bytes(4, "little")
    path = tmp_path / "lies.avi"
    path.write_bytes(contents)
    sampled = sample_clip(path, 8, 80)
    assert sampled.decoded_frames == 260
    assert [number_of(frame) for frame in sampled.frames] == evenly_spaced(260, 8)
    assert sampled.header_frames in (claim, 260, 0)  # FFmpeg may count packets; absurd claims are dropped


def test_text_with_a_video_suffix_is_refused(tmp_path):
    (tmp_path / "a.avi").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n", encoding="utf-8")
    with pytest.raises(VideoError, match=r"^not a video file that FFmpeg can open"):
        sample_clip(tmp_path / "a.avi", 8, 80)


def test_a_missing_file_is_a_file_not_found_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        sample_clip(tmp_path / "gone.avi", 8, 80)


def test_a_video_error_survives_the_way_between_processes():
    import pickle

    error = pickle.loads(pickle.dumps(VideoError("no frame", header_frames=3, decoded_frames=1)))
    assert (str(error), error.header_frames, error.decoded_frames) == ("no frame", 3, 1)


def test_damaged_files_make_no_noise_on_stderr(tmp_path):
    contents = bytearray((MADE / "gop12.avi").read_bytes())
    contents[9000:9400] = bytes(400)
    (tmp_path / "a.avi").write_bytes(contents)
    shutil.copy(MADE / "packed_b.avi", tmp_path / "b.avi")
    (tmp_path / "c.avi").write_bytes(b"RIFF" + os.urandom(4000))
    code = """
import sys
from pathlib import Path
from actionrec.core.errors import VideoError
from actionrec.video import clip_reader
for path in map(Path, sys.argv[1:]):
    try:
        print(clip_reader.sample_clip(path, 32, 64).decoded_frames)
    except VideoError:
        print("refused")
"""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OPENCV")}
    names = [tmp_path / "a.avi", tmp_path / "b.avi", tmp_path / "c.avi"]
    done = subprocess.run([sys.executable, "-c", code, *names], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.split()[-1] == "refused"


STREAMS = {
    "x264 defaults": {},
    "one key frame": {"g": 1000, "sc_threshold": 0},
    "no B-frames": {"bf": 0},
    "only key frames": {"g": 1},
    "short groups": {"g": 12, "bf": 2},
    "pyramid": {"bf": 8, "b_strategy": 2, "g": 60, "refs": 5},
    "strict pyramid": {"bf": 5, "x264-params": "b-pyramid=strict:b-adapt=0"},
    "no pyramid": {"bf": 6, "x264-params": "b-pyramid=none:b-adapt=0"},
    "open groups": {"g": 20, "bf": 3, "x264-params": "open-gop=1"},
    "many references": {"refs": 16, "bf": 16, "g": 90},
    "baseline": {"profile": "baseline"},
    "several slices": {"slices": 4},
    "lossless": {"qp": 0},
    "zero latency": {"tune": "zerolatency"},
    "intra refresh": {"x264-params": "intra-refresh=1:keyint=20"},
    "bt709": {"x264-params": "colormatrix=bt709"},
    "bt2020nc": {"x264-params": "colormatrix=bt2020nc"},
    "full range": {"pixels": "yuvj420p"},
    "4:4:4": {"pixels": "yuv444p"},
    "10 bits": {"pixels": "yuv420p10le"},
    "interlaced": {"x264-params": "interlaced=1"},
    "odd size": {"size": (98, 34)},
    "fragmented": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "negative times": {"times": [4 * number - 60 for number in range(120)]},
    "hevc": {"codec": "libx265", "x265-params": "log-level=none:bframes=4:b-pyramid=1:keyint=40"},
    "hevc, open groups": {"codec": "libx265", "x265-params": "log-level=none:bframes=4:open-gop=1:keyint=20"},
    **{f"{length} frames": {"length": length, "bf": 3} for length in (1, 2, 3, 31, 32, 33)},
}


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("name", STREAMS)
def test_skipping_frames_gives_the_pictures_of_a_full_decode(tmp_path, name, suffix):
    options = {"length": 120, **STREAMS[name]}
    if suffix != "mp4" and ({"container_options", "times"} & set(options) or options["length"] < 31):
        return  # these are about MP4, and FFmpeg does not recognise very short transport streams
    path = write_h264(tmp_path / f"a.{suffix}", options.pop("length"), **options)
    for count in (1, 7, 32):
        sampled = assert_frame_exact(path, count, 40)
    assert sampled.warning == ""


@pytest.mark.parametrize("seed", range(24))
def test_skipping_frames_gives_the_pictures_of_a_full_decode_for_any_encoder_settings(tmp_path, seed):
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
    gaps = [pick.choice([1, 3, 4, 4, 4, 40]) for _ in range(length)]
    times = [sum(gaps[:place]) for place in range(length)] if pick.random() < 0.5 else None
    path = write_h264(tmp_path / "a.mp4", length, times=times, size=pick.choice([(80, 48), (82, 46), (160, 96)]), **options)
    assert_frame_exact(path, pick.choice([1, 4, 16, 32]), 40)


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
    sampled = assert_frame_exact(path, 32, 40)
    assert (sampled.header_frames, sampled.decoded_frames, sampled.warning) == (100, min(shown, 100 - skipped), "")
    assert number_of(sample_clip(path, 3, 80).frames[0]) == skipped


def test_frames_that_are_not_needed_are_not_decoded(tmp_path):
    path = write_h264(tmp_path / "a.mp4", 100, g=1000, bf=3, **{"x264-params": "b-pyramid=none:b-adapt=0"})
    decoded = []
    with open_video(path) as opened:
        packets = list(opened.packets())
        times = opened.times_for_skipping(packets)
        decoded = [frame.pts for frame in opened.frames(packets, needed_times={times[0], times[50], times[99]})]
    assert {times[0], times[50], times[99]} <= set(decoded)
    assert 20 < len(decoded) < 40  # a quarter are references


@pytest.mark.parametrize("kind", ["Fight", "Fall", "NoFight", "DailyLiving"])
def test_real_clips_give_the_pictures_of_a_full_decode(shared, kind):
    clips = sorted((shared / "data" / "real_clips" / kind).iterdir(), key=lambda path: path.stat().st_size)
    for path in clips[:3]:
        sampled = assert_frame_exact(path, 32, 112)
        assert sampled.warning == ""
        with open_video(path) as opened:
            shown = list(timed_frames(opened, 112))
        assert len(shown) == sampled.decoded_frames
        assert all(
            np.array_equal(shown[index].picture, frame) for index, frame in zip(sampled.indices, sampled.frames, strict=True)
        )


@pytest.mark.parametrize("kind", ["mp4", "mkv", "avi"])
@pytest.mark.parametrize("count", [1, 8])
def test_interlaced_frames_keep_both_fields_and_are_the_ones_that_they_say(tmp_path, kind, count):
    if kind == "avi":
        path = write_h264(tmp_path / "a.avi", 40, codec="mpeg4", flags="+ildct+ilme")
    else:
        path = write_h264(tmp_path / f"a.{kind}", 40, **{"x264-params": "interlaced=1"})
    sampled = assert_frame_exact(path, count, 80)
    assert sampled.decoded_frames == 40
    for index, frame in zip(sampled.indices, sampled.frames, strict=True):
        assert number_of(frame) == index
        assert np.abs(frame.astype(int) - resize(numbered_picture(index)[:, :, ::-1], 80)).mean() < 25


def test_a_picture_size_that_changes_in_mid_stream_is_read_on(tmp_path):
    contents = b""
    for size, numbers in (((80, 48), range(10)), ((160, 96), range(10, 30))):
        part = write_raw(tmp_path / "part.h264", size, numbers)
        contents += part.read_bytes()
    path = tmp_path / "a.h264"
    path.write_bytes(contents)
    sampled = assert_frame_exact(path, 30, 80)
    assert [number_of(frame) for frame in sampled.frames] == list(range(30))


def write_raw(path, size, numbers):
    with av.open(str(path), "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.pix_fmt, (stream.width, stream.height) = "yuv420p", size
        for number in numbers:
            frame = av.VideoFrame.from_ndarray(numbered_picture(number), format="bgr24").reformat(*size)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_one_frame_is_the_one_asked_for(tmp_path):
    path = write_h264(tmp_path / "a.mp4", 40)
    assert [number_of(read_frame(path, index)) for index in (0, 7, 39)] == [0, 7, 39]
    with pytest.raises(VideoError, match=r"^frame 40 cannot be read; the file has 40 readable frames$"):
        read_frame(path, 40)


def test_a_file_too_large_to_hold_its_packets_gives_the_same_frames(tmp_path, monkeypatch):
    for path in (write_h264(tmp_path / "a.mp4", 40), write_video(tmp_path / "a.avi", 40)):
        held = sample_clip(path, 8, 40)
        with monkeypatch.context() as patch:
            patch.setattr(clip_reader, "MAX_HELD_BYTES", path.stat().st_size - 1)
            read_twice = sample_clip(path, 8, 40)
        assert (read_twice.indices, read_twice.decoded_frames) == (held.indices, 40)
        np.testing.assert_array_equal(read_twice.frames, held.frames)


def test_every_frame_comes_once_with_its_time(tmp_path):
    path = write_video(tmp_path / "a.avi", 40, frames_per_second=20)
    with open_video(path) as opened:
        shown = list(timed_frames(opened, 64))
    assert [number_of(one.picture) for one in shown] == list(range(40))
    np.testing.assert_allclose([one.seconds for one in shown], np.arange(40) / 20, atol=1e-6)


@pytest.mark.parametrize("name", ["variable_frame_rate.mp4", "unordered_frames.mov", "delayed_start.mp4", "no_timescale.mp4"])
def test_times_rise_from_0_whatever_the_file_says(shared, name):
    with open_video(shared / "data" / "broken" / name) as opened:
        seconds = [one.seconds for one in timed_frames(opened, 32)]
        rate = opened.header.frames_per_second
    assert seconds[0] == 0
    assert np.all(np.diff(seconds) > 0)
    assert seconds[-1] == pytest.approx(len(seconds) / rate, rel=0.5)


def test_an_unexpected_failure_becomes_a_video_error_and_logs_its_traceback(tmp_path, monkeypatch, caplog):
    def fail(*_):
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(clip_reader, "open_video", fail)
    with pytest.raises(VideoError, match=r"^unexpected error: ZeroDivisionError: a defect\. The log has its traceback$"):
        sample_clip_safely(tmp_path / "a.avi", 8, 40)
    assert "Traceback" in caplog.text
    assert "a.avi" in caplog.text


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        (0.4, 1.2, [10, 13, 16, 19, 22, 25, 29]),
        (0.401, 0.479, [11] * 7),
        (0.401, 0.439, [10] * 7),
        (1.9, 99, [48, 48, 48, 48, 48, 48, 49]),
    ],
)
def test_a_piece_shows_the_frames_that_start_in_it_or_the_one_on_screen(tmp_path, start, end, shown):
    clip, times = sample_piece(write_video(tmp_path / "clip.avi", 50), start, end, Sampling(7, 64, "raw", 95))
    assert [number_of(picture) for picture in clip.frames] == clip.indices == shown
    assert times == pytest.approx([number / 25 for number in shown])


def test_a_piece_after_the_end_is_refused(tmp_path):
    with pytest.raises(VideoError, match=r"ends at 2\.000 s, before the piece from 3 s"):
        sample_piece(write_video(tmp_path / "clip.avi", 50), 3, 4, Sampling(7, 64, "raw", 95))
