import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from film import ODD_NAMES, number_of, numbered_picture, write_video

from actionrec import avi, video
from actionrec.errors import VideoError
from actionrec.video import evenly_spaced, resize, sample_clip

MADE = Path(__file__).parent / "videos"  # its README tells of each

# Of ../shared/data/broken: frames that the header claims, frames that decode.
DECODABLE = {
    "truncated_h264.mp4": (50, 28),
    "unordered_frames.mov": (4, 4),
    "rotated_0.mov": (3, 3),
    "rotated_90.mov": (3, 3),
    "variable_frame_rate.mp4": (160, 160),
    "delayed_start.mp4": (24, 24),
    "no_timescale.mp4": (182, 8),
    "one_frame.mp4": (1, 1),
    "h264_10bit.mp4": (30, 30),
    "frame_count_lies_1820_for_854.avi": (1820, 854),
    "frame_count_lies_1093_for_860.avi": (1093, 860),
    "frame_count_off_by_one.avi": (465, 464),
    "six_frames.mp4": (6, 6),
}
NO_VIDEO = "not a video file that can be opened, or no video stream in it"
UNDECODABLE = {
    "header_without_frames.mp4": ("no frame can be decoded (codec h264; the header claims 5544 frames)", 5544),
    "encrypted.mp4": ("no frame can be decoded (codec h264; the header claims 10 frames)", 10),
    "audio_only.mp4": (NO_VIDEO, 0),
    "unopenable.mp4": (NO_VIDEO, 0),
    "noise.mp4": (NO_VIDEO, 0),
    "empty.avi": ("the file is empty", 0),
}


