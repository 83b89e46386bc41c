"""Analyses of trained models beyond their ranking: baselines, order of frames, calibration, ensembles, cost, errors.

Computes the rows of tables and the points of plots from logits. n clips, K classes, S seeds. Accuracies are fractions from 0 to
1; p-values are two-sided, from tests of whole clusters, and Holm-corrected within their table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support

from actionrec.evaluation import calibration, ensembles, metrics
from actionrec.evaluation.calibration import Reliability
from actionrec.evaluation.intervals import Interval, cluster_interval
from actionrec.evaluation.predictions import Answers, Predictions
from actionrec.evaluation.significance_tests import SIGNIFICANCE, cluster_difference, holm
from actionrec.evaluation.trained_models import TrainedModel


@dataclass(frozen=True)
class Difference:
    """Top-1 of one set of answers minus that of another on the same clips."""

    points: float
    """As a fraction; above 0 if the first is better."""
    interval: Interval
    p: float
    """Holm-corrected."""

    @property
    def is_real(self) -> bool:
        return self.p < SIGNIFICANCE

    @property
    def verdict(self) -> str:
        return "tie" if not self.is_real else "better" if self.points > 0 else "worse"


@dataclass(frozen=True)
class Baseline:
    """A classifier without a sequence model."""

    name: str
    top1: float
    interval: Interval
    parameters: int
    gains: dict[str, Difference]
    """Model -> its top-1 minus the baseline's."""


@dataclass(frozen=True)
class Order:
    """One model's top-1 with the order of frames changed."""

    model: str
    top1: float
    """Of the saved model, with the frames in order."""
    changed: dict[str, float]
    """Top-1 with frames shuffled, reversed, one frame repeated."""
    shuffling: Difference
    """Top-1 with the frames in order minus top-1 with shuffled frames."""


@dataclass(frozen=True)
class Calibration:
    """One model's calibration error on test clips, before and after temperature scaling."""

    model: str
    temperature: float | None
    """Fitted on validation clips; None if there are none, or if all are answered correctly."""
    error: float
    """Expected calibration error, 15 bins."""
    calibrated_error: float
    before: Reliability
    after: Reliability


@dataclass(frozen=True)
class Ensemble:
    """An average of several models' probabilities."""

    name: str
    """`all`, `best pair` or `best triple`."""
    members: tuple[str, ...]
    top1: float
    interval: Interval
    gain: Difference
    """Over the model ranked first."""


@dataclass(frozen=True)
class ModelCost:
    """What a prediction costs, without the backbone."""

    model: str
    top1: float
    parameters: int
    flops: int
    """Multiplications and additions for one clip."""
    latency_ms: float
    """Median, one clip at a time, on a CPU."""
    memory_mb: float
    on_front: bool
    """On the Pareto front: no other model is as accurate with fewer operations, or more accurate with as few."""


@dataclass(frozen=True)
class ClassScore:
    """One model's scores for one class."""

    name: str
    clips: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Missed:
    """A test clip that no model classifies correctly."""

    clip: str
    label: str
    answers: dict[str, str]
    """Model -> predicted class."""


@dataclass(frozen=True)
class Analyses:
    """The results of all analyses."""

    baselines: list[Baseline]
    orders: list[Order]
    calibrations: list[Calibration]
    ensembles: list[Ensemble]
    costs: list[ModelCost]
    class_scores: dict[str, list[ClassScore]]
    """Model -> its classes."""
    missed: list[Missed]
    audit: dict[str, Any]
    """metrics/audit.json."""


CorrectShares = NDArray[np.float64]
"""(n,): for each clip 1 if the answer is correct and 0 if not, or the share of seeds with a correct answer."""


def differences(pairs: Mapping[str, tuple[CorrectShares, CorrectShares]], clusters: NDArray[np.int64]) -> dict[str, Difference]:
    """Test pairs of correct shares (n,) on the same clips; Holm-corrected over all pairs."""
    tests = {name: cluster_difference(first, second, clusters) for name, (first, second) in pairs.items()}
    corrected = holm([test.p for test in tests.values()])
    return {name: Difference(test.difference, test.interval, p) for (name, test), p in zip(tests.items(), corrected, strict=True)}


def against_baselines(
    models: Mapping[str, Predictions], baselines: Mapping[str, Predictions], parameters: Mapping[str, int]
) -> list[Baseline]:
    """Compare every model with each baseline; corrected over the models within each baseline.

    Not corrected over the baselines: sequence modelling is reported to help only if a model is better than every baseline, and
    a claim that needs all its tests to pass needs no correction for their number.
    """
    clusters = next(iter(models.values())).test.clusters
    correct = {name: predictions.correct() for name, predictions in models.items()}
    rows = []
    for name, predictions in baselines.items():
        baseline = predictions.correct()
        gains = differences({model: (own, baseline) for model, own in correct.items()}, clusters)
        rows.append(Baseline(name, float(baseline.mean()), cluster_interval(baseline, clusters), parameters[name], gains))
    return rows


