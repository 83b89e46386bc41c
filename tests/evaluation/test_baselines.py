import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from actionrec.evaluation import metrics
from actionrec.evaluation.baselines import GRID, mean_pool_logistic, middle_frame_logistic
from actionrec.evaluation.calibration import softmax
from actionrec.training.frame_order import one_frame_repeated, reversed_in_time, shuffled

FRAMES, FEATURE_DIM = 32, 6
BASELINES = (mean_pool_logistic, middle_frame_logistic)


def clips(classes=3, count=90, signal=1.5, seed=0):
    """Features (n, T, D) whose class shows in every frame, labels, training, validation and test rows."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    features = rng.normal(size=(count, FRAMES, FEATURE_DIM)) + rng.normal(size=(count, 1, FEATURE_DIM))
    features[np.arange(count), :, labels] += signal
    rows = np.arange(count)
    return features.astype(np.float16), labels, rows[: count // 2], rows[count // 2 : 2 * count // 3], rows[2 * count // 3 :]


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_what_every_frame_shows_is_learned(baseline, classes):
    features, labels, train, val, test = clips(classes, count=150, signal=5)
    fitted = baseline(features, labels, train, val)
    assert fitted.logits.shape == (150, classes)
    assert fitted.logits.dtype == np.float32
    assert metrics.top_k(fitted.logits[test], labels[test], 1) > 0.8
    assert fitted.c in GRID
    assert fitted.converged
    assert fitted.parameters == (FEATURE_DIM + 1) * (1 if classes == 2 else classes)


@pytest.mark.parametrize("classes", [2, 4])
def test_softmax_of_the_logits_are_scikit_learn_s_probabilities(classes):
    features, labels, train, val, _ = clips(classes)
    fitted = mean_pool_logistic(features, labels, train, val)
    means = features.astype(np.float64).mean(axis=1)
    expected = make_pipeline(StandardScaler(), LogisticRegression(C=fitted.c, max_iter=1_000)).fit(means[train], labels[train])
    np.testing.assert_allclose(softmax(fitted.logits), expected.predict_proba(means), atol=1e-6)


def test_the_order_of_frames_changes_no_bit_of_the_mean_baseline():
    features, labels, train, val, _ = clips()
    ids, frames = [f"{number}.avi" for number in range(len(labels))], torch.from_numpy(features)
    expected = mean_pool_logistic(features, labels, train, val)
    for moved in (shuffled(frames, ids, 0), shuffled(frames, ids, 1), reversed_in_time(frames)):
        fitted = mean_pool_logistic(moved.numpy(), labels, train, val)
        assert np.array_equal(fitted.logits, expected.logits)
        assert fitted.c == expected.c


def test_the_middle_frame_is_all_that_the_other_baseline_sees():
    features, labels, train, val, _ = clips()
    still = one_frame_repeated(torch.from_numpy(features)).numpy()
    expected = middle_frame_logistic(features, labels, train, val)
    assert np.array_equal(middle_frame_logistic(still, labels, train, val).logits, expected.logits)
    np.testing.assert_allclose(mean_pool_logistic(still, labels, train, val).logits, expected.logits, atol=1e-6)
    changed = features.copy()
    changed[:, FRAMES // 2] = features[:, 0]
    assert not np.array_equal(middle_frame_logistic(changed, labels, train, val).logits, expected.logits)


def test_c_is_the_best_on_validation_clips():
    features, labels, train, val, _ = clips(signal=0.6)
    fits = {c: mean_pool_logistic(features, labels, train, val, grid=[c]) for c in GRID}
    scores = {
        c: (-metrics.top_k(fit.logits[val], labels[val], 1), metrics.cross_entropy(fit.logits[val], labels[val]))
        for c, fit in fits.items()
    }
    assert len(set(scores.values())) > 1
    chosen = mean_pool_logistic(features, labels, train, val)
    assert chosen.c == min(GRID, key=lambda c: (*scores[c], c))
    assert np.array_equal(chosen.logits, fits[chosen.c].logits)


def test_validation_and_test_clips_are_never_trained_on():
    features, labels, train, val, test = clips()
    spoilt = labels.copy()
    spoilt[np.concatenate([val, test])] = 0
    kept = mean_pool_logistic(features, labels, train, val, grid=[0.1])
    assert np.array_equal(mean_pool_logistic(features, spoilt, train, val, grid=[0.1]).logits, kept.logits)


def test_without_validation_clips_c_is_1():
    features, labels, train, val, _ = clips()
    assert mean_pool_logistic(features, labels, train, val[:0]).c == 1


def test_dimensions_that_never_change_are_harmless():
    features, labels, train, val, test = clips(signal=3)
    features = np.concatenate([features, np.zeros_like(features[:, :, :2]), np.full_like(features[:, :, :1], 60_000)], axis=2)
    fitted = mean_pool_logistic(features, labels, train, val)
    assert np.isfinite(fitted.logits).all()
    assert metrics.top_k(fitted.logits[test], labels[test], 1) > 0.8


def test_a_class_without_training_clips_raises_an_error():
    features, labels, train, val, _ = clips()
    with pytest.raises(ValueError, match=r"without training clips: \[2\]"):
        mean_pool_logistic(features, labels, train[labels[train] != 2], val)
    with pytest.raises(ValueError, match="at least two classes"):
        mean_pool_logistic(features, np.zeros_like(labels), train, val)
