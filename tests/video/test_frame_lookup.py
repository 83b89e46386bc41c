import tarfile

import numpy as np
import pytest
from damaged import flip
from film import ODD_NAMES, numbered_picture, write_video

from actionrec.core.errors import DataError
from actionrec.io import checksums
from actionrec.video import clip_reader
from actionrec.video.frame_lookup import read_frames
from actionrec.video.frame_store import FrameSettings, FrameWriter, read_shard


@pytest.fixture(params=["jpeg", "raw"])
def store(request, tmp_path):
    """Two shards of clips with odd names."""
    settings = FrameSettings(count=3, resolution=48, format=request.param, quality=95, shards=2, max_failed=0.0)
    for shard in range(2):
        with FrameWriter(tmp_path / f"shard-{shard:04d}.tar", settings) as writer:
            for number, name in enumerate(ODD_NAMES[shard::2]):
                path = write_video(tmp_path / "clip.avi", [numbered_picture(10 * number + frame + shard) for frame in range(5)])
                writer.add(f"A/{name}", "A", clip_reader.sample_clip(path, 3, 48))
    return tmp_path


def test_wanted_clips_come_as_the_shard_has_them(store):
    everything = {clip: frames for path in store.glob("*.tar") for clip, frames in read_shard(path)}
    wanted = [f"A/{name}" for name in ODD_NAMES[3:8]]
    found = read_frames(store, wanted)
    assert set(found) == set(wanted)
    assert all(np.array_equal(found[clip], everything[clip]) for clip in wanted)


def test_a_clip_that_is_not_there_is_left_out(store):
    assert read_frames(store, ["B/unknown.avi"]) == {}
    assert read_frames(store, []) == {}
    checksums.write(store, {})
    assert read_frames(store, ["B/unknown.avi"]) == {}
    assert read_frames(store, []) == {}


def test_a_damaged_shard_is_told(store):
    path = store / "shard-0000.tar"
    contents = path.read_bytes()
    for start in (b"\xff\xd8\xff", b"\x93NUMPY"):
        contents = contents.replace(start, b"damage"[: len(start)])
    path.write_bytes(contents)
    with pytest.raises(DataError, match=r"shard-0000.tar is damaged .*Run `python -m actionrec repair`"):
        read_frames(store, [f"A/{ODD_NAMES[0]}"])


@pytest.mark.parametrize("where", ["header", "picture"])
def test_a_flipped_byte_is_noticed_though_the_shard_can_be_read(store, where):
    checksums.write(store, {})
    file = store / "shard-0000.tar"
    with tarfile.open(file) as tar:
        member = next(member for member in tar if not member.name.endswith(".json"))
    flip(file, member.offset if where == "header" else member.offset_data + member.size - 5, keep_time=True)
    with pytest.raises(DataError, match=r"do not match SHA256SUMS: shard-0000\.tar\. Run `python -m actionrec repair`\.$"):
        read_frames(store, [f"A/{ODD_NAMES[0]}"])
    assert read_frames(store, [f"A/{ODD_NAMES[1]}"])  # of the other shard


def test_a_clip_whose_shard_is_gone_is_missed(store):
    checksums.write(store, {})
    (store / "shard-0000.tar").unlink()
    with pytest.raises(DataError, match=r"1 files are missing: shard-0000\.tar"):
        read_frames(store, [f"A/{ODD_NAMES[0]}"])
