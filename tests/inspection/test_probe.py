import numpy as np
import pytest
from film import HEIGHT, ODD_NAMES, WIDTH, number_of, numbered_picture, write_video

from actionrec.core.errors import VideoError
from actionrec.data.clip_files import ClipFiles
from actionrec.data.clip_search import find_clips
from actionrec.inspection.probe import LATEST_FRAME, THUMBNAIL, pictures, probe
from actionrec.video.clip_reader import read_frame
from actionrec.video.decoder import Header, read_header


@pytest.fixture
def folder(tmp_path):
    write_video(tmp_path / "A" / "v_A_g01_c01.avi", 40)
    write_video(tmp_path / "A" / "v_A_g02_c01.avi", 10, frames_per_second=12.5)
    (tmp_path / "B").mkdir()
    (tmp_path / "B" / "v_B_g01_c01.avi").write_bytes(b"no video")
    return tmp_path


@pytest.fixture(scope="module")
def broken(shared, tmp_path_factory):
    """Broken files as a class of their own, beside a sound one."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "broken").symlink_to(shared / "data" / "broken")
    write_video(folder / "sound" / "a.avi", 40)
    return folder


def test_a_header_tells_frames_rate_size_and_codec(folder):
    assert read_header(folder / "A" / "v_A_g02_c01.avi") == Header(10, 12.5, WIDTH, HEIGHT, "mpeg4")


def test_each_file_is_looked_at_and_what_does_not_open_says_why(folder):
    found = probe(ClipFiles(folder), find_clips(folder), decode=False)
    assert [one.clip.id for one in found] == ["A/v_A_g01_c01.avi", "A/v_A_g02_c01.avi", "B/v_B_g01_c01.avi"]
    assert [one.seconds for one in found] == [1.6, 0.8, None]
    assert [one.error != "" for one in found] == [False, False, True]
    assert all(one.decoded_frames is None for one in found)


def test_odd_names_are_no_obstacle(tmp_path):
    for name in ODD_NAMES:
        write_video(tmp_path / "A" / name, 3)
    write_video(tmp_path / "B" / "b.avi", 3)
    found = probe(ClipFiles(tmp_path), find_clips(tmp_path), decode=True)
    assert {one.error for one in found} == {""}
    assert {one.decoded_frames for one in found} == {3}


def test_a_header_that_lies_is_found_by_reading_through(broken):
    clips = [clip for clip in find_clips(broken) if clip.id.endswith(("six_frames.mp4", "off_by_one.avi"))]
    found = {one.clip.id: (one.header.frames, one.decoded_frames) for one in probe(ClipFiles(broken), clips, decode=True)}
    assert found == {"broken/six_frames.mp4": (6, 6), "broken/frame_count_off_by_one.avi": (465, 464)}


def test_a_file_that_opens_but_does_not_decode_is_an_error_only_with_decode(broken):
    clips = [clip for clip in find_clips(broken) if clip.id.endswith("encrypted.mp4")]
    [by_header], [read_through] = probe(ClipFiles(broken), clips, decode=False), probe(ClipFiles(broken), clips, decode=True)
    assert by_header.error == ""
    assert read_through.error.startswith("the video is encrypted (codec h264; the header claims 10 frames")
    assert read_through.seconds is None


def test_a_picture_that_never_changes_is_found_by_reading_through(folder):
    write_video(folder / "B" / "still.avi", [numbered_picture(5)] * 20)
    write_video(folder / "B" / "one.avi", 1)
    found = probe(ClipFiles(folder), find_clips(folder), decode=True)
    assert [one.clip.id for one in found if one.still] == ["B/still.avi"]


def test_processes_find_what_one_alone_finds(folder, monkeypatch):
    for number in range(4):
        write_video(folder / "C" / f"v_C_g01_c{number:02d}.avi", 5)
    clips = find_clips(folder)
    monkeypatch.setenv("ACTIONREC_WORKERS", "1")
    alone = probe(ClipFiles(folder), clips, decode=True)
    monkeypatch.setenv("ACTIONREC_WORKERS", "2")
    assert probe(ClipFiles(folder), clips, decode=True) == alone


def test_a_frame_is_the_one_asked_for(tmp_path):
    path = write_video(tmp_path / "a.avi", 40)
    assert [number_of(read_frame(path, index)) for index in (0, 17, 39)] == [0, 17, 39]
    with pytest.raises(VideoError, match="frame 40 cannot be read; the file has 40 readable frames"):
        read_frame(path, 40)


def test_a_class_is_shown_by_a_frame_from_the_middle_of_a_clip(folder):
    shown = pictures(ClipFiles(folder), probe(ClipFiles(folder), find_clips(folder), decode=False), ["A", "B"])
    assert shown["A"].shape == (HEIGHT, WIDTH, 3)
    assert number_of(shown["A"]) == 20
    assert shown["B"] is None


def test_of_a_long_clip_no_later_frame_than_stated_is_read(tmp_path):
    write_video(tmp_path / "A" / "a.avi", 2 * LATEST_FRAME + 50)
    write_video(tmp_path / "B" / "b.avi", 5)
    shown = pictures(ClipFiles(tmp_path), probe(ClipFiles(tmp_path), find_clips(tmp_path), decode=False), ["A"])
    assert number_of(shown["A"]) == LATEST_FRAME


def test_a_clip_that_cannot_be_shown_leaves_its_place_to_the_next(broken):
    clips = [clip for clip in find_clips(broken) if clip.id.endswith(("encrypted.mp4", "rotated_0.mov", "empty.avi"))]
    shown = pictures(ClipFiles(broken), probe(ClipFiles(broken), clips, decode=False), ["broken"])["broken"]
    assert shown.shape == (round(320 * THUMBNAIL / 568), THUMBNAIL, 3)


def test_a_clip_that_ends_before_its_middle_is_shown_by_its_first_frame(broken):
    clips = [clip for clip in find_clips(broken) if clip.id.endswith("no_timescale.mp4")]  # 182 frames claimed, 8 there
    shown = pictures(ClipFiles(broken), probe(ClipFiles(broken), clips, decode=False), ["broken"])["broken"]
    assert isinstance(shown, np.ndarray)
