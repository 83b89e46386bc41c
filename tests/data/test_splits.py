import random
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from film import ODD_NAMES
from sklearn.model_selection import StratifiedGroupKFold

from actionrec.core.errors import DataError
from actionrec.data.clips import Clip
from actionrec.data.splits import (
    SplitSettings,
    deal,
    divide,
    duplicates,
    read_split,
    split_groups,
    summarise,
    warnings,
    write_split,
)

# Clips a class of UCF-50, in the order of its classes' names.
UCF50 = (
    "150 137 160 145 150 101 112 153 161 111 142 123 127 197 125 117 122 148 123 157 141 127 141 150 114 "
    "160 105 124 100 160 123 120 160 106 148 130 137 133 120 144 100 156 137 100 167 131 119 116 123 128"
)


def clip(label, group, number, contents=None):
    clip_id = f"{label}/v_{label}_g{group:02d}_c{number:02d}.avi"
    return Clip(clip_id, label, f"g{group:02d}", 1000, contents or clip_id)


def folder(sizes, groups=25, *, seed=0):
    """Clips of one class for each size, spread over groups unevenly, each group in each class."""
    rng = random.Random(seed)
    clips = []
    for index, size in enumerate(sizes):
        members = [*range(1, groups + 1), *rng.choices(range(1, groups + 1), k=size - groups)]
        numbers = Counter()
        for group in members:
            numbers[group] += 1
            clips.append(clip(f"Class{index:02d}", group, numbers[group]))
    return clips


def settings(protocol="group", folds=5, fold=0, validation=0.2):
    return SplitSettings(protocol, folds, fold, validation)


def of(subsets, subset):
    return {clip_id for clip_id, name in subsets.items() if name == subset}


def subsets_by(key, clips, subsets):
    """The subsets of all clips with the same key."""
    by_key = defaultdict(set)
    for one in clips:
        by_key[key(one)].add(subsets[one.id])
    return by_key


@pytest.fixture(scope="module")
def ucf50():
    clips = folder([int(size) for size in UCF50.split()])
    assert len(clips) == 6681
    return clips


SMALL = folder([30, 42, 25, 33, 28], groups=10)
BOTH = pytest.mark.parametrize("protocol", ["group", "random"])


@BOTH
def test_every_clip_has_a_subset_and_each_subset_has_every_class(protocol):
    subsets = divide(SMALL, settings(protocol), seed=0)
    assert set(subsets) == {clip.id for clip in SMALL}
    for name in ("train", "val", "test"):
        assert {clip.label for clip in SMALL if subsets[clip.id] == name} == {f"Class{index:02d}" for index in range(5)}


@pytest.mark.parametrize("fold", range(5))
def test_a_group_number_is_in_one_subset_across_all_classes(fold):
    subsets = divide(SMALL, settings(fold=fold), seed=1)
    assert all(len(names) == 1 for names in subsets_by(lambda clip: clip.group, SMALL, subsets).values())


@BOTH
def test_the_order_of_the_clips_does_not_matter(protocol):
    shuffled = random.Random(0).sample(SMALL, len(SMALL))
    assert divide(shuffled, settings(protocol), seed=3) == divide(SMALL, settings(protocol), seed=3)


@BOTH
@pytest.mark.parametrize("folds", [2, 3, 5, 10])
def test_over_all_folds_every_clip_is_tested_exactly_once(protocol, folds):
    tested = Counter()
    for fold in range(folds):
        drawn = of(divide(SMALL, settings(protocol, folds, fold), seed=0), "test")
        assert drawn
        tested.update(drawn)
    assert tested == Counter(clip.id for clip in SMALL)


def test_25_folds_of_ucf_50_leave_one_group_out(ucf50):
    left_out = []
    for fold in range(0, 25, 3):
        subsets = divide(ucf50, settings(folds=25, fold=fold, validation=0), seed=0)
        left_out += [group for group, names in subsets_by(lambda clip: clip.group, ucf50, subsets).items() if names == {"test"}]
        assert len(of(subsets, "test")) == sum(clip.group == left_out[-1] for clip in ucf50)
    assert len(set(left_out)) == len(left_out) == 9


