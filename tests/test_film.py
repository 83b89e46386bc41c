"""Whole films: every frame once, with its time, and the same pictures as sampled clips have."""

import time

import numpy as np
import pytest
from film import number_of, write_video

from actionrec import film
from actionrec.errors import DataError, VideoError
from actionrec.video import read_header, sample_clip


def test_every_frame_comes_once_with_its_time(tmp_path):
    path = write_video(tmp_path / "a.avi", 40, frames_per_second=20)
    shown = list(film.frames(path, 64))
    assert [number_of(one.picture) for one in shown] == list(range(40))
    np.testing.assert_allclose([one.seconds for one in shown], np.arange(40) / 20, atol=1e-6)


@pytest.mark.parametrize("kind", ["Fight", "Fall"])
def test_pictures_are_those_of_sampled_clips(shared, kind):
    path = sorted((shared / "data" / "real_clips" / kind).iterdir())[0]
    shown = list(film.frames(path, 112))
    clip = sample_clip(path, 16, 112)
    assert len(shown) == clip.decoded_frames
    assert all(np.array_equal(shown[index].picture, frame) for index, frame in zip(clip.indices, clip.frames, strict=True))


@pytest.mark.parametrize("name", ["variable_frame_rate.mp4", "unordered_frames.mov", "delayed_start.mp4", "no_timescale.mp4"])
def test_times_rise_from_0_whatever_the_file_says(shared, name):
    path = shared / "data" / "broken" / name
    seconds = [one.seconds for one in film.frames(path, 32)]
    assert seconds[0] == 0
    assert np.all(np.diff(seconds) > 0)
    rate = read_header(path).frames_per_second
    assert seconds[-1] == pytest.approx(len(seconds) / rate, rel=0.5) if rate else True


@pytest.mark.parametrize("name", ["audio_only.mp4", "empty.avi", "header_without_frames.mp4", "noise.mp4", "encrypted.mp4"])
def test_files_without_a_frame_are_told(shared, name):
    with pytest.raises(VideoError):
        list(film.frames(shared / "data" / "broken" / name, 32))


def test_a_file_plays_as_a_camera_at_its_own_rate(tmp_path):
    path = write_video(tmp_path / "a.avi", 30, frames_per_second=30)
    start = time.monotonic()
    with film.Camera(str(path), 32, 0.5) as camera:
        seen, more = camera.wait(0.2)
        assert seen[-1].seconds >= 0.2
        assert more
        while more:
            seen, more = camera.wait(100)
    assert time.monotonic() - start >= 29 / 30
    assert seen[-1].seconds == pytest.approx(29 / 30)
    assert seen[0].seconds > 29 / 30 - 0.5  # older ones were let go
    assert [number_of(one.picture) for one in seen] == list(range(30 - len(seen), 30))


def test_who_looks_late_misses_frames_and_no_memory_is_filled(tmp_path):
    with film.Camera(str(write_video(tmp_path / "a.avi", 60, frames_per_second=60)), 32, 0.1) as camera:
        time.sleep(0.6)
        seen, _ = camera.wait(0)
    assert len(seen) <= 7


def test_a_stream_goes_by_the_clock_whatever_rate_it_claims(tmp_path, host):
    """Served at once, as a stream that is ahead: its frames have the times at which they came, not those that it claims."""
    path = write_video(tmp_path / "a.avi", 50, frames_per_second=1)
    host.files["a.avi"] = path.read_bytes()
    with film.Camera(f"{host.url}/a.avi", 32, 100.0) as camera:
        seen, more = camera.wait(100)
    assert not more
    assert len(seen) == 50
    assert seen[-1].seconds < 20


def test_a_camera_keeps_no_more_than_memory_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(film, "MOST_FRAMES", 10)
    with (
        film.Camera(str(write_video(tmp_path / "a.avi", 60, frames_per_second=100)), 32, 100.0) as camera,
        pytest.raises(DataError, match="more than 10 frames"),
    ):
        camera.wait(100)


def test_a_camera_that_is_not_there_is_told():
    with pytest.raises(DataError, match="camera 99 does not open"):
        film.Camera("99", 32, 1.0)
    with pytest.raises(DataError, match=r"gone\.avi does not open"):
        film.Camera("gone.avi", 32, 1.0)
    for odd in ("9" * 20, "bad\udcff.avi"):
        with pytest.raises(DataError, match="is no camera's number, file or address"):
            film.Camera(odd, 32, 1.0)
