import numpy as np
import pytest

from actionrec.evaluation import calibration, ensembles, metrics
from actionrec.evaluation import logits as module
from actionrec.evaluation.logits import MOST_DENSE, TopLogits, answers, blocks, class_count, compact, joined

COUNT, CLASSES = 400, 300


@pytest.fixture(scope="module")
def table():
    """Logits as a trained model gives them: calibrated, right for half the clips; and the true classes."""
    rng = np.random.default_rng(0)
    plain = rng.normal(0, 1, (COUNT, CLASSES)) + 6 * (rng.random((COUNT, CLASSES)) < 0.01)
    labels = np.array([rng.choice(CLASSES, p=row) for row in calibration.softmax(plain)])
    return plain.astype(np.float32), labels


@pytest.fixture(scope="module")
def top(table):
    return TopLogits.of(*table)


def test_the_highest_logits_and_the_clip_s_own_are_kept(table, top):
    logits, labels = table
    ordered = np.argsort(-logits, axis=1, kind="stable")
    assert np.array_equal(top.classes[:, :-1], ordered[:, :19])
    among = (ordered[:, :20] == labels[:, None]).any(axis=1)
    assert among.any()
    assert not among.all()
    assert np.array_equal(top.classes[among, -1], ordered[among, 19])
    assert np.array_equal(top.classes[~among, -1], labels[~among])
    assert np.array_equal(top.values, np.take_along_axis(logits, top.classes.astype(int), axis=1))
    assert (len(top), class_count(top), class_count(logits)) == (COUNT, CLASSES, CLASSES)


def test_of_equal_logits_the_lower_class_comes_first():
    logits = np.zeros((3, 30), dtype=np.float32)
    logits[:, [3, 7]] = 1
    top = TopLogits.of(logits, np.array([7, 3, 29]), kept=4)
    assert top.classes[:, :2].tolist() == [[3, 7]] * 3
    assert top.rank(np.array([7, 3, 29])).tolist() == [1, 0, 3]
    assert np.array_equal(answers(top), answers(logits))


def test_of_many_equal_logits_those_of_the_lowest_classes_are_kept():
    """As of a network whose output is constant, and of an ensemble's probabilities of almost 0."""
    rng = np.random.default_rng(0)
    logits = (9 * (rng.random((200, 700)) < 1 / 400)).astype(np.float32)
    labels = np.where(rng.random(200) < 0.5, rng.integers(0, 25, 200), rng.integers(0, 700, 200))
    top = TopLogits.of(logits, labels)
    assert np.array_equal(top.classes[:, :-1], np.argsort(-logits, axis=1, kind="stable")[:, :19])
    assert np.array_equal(answers(top), answers(logits))
    for k in (1, 5):
        assert np.array_equal(metrics.correct_at_k(top, labels, k), metrics.correct_at_k(logits, labels, k))


def test_measures_of_answers_are_exact(table, top):
    logits, labels = table
    assert np.array_equal(answers(top), answers(logits))
    for k in (1, 5, 19, CLASSES, CLASSES + 1):
        assert np.array_equal(metrics.correct_at_k(top, labels, k), metrics.correct_at_k(logits, labels, k))
    assert 0 < metrics.top_k(top, labels, 1) < metrics.top_k(top, labels, 5) < 1
    assert np.array_equal(metrics.confusion(top, labels), metrics.confusion(logits, labels))
    assert metrics.mean_class(top, labels) == metrics.mean_class(logits, labels)
    assert metrics.macro_f1(top, labels) == metrics.macro_f1(logits, labels)
    assert metrics.cross_entropy(top, labels) == pytest.approx(metrics.cross_entropy(logits, labels), rel=1e-6)
    few, all_ = (calibration.confidences(one, labels) for one in (top, logits))
    np.testing.assert_allclose(few.top, all_.top, rtol=1e-5)
    assert np.array_equal(few.correct, all_.correct)
    with pytest.raises(ValueError, match="20 classes are kept: too few to tell whether its own is among the 20 highest"):
        metrics.correct_at_k(top, labels, 20)


