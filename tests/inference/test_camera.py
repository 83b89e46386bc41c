"""Cameras, and files that play as one."""

import time

import pytest
from film import number_of, write_video

from actionrec.core.errors import DataError, VideoError
from actionrec.inference import camera
from actionrec.inference.camera import Camera


def test_a_file_plays_as_a_camera_at_its_own_rate(tmp_path):
    path = write_video(tmp_path / "a.avi", 30, frames_per_second=30)
    start = time.monotonic()
    with Camera(str(path), 32, 0.5) as live:
        seen, more = live.wait(0.2)
        assert seen[-1].seconds >= 0.2
        assert more
        while more:
            seen, more = live.wait(100)
    assert time.monotonic() - start >= 29 / 30
    assert seen[-1].seconds == pytest.approx(29 / 30)
    assert seen[0].seconds > 29 / 30 - 0.5  # older ones were let go
    assert [number_of(one.picture) for one in seen] == list(range(30 - len(seen), 30))


def test_slow_consumers_skip_frames(tmp_path):
    with Camera(str(write_video(tmp_path / "a.avi", 60, frames_per_second=60)), 32, 0.1) as live:
        time.sleep(0.6)
        seen, _ = live.wait(0)
    assert len(seen) <= 7


def test_a_stream_goes_by_the_clock_whatever_rate_it_claims(tmp_path, host):
    """Served at once, as a stream that is ahead: its frames have the times at which they came, not those that it claims."""
    path = write_video(tmp_path / "a.avi", 50, frames_per_second=1)
    host.files["a.avi"] = path.read_bytes()
    with Camera(f"{host.url}/a.avi", 32, 100.0) as live:
        seen, more = live.wait(100)
    assert not more
    assert len(seen) == 50
    assert seen[-1].seconds < 20


def test_a_camera_keeps_no_more_than_memory_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(camera, "MOST_FRAMES", 10)
    with (
        Camera(str(write_video(tmp_path / "a.avi", 60, frames_per_second=100)), 32, 100.0) as live,
        pytest.raises(DataError, match="more than 10 frames"),
    ):
        live.wait(100)


def test_a_camera_that_does_not_open_is_an_error():
    with pytest.raises(DataError, match="camera 99 cannot be opened"):
        Camera("99", 32, 1.0)
    with pytest.raises(DataError, match=r"gone\.avi cannot be opened"):
        Camera("gone.avi", 32, 1.0)
    for odd in ("9" * 20, "bad\udcff.avi"):
        with pytest.raises(DataError, match="is not the number, file or address of a camera"):
            Camera(odd, 32, 1.0)


def test_a_file_that_is_not_a_video_raises_an_error_when_opened(tmp_path):
    (tmp_path / "a.avi").write_bytes(b"RIFF" + bytes(4000))
    with pytest.raises(VideoError, match="not a video file"):
        Camera(str(tmp_path / "a.avi"), 32, 1.0)
