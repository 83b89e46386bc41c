"""Filters, order and answers of the test clips, compared with NumPy on fabricated answers."""

import numpy as np
import pytest

from actionrec.web.evaluated_clips import ClipQuery, EvaluatedClips
from actionrec.web.predict_request import RequestError
from actionrec.web.stored_answers import StoredAnswers

CLASSES = tuple(f"class {number}" for number in range(50))
COUNT = 10_000
MODELS = ("best", "second", "third")


@pytest.fixture(scope="module")
def evaluated():
    random = np.random.default_rng(0)
    clips = np.array([f"a/{place:05}.avi" for place in range(COUNT - 1)])
    clips = np.append(clips, clips[-1])  # tested in two folds
    folds = np.append(np.zeros(COUNT - 1, dtype=np.int32), np.int32(1))
    labels = random.integers(0, len(CLASSES), COUNT).astype(np.int32)
    answers = {}
    for name in MODELS:
        predicted = np.where(random.random(COUNT) < 0.7, labels, random.integers(0, len(CLASSES), COUNT)).astype(np.int32)
        answers[name] = StoredAnswers(clips, labels, folds, predicted, random.random(COUNT).astype(np.float32))
    return EvaluatedClips(
        CLASSES, answers, ["", "one", "two"], random.integers(0, 3, COUNT).astype(np.int32), random.random(COUNT) < 0.01, {}
    )


def query(**values):
    return ClipQuery.model_validate(values)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, lambda own, _: own.labels >= 0),
        ({"true": "class 3"}, lambda own, _: own.labels == 3),
        ({"predicted": "class 4", "correct": "false"}, lambda own, _: (own.predicted == 4) & (own.labels != 4)),
        ({"correct": "true"}, lambda own, _: own.predicted == own.labels),
        (
            {"min_confidence": 0.25, "max_confidence": 0.5},
            lambda own, _: (own.confidence >= 0.25) & (own.confidence <= 0.5),
        ),
        ({"group": "two"}, lambda _, known: known.group_of == 2),
        ({"group": "three"}, lambda own, _: own.labels < 0),
        ({"suspect": "true"}, lambda _, known: known.suspect),
        (
            {"disagree": "true"},
            lambda _, known: np.ptp([one.predicted for one in known.answers.values()], axis=0) > 0,
        ),
        ({"disagree": "false", "correct": "false"}, lambda own, known: ~known.disagree & (own.predicted != own.labels)),
    ],
)
@pytest.mark.parametrize("model", MODELS[:2])
def test_filters_keep_what_they_say(evaluated, filters, expected, model):
    rows = evaluated.matches(query(model=model, **filters))
    np.testing.assert_array_equal(rows, np.flatnonzero(expected(evaluated.answers[model], evaluated)))


def test_orders(evaluated):
    own = evaluated.answers["best"]
    confidence = own.confidence[evaluated.matches(query(sort="most_confident"))]
    assert (np.diff(confidence) <= 0).all()
    assert (np.diff(own.confidence[evaluated.matches(query(sort="least_confident", correct=False))]) >= 0).all()
    correct = np.sum([one.predicted == one.labels for one in evaluated.answers.values()], axis=0)
    fewest = evaluated.matches(query(sort="fewest_correct"))
    np.testing.assert_array_equal(fewest, np.argsort(correct, kind="stable"))


def test_pages_are_disjoint_and_complete(evaluated):
    wrong = {"model": "second", "correct": False, "true": "class 1", "limit": 10}
    first = evaluated.listed(query(**wrong))
    assert first.total == len(evaluated.matches(query(**wrong))) > 20
    assert (first.model, first.models) == ("second", 3)
    pages = [evaluated.listed(query(**wrong, offset=offset)).clips for offset in range(0, first.total + 10, 10)]
    listed = [one.clip for page in pages for one in page]
    assert pages[-1] == []
    assert len(listed) == first.total
    assert listed == sorted(set(listed))
    assert {(one.label, one.correct) for page in pages for one in page} == {("class 1", False)}


def test_a_listed_clip_has_the_models_answer(evaluated):
    row = 1234
    (one,) = evaluated.listed(query(model="third", offset=row, limit=1)).clips
    own = evaluated.answers["third"]
    assert one.clip == own.clips[row]
    assert (one.label, one.predicted) == (CLASSES[own.labels[row]], CLASSES[own.predicted[row]])
    assert one.confidence == pytest.approx(float(own.confidence[row]))
    assert one.correct == (one.label == one.predicted)
    assert one.correct_models == sum(other.predicted[row] == own.labels[row] for other in evaluated.answers.values())
    assert one.group == ["", "one", "two"][evaluated.group_of[row]]
    assert one.suspect == evaluated.suspect[row]


def test_a_clip_has_the_answers_of_all_models_in_each_fold(evaluated):
    told = evaluated.answers_for("a/00007.avi")
    assert [one.model for one in told.answers] == list(MODELS)
    assert [one.label for one in told.answers] == [CLASSES[one.predicted[7]] for one in evaluated.answers.values()]
    twice = evaluated.answers_for(f"a/{COUNT - 2:05}.avi")
    assert [(one.fold, one.model) for one in twice.answers] == [(fold, name) for fold in (0, 1) for name in MODELS]


def test_choices_count_what_there_is(evaluated):
    told = evaluated.choices()
    assert told.models == list(MODELS)
    assert sum(one.clips for one in told.classes) == told.tests == COUNT
    assert told.groups == ["one", "two"]
    assert told.folds == [0, 1]
    assert told.suspects == len(evaluated.matches(query(suspect=True)))
    assert told.disagreements == len(evaluated.matches(query(disagree=True)))


def test_confusions_are_of_the_model(evaluated):
    told = evaluated.confusion("second")
    own = evaluated.answers["second"]
    assert np.trace(told.counts) == told.correct == (own.predicted == own.labels).sum()
    pair = told.pairs[0]
    assert pair.clips == evaluated.listed(query(model="second", true=pair.true, predicted=pair.predicted)).total
    assert evaluated.confusion(None).model == "best"


@pytest.mark.parametrize(
    ("ask", "status", "message"),
    [
        (
            lambda known: known.listed(query(model="nix")),
            404,
            "model 'nix': no stored predictions; there are those of best, second",
        ),
        (lambda known: known.listed(query(true="nix")), 400, "true: no such class, got 'nix'."),
        (lambda known: known.listed(query(predicted="nix")), 400, "predicted: no such class, got 'nix'."),
        (lambda known: known.answers_for("a/1.avi"), 404, "clip 'a/1.avi': no such test clip."),
        (lambda known: known.require("a/00001.avi\0"), 404, "clip 'a/00001.avi\\x00': no such test clip."),
        (lambda known: known.require("../a/00001.avi"), 404, "clip '../a/00001.avi': no such test clip."),
        (lambda known: known.confusion("nix"), 404, "model 'nix'"),
    ],
)
def test_what_does_not_exist_is_named(evaluated, ask, status, message):
    with pytest.raises(RequestError) as refused:
        ask(evaluated)
    assert refused.value.status_code == status
    assert str(refused.value).startswith(message)