def read_all(path):
    """A plain read-through: every frame, BGR. One thread, since FFmpeg's race where packets are damaged."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    pictures = []
    while True:
        got, picture = capture.read()
        if not got:
            return pictures
        pictures.append(picture)


def assert_frame_exact(path, count, size):
    pictures, sampled = read_all(path), sample_clip(path, count, size)
    assert sampled.decoded_frames == len(pictures)
    assert sampled.indices == evenly_spaced(len(pictures), count)
    np.testing.assert_array_equal(sampled.frames, np.stack([resize(pictures[index], size) for index in sampled.indices]))
    return sampled


@pytest.mark.parametrize("frame_count", [1, 2, 3, 31, 32, 33, 63, 64, 100, 854, 99_999])
@pytest.mark.parametrize("wanted", [1, 2, 3, 4, 7, 16, 32, 100])
def test_indices_are_numpy_s_linspace_rounded_down(frame_count, wanted):
    indices = evenly_spaced(frame_count, wanted)
    assert indices == np.floor(np.linspace(0, frame_count - 1, wanted)).astype(int).tolist()
    assert indices == sorted(indices)
    assert len(indices) == wanted
    assert indices[0] == 0
    if wanted > 1:
        assert indices[-1] == frame_count - 1
    if frame_count >= wanted > 1:
        gaps = np.diff(indices)
        assert len(set(indices)) == wanted
        assert gaps.max() - gaps.min() <= 1
    assert all(type(index) is int for index in indices)


def test_a_short_clip_repeats_frames():
    assert evenly_spaced(1, 3) == [0, 0, 0]
    assert evenly_spaced(3, 5) == [0, 0, 1, 1, 2]


@pytest.mark.parametrize(("frame_count", "wanted"), [(0, 4), (4, 0), (-1, 4)])
def test_counts_below_1_are_refused(frame_count, wanted):
    with pytest.raises(ValueError, match=f"counts must be at least 1; got {frame_count} frames and {wanted} wanted"):
        evenly_spaced(frame_count, wanted)


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
        assert numbers == sampled.indices


@pytest.mark.parametrize("fourcc", ["XVID", "MJPG", "mp4v", "DIVX"])
@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 75])
def test_frames_of_a_fresh_video_are_the_ones_that_they_say(tmp_path, fourcc, length):
    path = write_video(tmp_path / "a.avi", length, fourcc)
    sampled = assert_frame_exact(path, 32, 80)
    assert [number_of(frame) for frame in sampled.frames] == sampled.indices
    assert sampled.unique_frames == min(length, 32)
    assert (sampled.header_frames, sampled.decoded_frames) == (length, length)
    assert sampled.frames.shape == (32, 80, 80, 3)
    assert sampled.frames.dtype == np.uint8


@pytest.mark.parametrize("name", DECODABLE)
def test_frames_of_real_odd_files_equal_a_plain_read_through_s(shared, name):
    sampled = assert_frame_exact(shared / "data" / "broken" / name, 32, 96)
    assert (sampled.header_frames, sampled.decoded_frames) == DECODABLE[name]
    assert sampled.unique_frames == min(32, sampled.decoded_frames)


@pytest.mark.parametrize("name", UNDECODABLE)
def test_real_files_that_cannot_be_decoded_say_why(shared, name):
    with pytest.raises(VideoError) as error:
        sample_clip(shared / "data" / "broken" / name, 32, 96)
    assert (str(error.value), error.value.header_frames) == UNDECODABLE[name]
    assert error.value.decoded_frames == 0


def test_av1_decodes_in_full_or_says_why(shared):
    path = shared / "data" / "broken" / "av1.mkv"
    if read_all(path):
        assert assert_frame_exact(path, 32, 96).decoded_frames == 125
    else:
        with pytest.raises(VideoError, match=r"^no frame can be decoded \(codec AV01; the header claims 125 frames\)$"):
            sample_clip(path, 32, 96)


def test_every_file_of_the_folder_is_judged_here(shared):
    videos = {path.name for path in (shared / "data" / "broken").iterdir() if path.suffix not in (".md", ".pth")}
    assert videos == {*DECODABLE, *UNDECODABLE, "av1.mkv"}


@pytest.mark.parametrize(("name", "quarters"), [("rotated_0.mov", 0), ("rotated_90.mov", -1)])
def test_rotation_tags_are_obeyed(shared, name, quarters):
    path = shared / "data" / "broken" / name
    capture = cv2.VideoCapture(str(path))
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
    _, stored = capture.read()
    assert stored.shape == (320, 568, 3)
    np.testing.assert_array_equal(sample_clip(path, 3, 96).frames[0], resize(np.rot90(stored, quarters).copy(), 96))


def test_colours_are_red_green_blue(tmp_path):
    blue_green_red = np.zeros((48, 80, 3), np.uint8)
    blue_green_red[:] = (10, 20, 240)
    path = write_video(tmp_path / "red.avi", [blue_green_red] * 3, "MJPG")
    for frame in sample_clip(path, 3, 32).frames:
        np.testing.assert_allclose(frame.mean(axis=(0, 1)), (240, 20, 10), atol=6)


def test_a_picture_is_resized_and_not_cropped():
    picture = np.zeros((50, 100, 3), np.uint8)
    picture[:, :10], picture[:, -10:] = (255, 0, 0), (0, 0, 255)  # blue left, red right
    small = resize(picture, 40)
    assert small.shape == (40, 40, 3)
    assert small[20, 1].tolist() == [0, 0, 255]
    assert small[20, -2].tolist() == [255, 0, 0]


@pytest.mark.parametrize("size", [16, 40, 60, 120])
def test_resizing_keeps_the_mean_brightness(size):
    stripes = np.zeros((120, 160, 3), np.uint8)
    stripes[:, ::8], stripes[:, 1::8] = 255, 255
    assert resize(stripes, size).mean() == pytest.approx(stripes.mean(), abs=8)


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
    assert sampled.header_frames in (claim, 260, 0)  # FFmpeg may count packets, and nobody believes in years


@pytest.mark.parametrize("claim", [1, 39, 41, 1000])
def test_a_lying_header_changes_no_frame(monkeypatch, tmp_path, claim):
    path = write_video(tmp_path / "a.avi", 40)
    honest = sample_clip(path, 8, 80)
    monkeypatch.setattr(video, "_frames_claimed", lambda _: claim)
    monkeypatch.setattr(avi, "indexed_frames", lambda _: 0)
    sampled = sample_clip(path, 8, 80)
    assert (sampled.header_frames, sampled.decoded_frames, sampled.indices) == (claim, 40, honest.indices)
    np.testing.assert_array_equal(sampled.frames, honest.frames)


def test_text_with_a_video_s_suffix_is_no_video(tmp_path):
    (tmp_path / "a.avi").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n", encoding="utf-8")
    with pytest.raises(VideoError, match=f"^{NO_VIDEO}$"):
        sample_clip(tmp_path / "a.avi", 8, 80)


def test_a_missing_file_is_no_matter_of_decoding(tmp_path):
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
from actionrec import avi, video
for path in map(Path, sys.argv[1:]):
    try:
        print(video.sample_clip(path, 32, 64).decoded_frames)
    except video.VideoError:
        print("refused")
"""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OPENCV")}
    names = [tmp_path / "a.avi", tmp_path / "b.avi", tmp_path / "c.avi"]
    done = subprocess.run([sys.executable, "-c", code, *names], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.split()[-1] == "refused"


def test_numbered_pictures_tell_their_number():
    assert [number_of(resize(numbered_picture(number), 64)) for number in (0, 1, 511, 1023)] == [0, 1, 511, 1023]
