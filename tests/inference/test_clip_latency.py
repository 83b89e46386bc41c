from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from film import numbered_picture, write_video

from actionrec.core.errors import VideoError
from actionrec.inference import clip_frames, clip_latency
from actionrec.video.frame_settings import Sampling

SAMPLING = Sampling(count=4, resolution=32, format="raw", quality=95)


@pytest.fixture
def clock(monkeypatch):
    """A clock that steps only when it is changed."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(clip_latency.time, "perf_counter", lambda: clock.now)
    return clock


@pytest.fixture
def decoder(monkeypatch, clock):
    """Decoding takes as many seconds as the clip's name says."""

    def read(path, sampling):
        clock.now += float(path.name)
        return SimpleNamespace(pictures=str(path))

    monkeypatch.setattr(clip_latency.clip_frames, "read", read)


@pytest.mark.usefixtures("decoder")
def test_medians_are_of_the_runs_after_the_first(clock):
    seconds = iter([9, 0.1, 0.3, 0.2])  # the first run is slow
    seen = []

    def extractor(frames):
        seen.append(frames)
        clock.now += next(seconds)

    found = clip_latency.measure([Path("0.01"), Path("0.03"), Path("0.02")], SAMPLING, extractor)
    assert found.decode_ms == pytest.approx(20)
    assert found.backbone_ms == pytest.approx(200)
    assert seen == ["0.01", "0.01", "0.03", "0.02"]


@pytest.mark.usefixtures("decoder")
def test_slow_clips_are_not_all_timed(clock):
    seen = []

    def extractor(frames):
        seen.append(frames)
        clock.now += 4

    found = clip_latency.measure([Path(str(number)) for number in (1, 2, 3)], SAMPLING, extractor)
    assert seen == ["1", "1", "2"]  # 5 seconds are not more than enough yet; 11 are
    assert found.backbone_ms == pytest.approx(4000)


def test_frames_are_those_of_the_frame_store(tmp_path):
    write_video(tmp_path / "clip.avi", [numbered_picture(number) for number in range(6)])
    raw = clip_frames.read(tmp_path / "clip.avi", SAMPLING).frames
    jpeg = clip_frames.read(tmp_path / "clip.avi", replace(SAMPLING, format="jpeg")).frames
    assert raw.shape == jpeg.shape == (4, 32, 32, 3)
    assert 0 < np.abs(raw.astype(int) - jpeg).mean() < 10


def test_a_file_that_is_not_a_video_is_rejected(tmp_path):
    (tmp_path / "clip.avi").write_bytes(b"text")
    with pytest.raises(VideoError):
        clip_frames.read(tmp_path / "clip.avi", SAMPLING)
