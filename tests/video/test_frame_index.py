"""Single frames of the frame store, against what `frame_store.read_shard` reads of whole shards."""

import io
import json
import shutil
import tarfile

import numpy as np
import pytest
from damaged import flip
from frame_shards import SNIPPETS, clip_of, write_shards

from actionrec.core.errors import DataError
from actionrec.io import checksums, files
from actionrec.video.frame_index import FrameIndex
from actionrec.video.frame_store import encode_jpeg, read_shard

CLIPS = [f"{label}/v {number}.avi" for label in ("Run", "Jump", "日本") for number in range(3)]


@pytest.fixture(params=["jpeg", "raw"])
def form(request):
    return request.param


@pytest.fixture(params=[None, SNIPPETS], ids=["frames", "snippets"])
def snippets(request):
    return request.param


def write(folder, form, snippets=None, *, count=5):
    return write_shards(folder, {clip: clip_of(number, count, snippets) for number, clip in enumerate(CLIPS)}, form)


def everything(folder):
    return {clip: frames for path in sorted(folder.glob("*.tar")) for clip, frames in read_shard(path)}


def test_any_steps_in_any_order_are_those_of_the_whole_shard(tmp_path, form, snippets):
    index = FrameIndex(write(tmp_path, form, snippets))
    expected = everything(tmp_path)
    assert index.clips == sorted(expected) == sorted(CLIPS)
    assert index.has_snippets == (snippets is not None)
    random = np.random.default_rng(0)
    for row, clip in enumerate(index.clips):
        steps = len(expected[clip])
        assert index.steps(row) == steps
        for wanted in (range(steps), [steps - 1, 0], [1, 1, 0, 1], [0], random.integers(0, steps, 9)):
            read = index.read(row, wanted)
            assert read.dtype == np.uint8
            np.testing.assert_array_equal(read, expected[clip][np.asarray(wanted)])


def test_a_clip_of_one_frame_is_read(tmp_path, form):
    index = FrameIndex(write(tmp_path, form, count=1))
    for row, clip in enumerate(index.clips):
        np.testing.assert_array_equal(index.read(row, [0, 0]), everything(tmp_path)[clip][[0, 0]])


def test_the_signature_is_the_checksum_of_each_shard(tmp_path, form):
    index = FrameIndex(write(tmp_path, form))
    assert index.signature() == {path.name: files.sha256_of(path) for path in tmp_path.glob("*.tar")}
    assert len(index.signature()) == 2


def test_a_folder_without_shards_says_what_to_run(tmp_path):
    with pytest.raises(DataError, match=r"has no frames\. Run `dvc repro extract_frames`\.$"):
        FrameIndex(tmp_path)


def test_a_missing_shard_is_reported(tmp_path, form):
    write(tmp_path, form)
    (tmp_path / "shard-0001.tar").unlink()
    with pytest.raises(DataError, match=r"1 files are missing: shard-0001\.tar\."):
        FrameIndex(tmp_path)


def test_a_flipped_byte_is_reported(tmp_path, form):
    write(tmp_path, form)
    flip(tmp_path / "shard-0000.tar", 3000, keep_time=True)
    with pytest.raises(DataError, match=r"do not match SHA256SUMS: shard-0000\.tar\. Run `python -m actionrec repair`"):
        FrameIndex(tmp_path)


def test_without_checksums_a_shard_that_is_cut_is_reported(tmp_path, form):
    write(tmp_path, form)
    (tmp_path / checksums.FILE).unlink()
    path = tmp_path / "shard-0000.tar"
    contents = path.read_bytes()
    for kept in (0, 100, 512, 2048, len(contents) // 2 // 512 * 512, len(contents) - 1024):
        path.write_bytes(contents[:kept])
        with pytest.raises(DataError, match=r"shard-0000\.tar is damaged \(.+\)\. Run `python -m actionrec repair`\.$"):
            FrameIndex(tmp_path)


@pytest.mark.parametrize("damage", ["removed", "emptied", "overwritten"])
def test_a_shard_that_is_damaged_after_it_was_indexed_is_reported(tmp_path, form, damage):
    index = FrameIndex(write(tmp_path, form))
    for path in tmp_path.glob("*.tar"):
        size = path.stat().st_size
        path.unlink()
        if damage != "removed":
            path.write_bytes(b"" if damage == "emptied" else bytes(size))
    with pytest.raises(DataError, match=r"frames of Jump/v 0\.avi cannot be read \(.+\)\. Run `python -m actionrec repair`\.$"):
        index.read(0, [0, 1])


PICTURE = encode_jpeg(clip_of(0, 1).frames[0], 95)
ABOUT = {"clip": "A/a.avi", "label": "A", "frame_indices": [0, 1], "decoded_frames": 2}


@pytest.mark.parametrize(
    "description",
    [ABOUT, {**ABOUT, "frame_indices": 1}, {**ABOUT, "frame_indices": None}, {"clip": "A/a.avi"}, {"frame_indices": [0]}, [], 7],
)
def test_invalid_descriptions_are_reported_as_damage(tmp_path, description):
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for name, contents in (("k.json", json.dumps(description).encode()), ("k.000.jpg", PICTURE)):
            info = tarfile.TarInfo(name)
            info.size = len(contents)
            tar.addfile(info, io.BytesIO(contents))
    with pytest.raises(DataError, match=r"shard\.tar is damaged \(.+\)\."):
        FrameIndex(tmp_path)


@pytest.mark.parametrize("snippets", [np.array([[0, 9]]), None], ids=["snippet", "steps"])
def test_frames_that_are_not_stored_are_reported(tmp_path, form, snippets):
    index = FrameIndex(write_shards(tmp_path, {"A/a.avi": clip_of(0, 5, snippets)}, form))
    with pytest.raises(DataError, match=r"frames of A/a\.avi cannot be read"):
        index.read(0, [0] if snippets is not None else [0, 5])


def test_a_copy_of_the_folder_has_the_same_signature(tmp_path, form):
    first = FrameIndex(write(tmp_path / "one", form))
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert FrameIndex(tmp_path / "two").signature() == first.signature()
