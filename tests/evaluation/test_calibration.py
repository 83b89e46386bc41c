import numpy as np
import pytest
from scipy.special import softmax as scipy_softmax
from sklearn.calibration import calibration_curve

from actionrec.evaluation import metrics
from actionrec.evaluation.calibration import (
    Confidences,
    confidence_threshold,
    confidences,
    error_by_chance,
    expected_calibration_error,
    fit_temperature,
    reliability,
    softmax,
)

# Five clips, two classes; top probabilities 0.9, 0.8, 0.8, 0.6, 0.5, of which the first, second and fourth are correct.
PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5]])
LABELS = np.array([0, 1, 0, 0, 1])


def answered(probabilities, labels):
    """What `confidences` gives for logits that have these probabilities (n, K)."""
    return Confidences(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)


def random_logits(*, clips=400, classes=6, strength=1.0, seed=0):
    """Logits that are calibrated at temperature `strength`: labels are drawn from softmax(logits / strength)."""
    rng = np.random.default_rng(seed)
    plain = rng.normal(0, 2, (clips, classes))
    labels = np.array([rng.choice(classes, p=row) for row in scipy_softmax(plain, axis=1)])
    return (plain * strength).astype(np.float32), labels


def test_softmax_is_scipy_s():
    logits, _ = random_logits()
    np.testing.assert_allclose(softmax(logits), scipy_softmax(logits.astype(np.float64), axis=1), rtol=1e-12)
    np.testing.assert_allclose(softmax(logits, 2.5), scipy_softmax(logits.astype(np.float64) / 2.5, axis=1), rtol=1e-12)
    assert softmax(logits).dtype == np.float64


def test_softmax_of_huge_logits_is_finite():
    shares = softmax(np.array([[1e30, 0, -1e30], [88_000, 88_000, 0]], dtype=np.float32))
    np.testing.assert_allclose(shares, [[1, 0, 0], [0.5, 0.5, 0]])


@pytest.mark.parametrize("temperature", [0.05, 0.7, 20])
def test_a_temperature_changes_no_answer(temperature):
    logits, _ = random_logits(strength=5)
    assert (softmax(logits, temperature).argmax(axis=1) == logits.argmax(axis=1)).all()


@pytest.mark.parametrize("temperature", [0, -1, np.nan])
def test_a_temperature_of_0_or_less_raises_an_error(temperature):
    with pytest.raises(ValueError, match="must be above 0"):
        softmax(PROBABILITIES, temperature)


def test_reliability_by_hand():
    found = reliability(answered(PROBABILITIES, LABELS), bins=5)
    assert found.count.tolist() == [0, 0, 2, 2, 1]  # 0.6 and 0.8 lie on edges and belong below them
    np.testing.assert_allclose(found.confidence, [np.nan, np.nan, 0.55, 0.8, 0.9])
    np.testing.assert_allclose(found.accuracy, [np.nan, np.nan, 0.5, 0.5, 1])


def test_calibration_error_by_hand():
    assert expected_calibration_error(answered(PROBABILITIES, LABELS), bins=5) == pytest.approx((2 * 0.05 + 2 * 0.3 + 0.1) / 5)
    # One bin: mean confidence 0.72, accuracy 0.6.
    assert expected_calibration_error(answered(PROBABILITIES, LABELS), bins=1) == pytest.approx(0.12)


def test_exact_confidence_has_no_calibration_error():
    sure = np.tile([0.8, 0.2], (10, 1))
    assert expected_calibration_error(answered(sure, np.array([0] * 8 + [1] * 2))) == pytest.approx(0)
    assert expected_calibration_error(answered(sure, np.array([0] * 3 + [1] * 7))) == pytest.approx(0.5)


def test_reliability_is_scikit_learn_s():
    logits, labels = random_logits()
    shares = softmax(logits)
    found = reliability(answered(shares, labels), bins=15)
    accuracy, confidence = calibration_curve(shares.argmax(axis=1) == labels, shares.max(axis=1), n_bins=15)
    filled = found.count > 0
    np.testing.assert_allclose(found.accuracy[filled], accuracy)
    np.testing.assert_allclose(found.confidence[filled], confidence)
    assert found.count.sum() == len(labels)


def test_a_probability_of_1_counts_in_the_last_bin():
    found = reliability(answered(np.eye(3)[[0, 1, 2]].astype(np.float32), np.array([0, 1, 0])), bins=10)
    assert found.count.tolist() == [0] * 9 + [3]


@pytest.mark.parametrize("function", [reliability, expected_calibration_error, confidence_threshold])
def test_logits_in_place_of_probabilities_raise_an_error(function):
    with pytest.raises(ValueError, match="from 0 to 1"):
        function(answered(np.array([[2.0, -1.0]]), np.array([0])))
    with pytest.raises(ValueError, match=r"got \(5,\) and \(2,\)"):
        function(Confidences(PROBABILITIES.max(axis=1), LABELS[:2] == 0))
    with pytest.raises(ValueError, match="at least one"):
        function(Confidences(np.empty(0), np.empty(0, dtype=np.bool_)))


