import json
import shutil

import numpy as np
import pytest
import safetensors
from damaged import flip
from film import ODD_NAMES

from actionrec.core.errors import DataError
from actionrec.features.feature_store import read_features, write_shard
from actionrec.io import checksums

SOURCE = {"backbone": "resnet18", "weights": "random", "weights_sha256": "ab" * 32, "frames": {"count": 2, "format": "jpeg"}}


def features(seed, frames=2, width=4):
    return np.random.default_rng(seed).normal(size=(frames, width)).astype(np.float16)


def test_shards_are_read_as_one_set_sorted_by_clip(tmp_path):
    stored = {f"Clâss #1\n/{name}": features(number) for number, name in enumerate(ODD_NAMES)}
    for shard in range(2):
        write_shard(tmp_path / f"shard-{shard:04d}.safetensors", dict(list(stored.items())[shard::2]), SOURCE)
    read = read_features(tmp_path)
    assert read.clips == sorted(stored)
    assert read.features.dtype == np.float16
    np.testing.assert_array_equal(read.features, np.stack([stored[clip] for clip in read.clips]))
    assert read.source == SOURCE
    with safetensors.safe_open(tmp_path / "shard-0000.safetensors", framework="numpy") as stream:
        assert set(stream.keys()) == set(list(stored)[::2])
        assert json.loads(stream.metadata()["frames"]) == {"count": 2, "format": "jpeg"}


def test_features_from_before_the_resolution_was_renamed_are_read(tmp_path):
    write_shard(tmp_path / "s.safetensors", {"A/a.avi": features(1)}, {**SOURCE, "frames": {"count": 2, "size": 64}})
    assert read_features(tmp_path).source["frames"] == {"count": 2, "resolution": 64}


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_without_features_says_what_to_run(tmp_path, exists):
    folder = tmp_path / "features"
    if exists:
        folder.mkdir()
    with pytest.raises(DataError) as error:
        read_features(folder)
    assert str(error.value) == f"{folder} has no features. Run `dvc repro resnet_features`."


def test_a_truncated_shard_is_reported_as_damaged(stored):
    path = stored[2] / "shard-0000.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"shard-0000\.safetensors is damaged \(.+\)\. Run `python -m actionrec repair`"):
        read_features(stored[2])


@pytest.fixture
def stored(tmp_path):
    """Two shards of six clips, and the same features in memory."""
    made = {f"A/{number}.avi": features(number) for number in range(6)}
    for shard in range(2):
        write_shard(tmp_path / f"shard-{shard:04d}.safetensors", dict(list(made.items())[shard::2]), SOURCE)
    return read_features(tmp_path).features, np.stack(list(made.values())), tmp_path


@pytest.mark.parametrize("rows", [[0], [5, 0, 3], [2, 2], [], np.array([4, 1])])
def test_clips_are_read_in_the_order_asked_for(stored, rows):
    read, wanted, _ = stored
    np.testing.assert_array_equal(read[rows], wanted[rows] if len(rows) else np.empty((0, 2, 4)))


def test_one_clip_is_read_alone_and_all_of_them_in_turn(stored):
    read, expected, _ = stored
    assert read.shape == (6, 2, 4)
    np.testing.assert_array_equal(read[np.int64(3)], expected[3])
    np.testing.assert_array_equal(np.stack(list(read)), expected)


def test_a_shard_that_is_replaced_or_removed_while_in_use_is_not_read(stored):
    read, _, folder = stored
    write_shard(folder / "shard-0001.safetensors", {f"A/{number}.avi": features(number + 50) for number in (1, 3, 5)}, SOURCE)
    assert read[[0]].shape == (1, 2, 4)
    with pytest.raises(DataError) as error:
        read[[0, 1]]
    assert str(error.value) == f"{folder / 'shard-0001.safetensors'} was replaced or truncated while in use. Run `dvc repro`."
    (folder / "shard-0000.safetensors").unlink()
    with pytest.raises(DataError, match=r"shard-0000.safetensors cannot be read \(No such file or directory\)"):
        read[[0]]


def test_other_features_have_another_signature_and_copies_the_same(stored, tmp_path):
    read, _, folder = stored
    shutil.copytree(folder, tmp_path / "copy")
    assert read_features(tmp_path / "copy").features.signature() == read.signature()
    write_shard(folder / "shard-0001.safetensors", {f"A/{number}.avi": features(number + 9) for number in (1, 3, 5)}, SOURCE)
    assert read_features(folder).features.signature() != read.signature()


@pytest.mark.parametrize("place", [20, -1])
def test_a_flipped_byte_or_missing_shard_is_reported_when_features_are_opened(stored, place):
    _, _, folder = stored
    checksums.write(folder, {})
    file = folder / "shard-0001.safetensors"
    flip(file, place % file.stat().st_size, keep_time=True)
    with pytest.raises(DataError, match=r"match SHA256SUMS: shard-0001\.safetensors\. Run `python -m actionrec repair`\.$"):
        read_features(folder)
    file.unlink()
    with pytest.raises(DataError, match=r"1 files are missing: shard-0001\.safetensors\. Run `python -m actionrec repair`\.$"):
        read_features(folder)


@pytest.mark.parametrize(
    ("tensor", "source", "message"),
    [
        (features(1), {"count": 3}, "{0}/shard-0002.safetensors was not made in the same way as {0}/shard-0000.safetensors"),
        (np.zeros((3, 4), np.float16), SOURCE["frames"], "{0}/shard-0002.safetensors was not made in the same way as"),
        (np.zeros((2, 4), np.float32), SOURCE["frames"], "{0}/shard-0002.safetensors contains tensors that are not float16"),
    ],
)
def test_shards_that_do_not_match_are_rejected(stored, tensor, source, message):
    _, _, folder = stored
    write_shard(folder / "shard-0002.safetensors", {"A/x.avi": tensor}, {**SOURCE, "frames": source})
    with pytest.raises(DataError, match=rf"^{message.format(folder)}.* Run `dvc repro -f resnet_features`\.$"):
        read_features(folder)
