from functools import partial

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from actionrec.evaluation import metrics
from actionrec.evaluation.logits import TopLogits

# Three classes, four clips. Predictions: 2, 0, 1, 1.
LOGITS = np.array([[0.1, 0.2, 0.7], [3.0, 2.0, 1.0], [-5.0, -1.0, -2.0], [1.0, 9.0, 2.0]], dtype=np.float32)
LABELS = np.array([2, 1, 2, 1])


@pytest.fixture
def many():
    """Logits of 500 clips and 7 unbalanced classes, somewhat right, without ties."""
    rng = np.random.default_rng(0)
    labels = rng.choice(7, 500, p=[0.4, 0.2, 0.15, 0.1, 0.08, 0.05, 0.02])
    logits = rng.normal(size=(500, 7)).astype(np.float32)
    logits[np.arange(500), labels] += 1
    return logits, labels


def test_by_hand():
    assert metrics.correct_at_k(LOGITS, LABELS, 1).tolist() == [True, False, False, True]
    assert metrics.correct_at_k(LOGITS, LABELS, 2).tolist() == [True, True, True, True]
    assert metrics.top_k(LOGITS, LABELS, 1) == 0.5
    assert metrics.mean_class(LOGITS, LABELS) == 0.5  # class 1: one of two; class 2: one of two; class 0 has no clips
    assert metrics.confusion(LOGITS, LABELS).tolist() == [[0, 0, 0], [1, 1, 0], [0, 1, 1]]


def test_mean_class_counts_every_class_alike():
    logits = np.eye(2, dtype=np.float32)[[0, 0, 0, 0]]  # always class 0
    assert metrics.top_k(logits, np.array([0, 0, 0, 1]), 1) == 0.75
    assert metrics.mean_class(logits, np.array([0, 0, 0, 1])) == 0.5


def test_cross_entropy_by_hand():
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]], dtype=np.float32))
    assert metrics.cross_entropy(logits, np.array([0, 2])) == pytest.approx(-(np.log(0.5) + np.log(0.1)) / 2, rel=1e-6)


@pytest.mark.parametrize("block", [1, 21, 70])
def test_blocks_do_not_change_the_cross_entropy(monkeypatch, block):
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(100, 7)).astype(np.float32), random.integers(0, 7, 100)
    expected = metrics.cross_entropy(logits, labels)
    monkeypatch.setattr("actionrec.evaluation.logits.BLOCK", block)
    assert metrics.cross_entropy(logits, labels) == expected


def test_cross_entropy_of_huge_logits_is_finite():
    logits = np.array([[1e30, 0, -1e30], [0, 88_000, 0]], dtype=np.float32)
    assert metrics.cross_entropy(logits, np.array([0, 1])) == 0
    assert metrics.cross_entropy(logits, np.array([0, 2])) == 44_000


def test_equal_logits_are_a_hit_of_the_lowest_classes_only():
    flat = np.zeros((5, 5), dtype=np.float32)
    labels = np.arange(5)
    assert metrics.top_k(flat, labels, 1) == pytest.approx(1 / 5)  # chance, not certainty
    assert metrics.correct_at_k(flat, labels, 2).tolist() == [True, True, False, False, False]


def test_top_1_agrees_with_the_confusion_matrix_even_where_logits_tie():
    rng = np.random.default_rng(1)
    logits = rng.integers(0, 3, (400, 6)).astype(np.float32)
    labels = rng.integers(0, 6, 400)
    assert metrics.top_k(logits, labels, 1) == np.trace(metrics.confusion(logits, labels)) / 400


def test_every_clip_is_a_hit_among_all_classes_or_more():
    assert metrics.top_k(LOGITS, LABELS, 3) == metrics.top_k(LOGITS, LABELS, 5) == 1.0


def test_accuracies_are_plain_numbers():
    for value in (metrics.top_k(LOGITS, LABELS, 1), metrics.mean_class(LOGITS, LABELS), metrics.cross_entropy(LOGITS, LABELS)):
        assert type(value) is float


@pytest.mark.parametrize("k", [1, 2, 3, 5, 6])
def test_top_k_as_scikit_learn_computes_it(many, k):
    logits, labels = many
    expected = sklearn_metrics.top_k_accuracy_score(labels, logits, k=k, labels=np.arange(7))
    assert metrics.top_k(logits, labels, k) == pytest.approx(expected)


def test_the_others_as_scikit_learn_computes_them(many):
    logits, labels = many
    answers = logits.argmax(axis=1)
    shares = np.exp(logits.astype(np.float64))
    shares /= shares.sum(axis=1, keepdims=True)
    assert metrics.mean_class(logits, labels) == pytest.approx(sklearn_metrics.balanced_accuracy_score(labels, answers))
    assert metrics.macro_f1(logits, labels) == pytest.approx(sklearn_metrics.f1_score(labels, answers, average="macro"))
    assert (metrics.confusion(logits, labels) == sklearn_metrics.confusion_matrix(labels, answers, labels=np.arange(7))).all()
    assert metrics.cross_entropy(logits, labels) == pytest.approx(sklearn_metrics.log_loss(labels, shares, labels=np.arange(7)))


@pytest.mark.parametrize("form", [lambda logits, labels: logits, partial(TopLogits.of, kept=8)], ids=["all", "highest"])
def test_logits_that_are_no_numbers_are_never_a_hit(form):
    logits = np.full((3, 9), np.nan, dtype=np.float32)
    logits[2, 5:] = 1
    for k in (1, 6):
        assert metrics.top_k(form(logits, np.arange(3)), np.arange(3), k) == 0