def test_the_random_protocol_is_stratified_and_leaks_siblings(ucf50):
    subsets = divide(ucf50, settings("random"), seed=0)
    sizes, tested = Counter(clip.label for clip in ucf50), Counter(clip.label for clip in ucf50 if subsets[clip.id] == "test")
    assert all(abs(tested[label] - size / 5) <= 1 for label, size in sizes.items())
    assert summarise(ucf50, subsets)["test_clips_with_sibling_in_training"] > 0.9


def test_the_group_protocol_leaks_no_siblings_and_keeps_to_the_shares(ucf50):
    subsets = divide(ucf50, settings(), seed=0)
    summary = summarise(ucf50, subsets)
    assert summary["test_clips_with_sibling_in_training"] == 0
    assert summary["classes_without_test_clips"] == []
    assert summary["test_clips"] == pytest.approx(6681 * 0.2, rel=0.1)
    assert summary["val_clips"] == pytest.approx(6681 * 0.8 * 0.2, rel=0.1)


@BOTH
def test_another_seed_gives_another_split(protocol):
    assert len({frozenset(of(divide(SMALL, settings(protocol), seed), "test")) for seed in range(4)}) > 1


def unevenness(labels, parts):
    """Standard deviation of the parts' shares of the classes, relative to equal shares."""
    counts = np.array([[np.sum(labels[parts == part] == label) for label in np.unique(labels)] for part in np.unique(parts)])
    return (counts / counts.sum(axis=0) * len(counts)).std()


@pytest.mark.parametrize(("protocol", "parts"), [("group", 5), ("group", 12), ("random", 5)])
def test_parts_are_as_even_as_scikit_learn_s(ucf50, protocol, parts):
    clips = ucf50 if protocol == "group" else SMALL
    labels, groups = np.array([clip.label for clip in clips]), split_groups(clips, by_group=protocol == "group")
    sklearn_parts = np.empty(len(labels), dtype=int)
    for part, (_, drawn) in enumerate(StratifiedGroupKFold(parts, shuffle=True, random_state=0).split(labels, labels, groups)):
        sklearn_parts[drawn] = part
    for seed in range(2):
        assert unevenness(labels, deal(labels, groups, parts, seed)) <= 1.05 * unevenness(labels, sklearn_parts)


@pytest.mark.parametrize("seed", range(5))
def test_no_part_is_empty_even_with_one_giant_group_and_as_many_parts_as_groups(seed):
    groups = np.repeat([0, 1, 2, 3, 4], [500, 1, 1, 1, 2])
    labels = np.where(np.arange(505) % 2, "odd", "even")
    assert sorted(np.bincount(deal(labels, groups, 5, seed))) == [1, 1, 1, 2, 500]


@BOTH
def test_without_validation_there_is_no_val_and_the_test_set_is_the_same(protocol):
    without, with_some = (divide(SMALL, settings(protocol, validation=share), seed=0) for share in (0, 0.2))
    assert set(without.values()) == {"train", "test"}
    assert of(without, "test") == of(with_some, "test")


@BOTH
@pytest.mark.parametrize("seed", range(4))
def test_copies_are_in_one_subset_also_across_classes(protocol, seed):
    twins = [("Class00", 1, "Class00", 9), ("Class01", 2, "Class02", 3), ("Class03", 4, "Class04", 4)]
    clips = list(SMALL)
    for number, (label, group, other_label, other_group) in enumerate(twins):
        clips += [clip(label, group, 90, f"twins {number}"), clip(other_label, other_group, 91, f"twins {number}")]
    subsets = divide(clips, settings(protocol), seed)
    assert all(len(names) == 1 for names in subsets_by(lambda clip: clip.sha256, clips, subsets).values())


def test_what_belongs_together_is_joined_through_others():
    clips = [clip("A", 1, 1), clip("A", 2, 1, "same"), clip("B", 3, 1, "same"), clip("B", 2, 2), clip("A", 4, 1)]
    assert split_groups(clips, by_group=True).tolist() == [0, 1, 1, 1, 4]
    assert split_groups(clips, by_group=False).tolist() == [0, 1, 1, 3, 4]


@BOTH
def test_a_class_with_one_group_is_trained_on_and_reported(protocol):
    clips = [*SMALL, clip("OneClip", 11, 1)]
    if protocol == "group":
        clips += [clip("OneGroup", 12, number) for number in range(6)]
    for fold in range(5):
        subsets = divide(clips, settings(protocol, fold=fold), seed=0)
        alone = [one for one in clips if one.label.startswith("One")]
        assert {subsets[one.id] for one in alone} == {"train"}
        assert summarise(clips, subsets)["classes_without_test_clips"] == sorted({one.label for one in alone})