@pytest.fixture(scope="module")
def flat():
    """Logits of an unsure model: those of wrong classes are uniformly distributed; and the true classes."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, CLASSES, COUNT)
    return (rng.uniform(0, 3, (COUNT, CLASSES)) + 2 * np.eye(CLASSES)[labels]).astype(np.float32), labels


@pytest.mark.parametrize("model", ["table", "flat"])
@pytest.mark.parametrize("temperature", [0.03, 0.05, 0.2, 0.5, 0.8, 1.3, 2.0, 20.0])
def test_other_temperatures_are_close(request, model, temperature):
    logits, labels = request.getfixturevalue(model)
    top = TopLogits.of(logits, labels)
    exact, found = (calibration.confidences(one, labels, temperature).top for one in (logits, top))
    assert np.abs(found - exact).max() < 0.003
    loss = metrics.cross_entropy(logits, labels, temperature)
    assert metrics.cross_entropy(top, labels, temperature) == pytest.approx(loss, rel=0.002)


@pytest.mark.parametrize("model", ["table", "flat"])
@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_the_fitted_temperature_is_close(request, model, strength):
    table, labels = request.getfixturevalue(model)
    logits = table * np.float32(strength)
    fitted = calibration.fit_temperature(TopLogits.of(logits, labels), labels)
    assert fitted == pytest.approx(calibration.fit_temperature(logits, labels), rel=0.01)


def test_probabilities_are_those_of_the_kept_classes_and_sum_to_1(table, top):
    exact, found = calibration.softmax(table[0]), calibration.probabilities(top)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    kept = top.classes.astype(int)
    np.testing.assert_allclose(np.take_along_axis(found, kept, axis=1), np.take_along_axis(exact, kept, axis=1), rtol=1e-5)
    assert np.array_equal(found.argmax(axis=1), exact.argmax(axis=1))


def test_ensembles_are_close(table, top):
    logits, labels = table
    rng = np.random.default_rng(2)
    members = [(logits + rng.normal(0, noise, logits.shape)).astype(np.float32) for noise in (0.3, 0.6, 3)]
    exact = ensembles.average(members, labels)
    found = ensembles.average([TopLogits.of(one, labels) for one in members], labels)
    assert isinstance(found, TopLogits)
    assert (answers(found) == answers(exact)).mean() > 0.99
    assert metrics.cross_entropy(found, labels) == pytest.approx(metrics.cross_entropy(exact, labels), rel=0.02)
    named = dict(zip("abc", members, strict=True))
    tops = {name: TopLogits.of(one, labels) for name, one in named.items()}
    assert ensembles.best_subset(tops, labels) == ensembles.best_subset(named, labels) == ("a", "b")


def test_labels_do_not_change_the_answers_of_ensembles():
    """Else an unsure ensemble would be correct too often: of low logits, only those of the clip's own class are kept."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, 2000)
    alike = rng.normal(0, 0.3, (2000, CLASSES)) + np.eye(CLASSES)[labels]
    members = [(alike + rng.normal(0, 0.3, alike.shape)).astype(np.float32) for _ in range(3)]
    tops, of_other_labels = ([TopLogits.of(one, kept) for one in members] for kept in (labels, (labels + 1) % CLASSES))
    found = ensembles.average(tops, labels)
    assert np.array_equal(answers(found), answers(ensembles.average(of_other_labels, labels)))
    exact = metrics.top_k(ensembles.average(members, labels), labels, 1)
    assert metrics.top_k(found, labels, 1) == pytest.approx(exact, abs=0.01)


def test_labels_of_other_clips_are_refused(table, top):
    with pytest.raises(ValueError, match="labels of other clips"):
        top.rank((table[1] + 150) % CLASSES)


def test_tables_are_chosen_from_and_joined(table, top):
    logits, labels = table
    rows = np.arange(COUNT) % 3 == 0
    both = joined([top[rows], top[~rows]])
    order = np.argsort(np.concatenate([np.flatnonzero(rows), np.flatnonzero(~rows)]))
    for column in ("classes", "values", "rest"):
        assert np.array_equal(getattr(both[order], column), getattr(top, column))
    assert np.array_equal(joined([logits[rows], logits[~rows]])[order], logits)
    assert len(TopLogits.of(logits[:0], labels[:0])) == 0


def test_tables_of_different_forms_are_not_joined(table, top):
    with pytest.raises(ValueError, match="1 tables have all logits, and 2 the highest alone"):
        joined([top, table[0], top])


def test_blocks_change_nothing(table, top, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 7 * CLASSES)
    again = TopLogits.of(*table)
    for column in ("classes", "values", "rest"):
        assert np.array_equal(getattr(again, column), getattr(top, column))
    assert [(one.start, one.stop) for one in blocks(16, CLASSES)] == [(0, 7), (7, 14), (14, 16)]


def test_only_of_many_classes_the_highest_are_kept():
    labels = np.zeros(2, dtype=np.int64)
    few = np.zeros((2, MOST_DENSE), dtype=np.float32)
    assert compact(few, labels) is few
    assert isinstance(compact(np.zeros((2, MOST_DENSE + 1), dtype=np.float32), labels), TopLogits)
