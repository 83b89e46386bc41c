from dataclasses import replace

import numpy as np
import pytest
from fabricate import trained

from actionrec.evaluation.risk_coverage import CoveragePoint, risk_coverage

HALF = np.log(3)  # a logit that gives one of four classes a probability of one half


def curve(right, scale, **changes):
    """A model that is right where `right` is true; `scale` multiplies the top logit of each clip."""
    model = trained("gru", right, **changes)
    logits = model.predictions.answers.logits
    logits *= np.asarray(scale, dtype=np.float32)[:, None]
    return risk_coverage(model)


def test_the_most_confident_answers_come_first():
    found = curve([True, False, True, True], [3, 1, 4, 2])  # in order of confidence: right, right, right, wrong
    assert found.coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert found.risk.tolist() == [0, 0, 0, 0.25]
    assert found.within(0.0) == CoveragePoint(found.confidence[2], 0.75, 0.0)
    assert found.within(0.25).coverage == 1


def test_a_confident_error_makes_low_risks_impossible():
    found = curve([False, True, True, True], [9, 3, 2, 1])
    assert found.risk.tolist() == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])
    assert found.within(0.2) is None
    assert found.within(0.3).coverage == 1


def test_the_highest_coverage_counts_even_if_the_risk_was_higher_before():
    found = curve([True, False, *[True] * 18], np.linspace(9, 1, 20))
    assert found.within(0.05).coverage == 1  # 1 of 20, although 1 of 2 among the first two


def test_equal_confidences_are_answered_together():
    found = curve([True, False, True, False], [2, 2, 1, 1])
    assert found.coverage.tolist() == [0.5, 1]
    assert found.risk.tolist() == [0.5, 0.5]


def test_the_threshold_keeps_answers_that_reach_it():
    right, scale = [True, True, False, False], [3, HALF, 1, 0.5]
    found = curve(right, scale, threshold=0.5 - 1e-6)
    assert found.at_threshold.coverage == 0.5
    assert found.at_threshold.risk == 0
    assert curve(right, scale, threshold=0.999).at_threshold == CoveragePoint(0.999, 0.0, 0.0)
    assert curve(right, scale).at_threshold.coverage == 1  # no threshold: every answer counts


def test_confidences_are_calibrated():
    plain, softened = curve([True], [4]), curve([True], [4], temperature=2.0)
    assert plain.confidence[0] == pytest.approx(np.exp(4) / (np.exp(4) + 3))
    assert softened.confidence[0] == pytest.approx(np.exp(2) / (np.exp(2) + 3))


def test_only_the_saved_fold_counts_because_the_threshold_is_of_its_model():
    model = trained("gru", [True, True, False, False])
    folds = replace(model.predictions, folds=np.array([0, 0, 1, 1]))
    found = risk_coverage(replace(model, predictions=folds))
    assert (found.clips, found.risk[-1]) == (2, 0)
