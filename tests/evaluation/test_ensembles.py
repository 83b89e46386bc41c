import numpy as np
import pytest

from actionrec.evaluation import metrics
from actionrec.evaluation.calibration import softmax
from actionrec.evaluation.ensembles import as_logits, average, best_subset

LABELS = np.array([0, 1, 2, 0])


def answers(*classes, sure=0.9):
    """Probabilities of four clips and three classes: `sure` for the named class."""
    shares = np.full((len(classes), 3), (1 - sure) / 2)
    shares[np.arange(len(classes)), classes] = sure
    return shares


def best(members, labels, **sizes):
    """The best subset of models that have these probabilities."""
    return best_subset({name: np.log(shares) for name, shares in members.items()}, labels, **sizes)


def test_the_average_is_of_probabilities():
    first, second = np.log([[0.8, 0.1, 0.1]]).astype(np.float32), np.log([[0.2, 0.6, 0.2]]).astype(np.float32) + 5
    np.testing.assert_allclose(softmax(average([first, second], LABELS[:1])), [[0.5, 0.35, 0.15]], rtol=1e-6)


def test_an_average_can_be_used_like_a_model_s_logits():
    rng = np.random.default_rng(0)
    logits = [rng.normal(0, 3, (50, 4)).astype(np.float32) for _ in range(3)]
    labels = rng.integers(0, 4, 50)
    together = average(logits, labels)
    shares = np.mean([softmax(one) for one in logits], axis=0)
    assert together.dtype == np.float32
    assert together.shape == (50, 4)
    assert metrics.top_k(together, labels, 1) == (shares.argmax(axis=1) == labels).mean()
    assert metrics.cross_entropy(together, labels) == pytest.approx(-np.log(shares[np.arange(50), labels]).mean(), rel=1e-6)


def test_the_average_of_one_model_is_that_model():
    logits = np.random.default_rng(0).normal(0, 3, (20, 5)).astype(np.float32)
    np.testing.assert_allclose(softmax(average([logits], np.zeros(20, dtype=np.int64))), softmax(logits), rtol=1e-5)


def test_a_probability_of_0_has_a_finite_logit():
    logits = as_logits(np.array([[1.0, 0.0], [1e-320, 1.0]]))
    assert np.isfinite(logits).all()
    assert logits.argmax(axis=1).tolist() == [0, 1]


def test_three_models_with_errors_on_different_clips_are_the_best_ensemble():
    members = {
        "a": answers(0, 1, 2, 1),
        "b": answers(0, 1, 0, 0),
        "c": answers(0, 2, 2, 0),
        "bad": answers(1, 2, 0, 2),
    }
    assert best(members, LABELS) == ("a", "b", "c")


def test_among_equal_top_1_the_lower_cross_entropy_is_chosen():
    members = {"a": answers(0, 1, 2, 0, sure=0.5), "b": answers(0, 1, 2, 0, sure=0.6), "c": answers(0, 1, 2, 0, sure=0.9)}
    assert best(members, LABELS) == ("b", "c")


def test_among_equal_cross_entropies_fewer_members_are_chosen_and_then_the_first_by_name():
    same = answers(0, 1, 2, 1, sure=0.7)
    members = dict.fromkeys(("d", "c", "b", "a"), same)
    assert best(members, LABELS) == ("a", "b")
    assert best(members, LABELS, sizes=(3, 1)) == ("a",)
    assert best(members, LABELS, sizes=(3,)) == ("a", "b", "c")


def test_fewer_members_come_before_the_first_by_name():
    """a is the mean of b and c, so that it changes nothing about the two; with either alone it is worse than they are."""
    b, c = answers(0, 1, 2, 0, sure=0.9), answers(0, 1, 2, 0, sure=0.9)
    b[:2], c[2:] = answers(0, 1, sure=0.5), answers(2, 0, sure=0.5)
    assert best({"a": (b + c) / 2, "b": b, "c": c}, LABELS) == ("b", "c")


def test_accuracy_comes_before_confidence():
    correct = {"a": answers(0, 1, 2, 0, sure=0.4), "b": answers(0, 1, 2, 0, sure=0.4)}
    surer = {"c": answers(0, 1, 2, 1, sure=0.9), "d": answers(0, 1, 2, 1, sure=0.9)}
    assert best({**surer, **correct}, LABELS, sizes=(2,)) == ("a", "b")


def test_invalid_members_raise_an_error():
    with pytest.raises(ValueError, match="at least one model"):
        average([], LABELS)
    with pytest.raises(ValueError, match=r"\(3, 2\).*\(4, 2\)"):
        average([np.zeros((3, 2)), np.zeros((4, 2))], LABELS)
    with pytest.raises(ValueError, match="of 1 models"):
        best({"a": answers(0, 1, 2, 0)}, LABELS)
    with pytest.raises(ValueError, match="at least one clip"):
        best({"a": answers()[:0], "b": answers()[:0]}, LABELS[:0])
