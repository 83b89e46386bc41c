"""The most frequent confusions, and the order of classes by confusion."""

import numpy as np
import pytest

from actionrec.evaluation.class_confusions import clustered_order, confused_pairs

THREE = np.array([[5, 2, 0], [0, 4, 3], [2, 0, 9]])


@pytest.mark.parametrize(("most", "expected"), [(1, [(1, 2)]), (2, [(1, 2), (0, 1)]), (9, [(1, 2), (0, 1), (2, 0)])])
def test_the_most_frequent_confusions_come_first_and_equal_ones_by_class(most, expected):
    counts = THREE.copy()
    assert confused_pairs(counts, most) == expected
    np.testing.assert_array_equal(counts, THREE)


def test_correct_answers_are_no_confusions():
    assert confused_pairs(np.diag([3, 4, 0]), 5) == []


def mixed(families, size, seed=0):
    """Counts of families of classes that are confused with each other, numbered at random; and each class's family."""
    random = np.random.default_rng(seed)
    family = random.permutation(np.repeat(np.arange(families), size))
    counts = random.poisson(4 * (family[:, None] == family) + 0.02)
    np.fill_diagonal(counts, 50)
    return counts, family


@pytest.mark.parametrize(("families", "size"), [(5, 14), (100, 7)])
def test_classes_that_are_confused_with_each_other_are_neighbours(families, size):
    counts, family = mixed(families, size)
    order = clustered_order(counts)
    assert sorted(order) == list(range(families * size))
    assert (np.diff(family[order]) != 0).sum() == families - 1
    np.testing.assert_array_equal(order, clustered_order(counts))


def test_the_direction_of_a_confusion_and_the_number_of_clips_do_not_matter():
    counts = np.diag([20] * 6)
    counts[0, 3] = counts[5, 1] = 9  # one-sided
    counts[2, 2], counts[2, 4] = 2000, 900  # as often, but with many clips
    counts[4, 4] = 1100
    order = clustered_order(counts).tolist()
    assert all(abs(order.index(one) - order.index(other)) == 1 for one, other in ((0, 3), (1, 5), (2, 4)))


def test_classes_without_clips_or_errors_have_an_order():
    assert sorted(clustered_order(np.diag([3, 0, 4, 0]))) == [0, 1, 2, 3]
