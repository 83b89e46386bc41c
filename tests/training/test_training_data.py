import numpy as np
import pytest

from actionrec.core import paths
from actionrec.core.errors import DataError
from actionrec.data.clips import Clip, write_clips
from actionrec.data.splits import write_split
from actionrec.features.feature_store import write_shard
from actionrec.training.training_data import read_training_data

pytestmark = pytest.mark.usefixtures("project")


def clip(label, group, number):
    clip_id = f"{label}/v_g{group}_c{number}.avi"
    return Clip(clip_id, label, f"g{group}", 1, clip_id)


CLIPS = [clip(label, group, number) for label in ("Run", "Jump") for group in (1, 2, 3) for number in (1, 2)]
SUBSETS = {one.id: {"g1": "train", "g2": "val", "g3": "test"}[one.group] for one in CLIPS}


def write(clips=CLIPS, subsets=SUBSETS, featured=CLIPS):
    write_clips(paths.CLIPS, sorted(clips, key=lambda one: one.id))
    write_split(paths.SPLIT, subsets)
    paths.FEATURES.mkdir(parents=True)
    write_shard(paths.FEATURES / "shard-0000.safetensors", {one.id: np.ones((4, 5), np.float16) for one in featured}, {})


def test_a_clip_brings_its_class_source_and_subset():
    write()
    data = read_training_data()
    assert data.class_names == ["Jump", "Run"]
    assert [data.class_names[label] for label in data.labels] == [name.split("/")[0] for name in data.features.clips]
    # A UCF group number is another source in each class, and all clips of one source share a number.
    assert len(set(data.clusters)) == 6
    for cluster in set(data.clusters):
        assert len({name[:-6] for name, own in zip(data.features.clips, data.clusters, strict=True) if own == cluster}) == 1
    assert data.held_out == "val"
    assert list(data.reported_subsets) == [SUBSETS[data.features.clips[row]] for row in data.reported]


def test_a_clip_without_features_or_without_a_subset_is_left_out():
    unlisted = {name: subset for name, subset in SUBSETS.items() if not name.endswith("g3_c2.avi")}
    write(subsets=unlisted, featured=[one for one in CLIPS if not one.id.endswith("g2_c1.avi")])
    data = read_training_data()
    assert {subset: len(rows) for subset, rows in data.rows.items()} == {"train": 4, "val": 2, "test": 2}


def test_without_validation_the_test_clips_are_held_out():
    write(subsets={name: "train" if subset == "val" else subset for name, subset in SUBSETS.items()})
    data = read_training_data()
    assert data.held_out == "test"
    assert set(data.reported_subsets) == {"test"}


def test_features_of_an_unknown_clip_are_refused():
    write(featured=[*CLIPS, clip("Sit", 1, 1)])
    with pytest.raises(DataError, match=r"data/features: 1 clips are not in data/clips.csv \(Sit/v_g1_c1.avi\)"):
        read_training_data()


def test_a_class_without_a_training_clip_is_refused():
    write(featured=[one for one in CLIPS if (one.label, one.group) != ("Run", "g1")])
    with pytest.raises(DataError, match="no training clip of Run could be decoded"):
        read_training_data()


def test_a_subset_without_clips_is_refused():
    write(featured=[one for one in CLIPS if one.group != "g3"])
    with pytest.raises(DataError, match="no test clip could be decoded"):
        read_training_data()
