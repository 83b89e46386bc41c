"""The index tells what a read-through yields, or nothing."""

from pathlib import Path

import numpy as np
import pytest
from film import write_video

from actionrec import avi, video
from actionrec.avi import indexed_frames
from actionrec.video import sample_clip

MADE = Path(__file__).parent / "videos"


@pytest.mark.parametrize(("name", "frames"), [("gop12.avi", 260), ("gop250.avi", 260), ("packed_b.avi", 258), ("h264_b.mp4", 0)])
def test_the_index_lists_what_decodes(name, frames):
    assert indexed_frames(MADE / name) == frames


@pytest.mark.parametrize("name", ["1820_for_854", "1093_for_860", "off_by_one"])
def test_the_index_of_real_files_whose_header_lies_does_not(shared, name):
    path = shared / "data" / "broken" / f"frame_count_{'' if name == 'off_by_one' else 'lies_'}{name}.avi"
    assert indexed_frames(path) == sample_clip(path, 1, 8).decoded_frames != sample_clip(path, 1, 8).header_frames


@pytest.mark.parametrize("length", [1, 2, 33])
def test_whatever_the_codec(tmp_path, length):
    for fourcc in ("XVID", "MJPG"):
        assert indexed_frames(write_video(tmp_path / "a.avi", length, fourcc)) == length


def test_files_without_an_index_and_other_files_list_nothing(tmp_path):
    contents = (MADE / "gop12.avi").read_bytes()
    for changed in (b"", b"RIFF", b"RIFF\0\0\0\0AVI ", contents.replace(b"idx1", b"JUNK"), contents[:20_000], b"\xff" * 4000):
        (tmp_path / "a.avi").write_bytes(changed)
        assert indexed_frames(tmp_path / "a.avi") == 0


def test_an_index_that_is_cut_or_of_two_videos_is_none_to_go_by(tmp_path):
    contents = (MADE / "gop12.avi").read_bytes()
    start = contents.index(b"idx1")
    (tmp_path / "a.avi").write_bytes(contents[: start + 8 + 16 * 10 + 5])
    assert indexed_frames(tmp_path / "a.avi") == 10
    (tmp_path / "b.avi").write_bytes(contents[:start] + contents[start:].replace(b"00dc", b"01dc", 5))
    assert indexed_frames(tmp_path / "b.avi") == 0


@pytest.fixture
def openings(monkeypatch):
    """The files opened, one entry an opening."""
    seen, really = [], video._open
    monkeypatch.setattr(video, "_open", lambda path: seen.append(path) or really(path))
    return seen


@pytest.mark.parametrize("name", ["gop12.avi", "packed_b.avi"])
def test_one_pass_is_enough_even_where_the_header_is_wrong(openings, name):
    sample_clip(MADE / name, 32, 64)
    assert len(openings) == 1


@pytest.mark.parametrize("claim", [1, 100, 300])
def test_an_index_that_lies_costs_a_second_pass_and_no_frame(monkeypatch, openings, claim):
    honest = sample_clip(MADE / "gop12.avi", 32, 64)
    monkeypatch.setattr(avi, "indexed_frames", lambda _: claim)
    sampled = sample_clip(MADE / "gop12.avi", 32, 64)
    assert len(openings) == 3
    assert (sampled.indices, sampled.decoded_frames) == (honest.indices, 260)
    np.testing.assert_array_equal(sampled.frames, honest.frames)
