"""Summaries of confusion matrices."""

import numpy as np
import pytest

from actionrec.evaluation import metrics
from actionrec.web.confusions import MOST_CLASSES, count_confusions, summarise


@pytest.mark.parametrize("classes", [3, 700])
def test_counts_are_those_of_the_evaluation(classes):
    random = np.random.default_rng(0)
    logits = random.normal(size=(500, classes)).astype(np.float32)
    labels = random.integers(0, classes, 500)
    np.testing.assert_array_equal(
        count_confusions(labels, logits.argmax(axis=1).astype(np.int32), classes), metrics.confusion(logits, labels)
    )


def test_a_small_matrix_is_whole_and_its_pairs_are_in_order():
    told = summarise("gru", np.array([[5, 2, 0], [0, 4, 3], [0, 0, 0]]), ["a", "b", "c"])
    assert (told.model, told.tests, told.correct, told.class_count) == ("gru", 14, 9, 3)
    assert told.classes == ["a", "b", "c"]
    assert told.clips == [7, 7, 0]
    assert told.counts == [[5, 2, 0], [0, 4, 3], [0, 0, 0]]
    assert [(one.true, one.predicted, one.clips, one.of) for one in told.pairs] == [("b", "c", 3, 7), ("a", "b", 2, 7)]


def test_of_many_classes_the_most_confused_are_kept():
    names = [f"class {number}" for number in range(700)]
    counts = np.diag(np.full(700, 10)) + np.eye(700, k=1, dtype=np.int64)
    counts[600, 3] = 50
    told = summarise("gru", counts, names)
    assert (told.pairs[0].true, told.pairs[0].predicted, told.pairs[0].clips, told.pairs[0].of) == ("class 600", "class 3", 50, 61)
    assert {"class 600", "class 3"} <= set(told.classes)
    assert len(told.classes) <= MOST_CLASSES
    assert told.tests == counts.sum()
    numbers = [names.index(name) for name in told.classes]
    assert abs(numbers.index(600) - numbers.index(3)) == 1  # confused classes are side by side
    np.testing.assert_array_equal(told.counts, counts[np.ix_(numbers, numbers)])
    np.testing.assert_array_equal(told.clips, counts.sum(axis=1)[numbers])


def test_a_model_without_errors_has_no_pairs():
    told = summarise("gru", np.diag(np.full(60, 2)), [str(number) for number in range(60)])
    assert (told.pairs, told.classes, told.counts) == ([], [], [])