def test_confidences_are_the_highest_probabilities_also_over_several_blocks(monkeypatch):
    logits, labels = random_logits()
    for temperature in (1.0, 2.5):
        monkeypatch.setattr("actionrec.evaluation.logits.BLOCK", 100)
        found, expected = confidences(logits, labels, temperature), answered(softmax(logits, temperature), labels)
        assert np.array_equal(found.top, expected.top)
        assert np.array_equal(found.correct, expected.correct)


def test_fewer_than_one_bin_raises_an_error():
    with pytest.raises(ValueError, match="at least 1; got 0"):
        reliability(answered(PROBABILITIES, LABELS), bins=0)


@pytest.mark.parametrize("strength", [0.4, 1.0, 3.0])
def test_the_temperature_of_overconfident_logits_is_found(strength):
    logits, labels = random_logits(clips=3_000, strength=strength)
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(strength, rel=0.06)
    before = expected_calibration_error(answered(softmax(logits), labels))
    after = expected_calibration_error(answered(softmax(logits, temperature), labels))
    assert after < 0.025
    assert strength == 1 or after < before / 3


def test_no_other_temperature_has_a_lower_cross_entropy():
    logits, labels = random_logits(strength=2.0)
    found = fit_temperature(logits, labels)
    loss = metrics.cross_entropy(logits / np.float64(found), labels)
    others = np.geomspace(0.05, 20, 300)
    assert loss <= min(metrics.cross_entropy(logits / other, labels) for other in others) + 1e-9


def test_logits_twice_as_large_need_twice_the_temperature():
    logits, labels = random_logits()
    assert fit_temperature(2 * logits, labels) == pytest.approx(2 * fit_temperature(logits, labels), rel=1e-4)


def test_a_temperature_beyond_the_bounds_is_the_bound():
    correct, wrong = np.eye(3, dtype=np.float32), np.roll(np.eye(3, dtype=np.float32), 1, axis=1)
    assert fit_temperature(correct, np.arange(3)) is None  # there is no error to fit it on
    assert fit_temperature(wrong, np.arange(3)) == 20


def test_if_no_temperature_is_better_the_result_is_1():
    assert fit_temperature(np.zeros((4, 3), dtype=np.float32), np.array([0, 1, 2, 0])) == 1


def test_a_temperature_needs_clips():
    with pytest.raises(ValueError, match="at least one clip"):
        fit_temperature(np.zeros((0, 3), dtype=np.float32), np.zeros(0, dtype=int))


def test_the_threshold_by_hand():
    # 60 correct answers with top probabilities 0.501, 0.502, ... 0.560, and one sure wrong answer that must not count.
    top = np.append(np.arange(501, 561) / 1000, 0.99)
    probabilities = np.stack([top, 1 - top], axis=1)
    labels = np.append(np.zeros(60, dtype=int), 1)
    assert confidence_threshold(answered(probabilities, labels)) == pytest.approx(0.504)  # 57 of 60 stay
    assert confidence_threshold(answered(probabilities, labels), kept=1) == pytest.approx(0.501)
    assert confidence_threshold(answered(probabilities, labels), kept=0.94) == pytest.approx(0.504)  # 56.4: 57 must stay
    assert confidence_threshold(answered(probabilities, labels), kept=0) == pytest.approx(0.560)


def test_fewer_than_60_correct_answers_give_no_threshold():
    sure = np.tile([0.9, 0.1], (100, 1))
    assert confidence_threshold(answered(sure, np.arange(100) // 60)) == pytest.approx(0.9)
    assert confidence_threshold(answered(sure, np.arange(100) // 59)) == 0


@pytest.mark.parametrize("kept", [0.5, 0.9, 0.95, 1.0])
def test_the_threshold_is_the_highest_that_keeps_enough(kept):
    logits, labels = random_logits(clips=137)
    probabilities = softmax(logits)
    threshold = confidence_threshold(answered(probabilities, labels), kept)
    sure = probabilities.max(axis=1)[probabilities.argmax(axis=1) == labels]
    assert (sure >= threshold).mean() >= kept
    assert (sure > threshold).mean() < kept


def test_if_nothing_is_correct_there_is_no_threshold():
    assert confidence_threshold(answered(PROBABILITIES, np.array([1, 0, 0, 1, 1]))) == 0


def test_kept_must_be_a_share():
    with pytest.raises(ValueError, match="kept must be from 0 to 1; got 95"):
        confidence_threshold(answered(PROBABILITIES, LABELS), kept=95)


@pytest.mark.parametrize(("clips", "sharpness"), [(30, 1.0), (100, 3.0), (400, 3.0), (100, 8.0)])
def test_error_by_chance_is_the_mean_error_of_an_exact_confidence(clips, sharpness):
    rng = np.random.default_rng(0)
    shown, expected = [], []
    for _ in range(200):
        probabilities = softmax(rng.normal(0, sharpness, (clips, 5)))
        labels = (probabilities.cumsum(axis=1) < rng.random((clips, 1))).sum(axis=1).clip(max=4)
        shown.append(expected_calibration_error(answered(probabilities, labels)))
        expected.append(error_by_chance(reliability(answered(probabilities, labels))))
    assert np.mean(expected) == pytest.approx(np.mean(shown), rel=0.1)


def test_confident_and_correct_answers_have_no_error_by_chance():
    bins = reliability(answered(np.eye(4), np.arange(4)))
    assert error_by_chance(bins) == pytest.approx(0.0)
