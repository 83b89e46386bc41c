"""Stored answers for test clips, compared with the evaluation's own reading."""

import tracemalloc

import fabricate
import numpy as np
import pytest

from actionrec.core.errors import DataError
from actionrec.evaluation.calibration import confidences, softmax
from actionrec.evaluation.logits import answers
from actionrec.evaluation.prediction_files import read_predictions, write_predictions
from actionrec.web import stored_answers
from actionrec.web.stored_answers import read_stored_answers


def write(path, clips=60, classes=7, folds=1):
    random = np.random.default_rng(0)
    names = np.array([f"a/{place:06}.avi" for place in range(clips)])
    subsets = np.where(np.arange(clips) % 3, "test", "val")
    logits = random.integers(0, 3, (clips, classes)).astype(np.float32)  # with ties
    labels = random.integers(0, classes, clips)
    write_predictions(path, fabricate.predictions(names, labels, subsets, logits, changes=(), folds=folds))


@pytest.mark.parametrize("folds", [1, 3])
def test_answers_are_those_of_the_evaluation(tmp_path, monkeypatch, folds):
    monkeypatch.setattr(stored_answers, "_BLOCK", 40)  # several blocks
    write(tmp_path / "gru.npz", folds=folds)
    told = read_stored_answers(tmp_path / "gru.npz", 7, 1.7)
    expected = read_predictions(tmp_path / "gru.npz", 7, "")
    np.testing.assert_array_equal(told.clips, expected.test.clips)
    np.testing.assert_array_equal(told.labels, expected.test.labels)
    np.testing.assert_array_equal(told.folds, expected.test_folds)
    np.testing.assert_array_equal(told.predicted, expected.test.logits.argmax(axis=1))
    np.testing.assert_allclose(told.confidence, softmax(expected.test.logits, 1.7).max(axis=1), rtol=1e-6)


def test_a_large_file_is_read_in_little_memory(tmp_path):
    write(tmp_path / "gru.npz", clips=60_000, classes=150)  # 36 MB of logits, twice
    tracemalloc.start()
    read_stored_answers(tmp_path / "gru.npz", 150, 1.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    write(tmp_path / "gru.npz", clips=120_000, classes=150)
    tracemalloc.start()
    read_stored_answers(tmp_path / "gru.npz", 150, 1.0)
    doubled = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert doubled - peak < 18_000_000  # half of what the added logits take


def test_damaged_files_are_refused_with_their_path(tmp_path):
    path = tmp_path / "gru.npz"
    with pytest.raises(DataError, match=r"gru\.npz is missing\. Run `dvc repro`"):
        read_stored_answers(path, 7, 1.0)
    write(path)
    with pytest.raises(DataError, match=r"gru\.npz: .*shape \(60, 7\).*not \(n, 8\)"):
        read_stored_answers(path, 8, 1.0)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"gru\.npz: predictions cannot be read .* Run `dvc repro -f train@gru`"):
        read_stored_answers(path, 7, 1.0)


def test_of_many_classes_the_highest_logits_are_read(tmp_path):
    path = tmp_path / "gru.npz"
    write(path, clips=60, classes=250)
    told = read_stored_answers(path, 250, 1.7)
    expected = read_predictions(path, 250, "").test
    assert np.array_equal(told.predicted, answers(expected.logits))
    np.testing.assert_allclose(told.confidence, confidences(expected.logits, expected.labels, 1.7).top, rtol=1e-6)
    with pytest.raises(DataError, match=r"classes from \d+ to \d+, not from 0 to 99"):
        read_stored_answers(path, 100, 1.7)
