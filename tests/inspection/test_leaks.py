import itertools

import pytest
from probes import clip, groups

from actionrec.core.errors import DataError
from actionrec.data.clip_search import find_clips
from actionrec.data.clips import Clip
from actionrec.data.splits import SplitSettings, divide
from actionrec.inspection.leaks import inseparable_classes, possible_folds, random_split_leak

UNEVEN = [*groups("A", 7, 4, 4, 2, 1, 1), *groups("B", 2, 2, 2, 1), *groups("C", 1, 1, 1), *groups("D", 11, 1)]


def simulated_leak(clips, folds, seeds):
    """The share of test clips with a sibling in training, over all folds of many random splits."""
    leaking = tested = 0
    for seed, fold in itertools.product(range(seeds), range(folds)):
        subsets = divide(clips, SplitSettings("random", folds, fold, 0.0), seed)
        trained = {one.cluster for one in clips if subsets[one.id] == "train"}
        in_test = [one for one in clips if subsets[one.id] == "test"]
        tested += len(in_test)
        leaking += sum(one.cluster in trained for one in in_test)
    return leaking / tested


def test_two_pairs_of_siblings_dealt_to_two_parts():
    # The one other test clip is the sibling in one case of three.
    assert random_split_leak(groups("A", 2, 2), folds=2) == pytest.approx(2 / 3)


@pytest.mark.parametrize("folds", [2, 5])
def test_the_formula_tells_what_random_splits_do(folds):
    assert random_split_leak(UNEVEN, folds) == pytest.approx(simulated_leak(UNEVEN, folds, seeds=60), abs=0.01)


@pytest.mark.parametrize("folds", [2, 4])
def test_the_formula_counts_siblings_in_other_classes(folds):
    """Persons who show several actions: p1 is in all classes, p2 in two."""
    counts = {"A": {"p1": 3, "p2": 1, "p3": 2}, "B": {"p1": 1, "p2": 2, "p4": 5}, "C": {"p1": 2, "p5": 1}, "D": {"p6": 1}}
    clips = [
        Clip(f"{label}/{person}-{number}.mp4", label, person, 1, f"{label}{person}{number}")
        for label, persons in counts.items()
        for person, count in persons.items()
        for number in range(count)
    ]
    assert random_split_leak(clips, folds) == pytest.approx(simulated_leak(clips, folds, seeds=150), abs=0.015)


def test_without_siblings_nothing_leaks():
    assert random_split_leak([*groups("A", 1, 1, 1), clip("B/x.avi"), clip("B/y.avi")], folds=5) == 0


def test_in_a_class_of_one_large_group_everything_leaks():
    assert random_split_leak([*groups("A", 40), *groups("B", 40)], folds=5) == 1


def test_the_same_group_number_in_another_class_is_not_a_sibling():
    assert random_split_leak([*groups("A", 1, 1), *groups("B", 1, 1)], folds=2) == 0


def test_a_copy_of_a_clip_is_not_a_sibling():
    copies = [clip("A/v_A_g01_c01.avi", "same"), clip("A/v_A_g01_c02.avi", "same"), *groups("A", 0, 1, 1)]
    assert random_split_leak(copies, folds=2) == 0


def test_a_class_of_one_clip_is_not_counted():
    assert random_split_leak([*groups("A", 2, 2), clip("B/x.avi")], folds=2) == random_split_leak(groups("A", 2, 2), folds=2)


@pytest.mark.parametrize(
    "clips",
    [
        [*groups("A", 3, 2, 2, 1), *groups("B", 1, 1)],
        [*groups("A", 3, 2, 2, 1), *groups("B", 4)],  # B's only group is trained on, and with it A's first
        [*groups("A", 1, 1, 1), *(clip(f"B/{number}.avi") for number in range(4))],
    ],
)
def test_possible_folds_is_exact(clips):
    most, _ = possible_folds(clips)
    for fold in range(most):
        divide(clips, SplitSettings("group", most, fold, 0.0), seed=0)
    with pytest.raises(DataError, match=f"at most {most} "):
        divide(clips, SplitSettings("group", most + 1, 0, 0.0), seed=0)


def test_every_fold_can_test_a_class_up_to_its_number_of_groups():
    clips = [*groups("A", 3, 2, 2, 1), *groups("B", 1, 1)]
    assert possible_folds(clips) == (4, 2)
    for fold in range(2):
        subsets = divide(clips, SplitSettings("group", 2, fold, 0.0), seed=0)
        assert {one.label for one in clips if subsets[one.id] == "test"} == {"A", "B"}


def test_a_class_of_one_group_is_listed_and_never_tested():
    clips = [*groups("A", 2, 2, 2), *groups("B", 5)]
    assert inseparable_classes(clips) == ["B"]
    for fold in range(2):
        subsets = divide(clips, SplitSettings("group", 2, fold, 0.0), seed=0)
        assert {one.label for one in clips if subsets[one.id] == "test"} == {"A"}


def test_where_nothing_can_be_divided_there_are_no_folds():
    assert possible_folds([*groups("A", 2), *groups("B", 2)]) == (0, 0)


def test_the_real_clips_leak_under_a_random_split_and_can_be_divided_by_group(shared):
    clips = find_clips(shared / "data" / "real_clips")
    assert 0.85 < random_split_leak(clips, folds=5) < 0.95
    assert possible_folds(clips)[1] == 4
    assert inseparable_classes(clips) == []
