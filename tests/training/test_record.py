import numpy as np
import pytest
from fabricate import predictions

from actionrec.training import record


def answered(right, wrong, clips_of_test=1):
    """A model's answers: so many correct and wrong validation clips of two classes, and a test clip."""
    count = right + wrong + clips_of_test
    logits = np.tile(np.array([2.0, 0.0], dtype=np.float32), (count, 1))
    labels = np.array([0] * right + [1] * wrong + [0] * clips_of_test)
    subsets = ["val"] * (right + wrong) + ["test"] * clips_of_test
    return predictions([f"{number:04}" for number in range(count)], labels, subsets, logits)


def test_without_an_error_on_validation_clips_no_temperature_is_fitted():
    assert record.calibrate(answered(16, 0)) == {"temperature": 1.0, "temperature_fitted": False, "threshold": 0.0}


def test_few_validation_clips_give_a_temperature_and_no_threshold():
    fitted = record.calibrate(answered(12, 4))
    # 12 of 16 are correct: softmax((2, 0) / T) is 0.75 at T = 2 / ln 3.
    assert fitted == {"temperature": pytest.approx(2 / np.log(3), rel=1e-3), "temperature_fitted": True, "threshold": 0.0}


def test_60_correct_validation_answers_give_a_threshold():
    assert record.calibrate(answered(60, 20))["threshold"] == pytest.approx(0.75, abs=1e-3)


def test_without_validation_clips_nothing_is_calibrated():
    assert record.calibrate(answered(0, 0)) is None