def test_clips_without_a_group_number_are_groups_of_their_own():
    clips = [replace(clip(label, 0, number), group=f"{label}/{number}.mp4") for label in "ab" for number in range(10)]
    subsets = divide(clips, settings(), seed=0)
    assert Counter((one.label, subsets[one.id]) for one in clips) == {
        (label, subset): count for label in "ab" for subset, count in (("train", 6), ("val", 2), ("test", 2))
    }


@pytest.mark.parametrize(("protocol", "available"), [("group", 3), ("random", 12)])
def test_too_many_folds_are_rejected(protocol, available):
    clips = [clip(label, group, number) for label in "AB" for group in (1, 2, 3) for number in (1, 2)]
    with pytest.raises(DataError) as error:
        divide(clips, settings(protocol, folds=25), seed=0)
    assert f"the clips cannot be divided into 25 parts; at most {available} are possible, " in str(error.value)
    assert "Lower split.folds in params.yaml" in str(error.value)


def test_validation_that_would_need_a_class_s_last_group_is_rejected():
    clips = [clip(label, group, 1) for label in "AB" for group in (1, 2)]  # one group is tested, the other trained on
    with pytest.raises(DataError, match=r"split\.validation to 0"):
        divide(clips, settings(folds=2), seed=0)


def test_the_summary():
    clips = [
        clip("A", 1, 1), clip("A", 1, 2), clip("A", 2, 1), clip("A", 3, 1),
        clip("B", 1, 1), clip("B", 2, 1, "same"), clip("B", 3, 1, "same"),
        clip("C", 4, 1), clip("C", 5, 1),
    ]  # fmt: skip
    subsets = dict(zip([one.id for one in clips], ["train", "test", "val", "test", "test", *["train"] * 3], strict=False))
    assert duplicates(clips) == [clips[5:7]]
    assert summarise(clips, subsets) == {
        "classes": 3,
        "clips": 9,
        "groups": 5,
        "clips_without_group": 0,
        "train_clips": 4,
        "val_clips": 1,
        "test_clips": 3,
        "unused_clips": 1,
        "test_clips_with_sibling_in_training": pytest.approx(1 / 3),  # A's g01; B's g01 and A's g03 are not trained on
        "duplicated_clips": 2,
        "classes_without_test_clips": ["C"],
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("group", 1, 0, 0.2), "folds must be at least 2; got 1"),
        (("group", 5, 5, 0.2), "fold must be from 0 to 4 (folds is 5); got 5"),
        (("group", 5, 0, 0.51), "validation must be from 0 to 0.5; got 0.51"),
        (("group", 5, 0, float("nan")), "validation must be from 0 to 0.5; got nan"),
        (("official", 5, 0, 0.2), "fold must be the number of a list, from 1, under protocol official; got 0"),
    ],
)
def test_settings_out_of_range_are_rejected(values, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        SplitSettings(*values)
    assert str(error.value) == message


def test_official_lists_are_kept_and_validation_takes_whole_groups_from_training():
    listed = {one.id: "test" if one.group in ("g01", "g02") else "train" for one in SMALL}
    subsets = divide(SMALL, settings("official", fold=1), seed=0, listed=listed)
    assert of(subsets, "test") == of(listed, "test")
    assert all(len(names) == 1 for names in subsets_by(lambda clip: clip.group, SMALL, subsets).values())
    assert 0.1 < len(of(subsets, "val")) / len(of(listed, "train")) < 0.3


@pytest.mark.parametrize(("g02", "validation"), [("val", 0.2), ("train", 0)])
def test_lists_with_validation_clips_and_lists_without_validation_are_the_split(g02, validation):
    listed = {one.id: {"g01": "test", "g02": g02}.get(one.group, "train") for one in SMALL if one.group != "g03"}
    split = settings("official", fold=1, validation=validation)
    assert divide(SMALL, split, seed=0, listed=listed) == listed
    assert warnings(SMALL, listed, split, listed) == []


def test_a_class_without_listed_training_clips_is_rejected():
    listed = {one.id: "test" if one.group == "g01" else "train" for one in SMALL if one.label != "Class02"}
    with pytest.raises(DataError, match=r"no training clips for Class02: .* or the official list has none"):
        divide(SMALL, settings("official", fold=1), seed=0, listed=listed)


def test_the_csv_survives_odd_names_sorted_by_clip(tmp_path):
    subsets = {f"A/{name}": subset for name, subset in zip(ODD_NAMES, ["train", "val", "test"] * 9, strict=False)}
    write_split(tmp_path / "split.csv", subsets)
    read = read_split(tmp_path / "split.csv")
    assert read == subsets
    assert list(read) == sorted(subsets)
    assert (tmp_path / "split.csv").read_bytes().startswith(b"clip,subset\n")


def cameras(sizes):
    """`sizes` clips of each camera, in three classes in turn."""
    return [
        replace(clip("ABC"[number % 3], camera, number), group=f"cam{camera}")
        for camera, size in enumerate(sizes)
        for number in range(size)
    ]


ONE_LARGE = cameras([60, 6, 6, 5, 5, 4, 4, 3])  # 93 clips
CAMERA = {one.id: one.group for one in ONE_LARGE}


def test_a_camera_larger_than_a_part_is_tested_by_one_fold_other_than_the_default():
    folds = Counter()
    for seed in range(30):
        tested = [{CAMERA[clip_id] for clip_id in of(divide(ONE_LARGE, settings(fold=fold), seed), "test")} for fold in range(5)]
        [testing] = [fold for fold in range(5) if "cam0" in tested[fold]]
        folds[testing] += 1
        assert tested[testing] == {"cam0"}
        assert "cam0" not in {CAMERA[clip_id] for clip_id in of(divide(ONE_LARGE, settings(), seed), "val")}
    assert set(folds) == {1, 2, 3, 4}
    assert max(folds.values()) < 16  # 7.5 are expected


@BOTH
@pytest.mark.parametrize("share", [0.5, 0.4, 0.25, 0.15, 0.1])
def test_validation_gets_the_requested_share(ucf50, protocol, share):
    counts = Counter(divide(ucf50, settings(protocol, validation=share), seed=0).values())
    assert counts["val"] / (counts["val"] + counts["train"]) == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("share", [0.2, 0.4, 0.5])
def test_validation_leaves_each_class_a_training_clip(share):
    """Persons who show one class each, three a class: one is tested, and of the other two one trains."""
    persons = [(label, person) for label in "ABC" for person in range(3)]
    clips = [replace(clip(label, person, number), group=f"{label}{person}") for label, person in persons for number in range(4)]
    for seed in range(20):
        subsets = divide(clips, settings(folds=3, validation=share), seed)
        assert all("train" in names for names in subsets_by(lambda clip: clip.label, clips, subsets).values())
        assert of(subsets, "val")


def test_classes_of_one_group_each_cannot_be_tested():
    clips = [clip(label, group, number) for group, label in enumerate("ABC") for number in range(5)]
    with pytest.raises(
        DataError, match=r"^no clips are left for testing: each class must keep a group .* which leaves none\. Lower"
    ):
        divide(clips, settings(), seed=0)


def test_a_test_set_far_from_its_share_is_reported():
    notes = []
    for fold in range(5):
        split = settings(fold=fold)
        notes += warnings(ONE_LARGE, divide(ONE_LARGE, split, 0), split)
    assert any("the test set has 60 of 93 clips (65%); one of 5 folds is 20%." in note for note in notes)
    assert any("60 of 60 test clips come from one source (cam0)" in note for note in notes)
    assert any("the test set has 8 of 93 clips (9%); one of 5 folds is 20%." in note for note in notes)


def test_a_plain_split_has_nothing_to_report(ucf50):
    for split in (settings(), settings(folds=25, fold=7)):
        assert warnings(ucf50, divide(ucf50, split, seed=0), split) == []


def test_a_validation_set_far_from_its_share_is_reported():
    clips = cameras([10, 10, 10])
    split = settings(folds=3)
    assert [note for note in warnings(clips, divide(clips, split, 0), split) if "validation" in note] == [
        "the validation set has 10 of 20 clips (50%); split.validation 0.2 is 20%. Groups are not divided, and they are few "
        "or differ much in size."
    ]