def order_of_frames(models: Mapping[str, Predictions]) -> list[Order]:
    """Top-1 with the frames' order changed, and whether shuffling hurts; corrected over the models."""
    plain, changed = {}, {}
    for name, one in models.items():
        test = one.test
        plain[name] = _correct(test.logits, test)
        changed[name] = {change: _correct(logits, test) for change, logits in test.changed.items()}
    tests = differences({name: (plain[name], changed[name]["shuffled"]) for name in models}, test.clusters)
    shares = {name: {change: float(correct.mean()) for change, correct in changed[name].items()} for name in models}
    return [Order(name, float(plain[name].mean()), shares[name], tests[name]) for name in models]


def calibrations(models: Sequence[TrainedModel]) -> list[Calibration]:
    """Expected calibration error on test clips, before and after division by the temperature that training fitted."""
    rows = []
    for model in models:
        test, temperature = model.test, model.temperature
        before, after = calibration.softmax(test.logits), calibration.softmax(test.logits, temperature or 1.0)
        labels = test.labels
        rows.append(
            Calibration(
                model.name,
                temperature,
                calibration.expected_calibration_error(before, labels),
                calibration.expected_calibration_error(after, labels),
                calibration.reliability(before, labels),
                calibration.reliability(after, labels),
            )
        )
    return rows


def combined(models: Mapping[str, Predictions], first: str) -> list[Ensemble]:
    """Ensembles of all models and, if there are validation clips to choose them on, of the best pair and triple.

    Args:
        first: the model ranked first, which the ensembles are tested against.
    """
    best = models[first]
    chosen = {"all": tuple(models)}
    if len(best.val.labels):
        probabilities = {name: calibration.softmax(one.val.logits) for name, one in models.items()}
        for name, size in (("best pair", 2), ("best triple", 3)):
            chosen[name] = ensembles.best_subset(probabilities, best.val.labels, sizes=(size,))
    averaged = {name: ensembles.average([models[member].test.logits for member in members]) for name, members in chosen.items()}
    correct = {name: _correct(logits, best.test) for name, logits in averaged.items()}
    own = _correct(best.test.logits, best.test)
    tests = differences({name: (shares, own) for name, shares in correct.items()}, best.test.clusters)
    return [
        Ensemble(name, members, float(correct[name].mean()), cluster_interval(correct[name], best.test.clusters), tests[name])
        for name, members in chosen.items()
    ]


def costs(models: Sequence[TrainedModel], timings: Mapping[str, tuple[float, float]]) -> list[ModelCost]:
    """Accuracy and cost of the saved models, and which of them are on the Pareto front.

    Args:
        timings: model -> milliseconds a clip, megabytes.
    """
    points = {model.name: (model.test_top1, model.flops) for model in models}

    def dominated(name: str) -> bool:
        top1, flops = points[name]
        return any((other >= top1 and less < flops) or (other > top1 and less <= flops) for other, less in points.values())

    return [
        ModelCost(model.name, model.test_top1, model.parameters, model.flops, *timings[model.name], not dominated(model.name))
        for model in models
    ]


def _correct(logits: NDArray[np.float32], answers: Answers) -> CorrectShares:
    return metrics.correct_at_k(logits, answers.labels, 1).astype(np.float64)


def class_scores(predictions: Predictions, class_names: Sequence[str]) -> list[ClassScore]:
    """Precision, recall and F1 of each class that has test clips; 0 instead of 0 / 0."""
    labels, answers = predictions.test.labels, predictions.test.logits.argmax(axis=1)
    numbers = np.unique(labels)
    scores = precision_recall_fscore_support(labels, answers, labels=numbers, zero_division=0)
    return [
        ClassScore(class_names[number], int(clips), float(precision), float(recall), float(f1))
        for number, precision, recall, f1, clips in zip(numbers, *scores, strict=True)
    ]


def missed_by_all(models: Mapping[str, Predictions], class_names: Sequence[str]) -> list[Missed]:
    """Test clips that every model classifies wrongly, sorted by clip."""
    test = next(iter(models.values())).test
    answers = {name: one.test.logits.argmax(axis=1) for name, one in models.items()}
    wrong = np.all([answer != test.labels for answer in answers.values()], axis=0)
    return [
        Missed(
            str(test.clips[row]),
            class_names[test.labels[row]],
            {name: class_names[answer[row]] for name, answer in answers.items()},
        )
        for row in np.flatnonzero(wrong)
    ]


def summary(results: Analyses) -> dict[str, Any]:
    """The part of compare.json about the analyses; without timings, so it is the same on every run."""
    return {
        "baselines": [
            {"name": one.name, "top1": one.top1, "top1_low": one.interval.low, "top1_high": one.interval.high}
            for one in results.baselines
        ],
        "ensembles": [
            {"name": one.name, "members": list(one.members), "top1": one.top1, **_difference(one.gain)} for one in results.ensembles
        ],
        "gains": [
            {"model": model, "baseline": one.name, **_difference(gain)}
            for one in results.baselines
            for model, gain in one.gains.items()
        ],
        "order_of_frames": [
            {"model": one.model, "top1": one.top1, **one.changed, **_difference(one.shuffling)} for one in results.orders
        ],
        "missed_by_all": [one.clip for one in results.missed],
    }


def _difference(test: Difference) -> dict[str, Any]:
    low, high = test.interval.low, test.interval.high
    return {"difference": test.points, "difference_low": low, "difference_high": high, "p": test.p, "verdict": test.verdict}
