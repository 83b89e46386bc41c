"""Analyses of trained models beyond their ranking: baselines, order of frames, calibration, ensembles, cost, errors.

Computes the rows of tables and the points of plots from logits. n clips, K classes, S seeds. Accuracies are fractions from 0 to
1; tests are joint within their table (`paired_tests`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support

from actionrec.evaluation import calibration, ensembles, metrics, tuning_result
from actionrec.evaluation.calibration import Reliability
from actionrec.evaluation.clip_cost import BackboneCost, ClipTiming, cheaper
from actionrec.evaluation.group_scores import GroupScore
from actionrec.evaluation.intervals import Interval, cluster_interval
from actionrec.evaluation.logits import Logits, answers
from actionrec.evaluation.predictions import Answers, Predictions
from actionrec.evaluation.risk_coverage import RiskCoverage
from actionrec.evaluation.significance_tests import PairedTest, paired_tests
from actionrec.evaluation.suspect_labels import LabelCheck
from actionrec.evaluation.trained_models import TrainedModel
from actionrec.evaluation.tuning_result import TuningResult


@dataclass(frozen=True)
class Baseline:
    """A model that ignores the order of frames, and the gain of each sequence model over it."""

    name: str
    gains: dict[str, PairedTest]
    """Sequence model -> the test of its top-1 minus the baseline's."""


@dataclass(frozen=True)
class Order:
    """One model's top-1 with the order of frames changed."""

    model: str
    top1: float
    """Of the saved model, with the frames in order."""
    changed: dict[str, float]
    """Top-1 with frames shuffled, reversed, one frame repeated."""
    shuffling: PairedTest
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
    gain: PairedTest
    """Over the model ranked first."""


@dataclass(frozen=True)
class ModelCost:
    """What a prediction for one clip costs: of the sequence model alone, and in total."""

    model: str
    top1: float
    parameters: int
    flops: int
    """Multiplications and additions."""
    latency_ms: float
    """Median, one clip at a time, on a CPU."""
    memory_mb: float
    backbone: BackboneCost
    timing: ClipTiming
    on_front: bool = False
    """On the Pareto front: no other model is as accurate at a lower total cost, or more accurate at the same."""

    @property
    def total_params(self) -> int:
        return self.backbone.parameters + self.parameters

    @property
    def total_flops(self) -> int:
        return self.backbone.flops + self.flops

    @property
    def total_ms(self) -> float:
        """From the clip's file to the answer."""
        return self.timing.decode_ms + self.timing.backbone_ms + self.latency_ms

    @property
    def total_memory_mb(self) -> float:
        """Of both networks; an upper bound, because they do not reach their peaks at the same time."""
        return self.backbone.memory_mb + self.memory_mb


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
    groups: dict[str, list[GroupScore]]
    """Model -> its groups."""
    risks: dict[str, RiskCoverage]
    """In order of rank."""
    missed: list[Missed]
    label_checks: list[LabelCheck]
    """Of all test clips, the least probable label first."""
    audit: dict[str, Any]
    """metrics/audit.json."""
    tuning: TuningResult | None = None
    """None if the backbone is frozen."""


def against_baselines(models: Mapping[str, Predictions], baselines: Sequence[str]) -> list[Baseline]:
    """Compare every sequence model with each baseline; the tests of one baseline are joint.

    Not corrected over the baselines: sequence modelling is reported to help only if a model is better than every baseline, and
    a claim that needs all its tests to pass needs no correction for their number.
    """
    clusters = next(iter(models.values())).test.clusters
    correct = {name: predictions.correct() for name, predictions in models.items()}
    sequence_models = [name for name in models if name not in baselines]
    rows = []
    for baseline in baselines:
        tests = paired_tests([(correct[name], correct[baseline]) for name in sequence_models], clusters)
        rows.append(Baseline(baseline, dict(zip(sequence_models, tests, strict=True))))
    return rows


def order_of_frames(models: Mapping[str, Predictions]) -> list[Order]:
    """Top-1 of the saved models with the frames' order changed, and whether shuffling hurts."""
    plain, changed = {}, {}
    for name, one in models.items():
        test = one.test
        plain[name] = _correct(test.logits, test)
        changed[name] = {change: _correct(logits, test) for change, logits in test.changed.items()}
    tests = dict(
        zip(models, paired_tests([(plain[name], changed[name]["shuffled"]) for name in models], test.clusters), strict=True)
    )
    shares = {name: {change: float(correct.mean()) for change, correct in changed[name].items()} for name in models}
    return [Order(name, float(plain[name].mean()), shares[name], tests[name]) for name in models]


def calibrations(models: Sequence[TrainedModel]) -> list[Calibration]:
    """Expected calibration error before and after division by the temperature that training fitted.

    On the test clips of the saved model's fold: the temperature is that model's.
    """
    rows = []
    for model in models:
        test, temperature = model.predictions.saved_test, model.temperature
        before, after = (calibration.confidences(test.logits, test.labels, one) for one in (1.0, temperature or 1.0))
        rows.append(
            Calibration(
                model.name,
                temperature,
                calibration.expected_calibration_error(before),
                calibration.expected_calibration_error(after),
                calibration.reliability(before),
                calibration.reliability(after),
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
        logits = {name: one.val.logits for name, one in models.items()}
        for name, size in (("best pair", 2), ("best triple", 3)):
            chosen[name] = ensembles.best_subset(logits, best.val.labels, sizes=(size,))
    test_logits, labels = {name: one.test.logits for name, one in models.items()}, best.test.labels
    averaged = {name: ensembles.average([test_logits[member] for member in members], labels) for name, members in chosen.items()}
    correct = {name: _correct(one, best.test) for name, one in averaged.items()}
    own = _correct(best.test.logits, best.test)
    tests = dict(zip(correct, paired_tests([(shares, own) for shares in correct.values()], best.test.clusters), strict=True))
    return [
        Ensemble(name, members, float(correct[name].mean()), cluster_interval(correct[name], best.test.clusters), tests[name])
        for name, members in chosen.items()
    ]


def costs(
    models: Sequence[TrainedModel], timings: Mapping[str, tuple[float, float]], backbone: BackboneCost, timing: ClipTiming
) -> list[ModelCost]:
    """Accuracy (mean over the seeds) and cost, and which models are on the Pareto front.

    Args:
        timings: model -> milliseconds a clip, megabytes; without the backbone.
        timing: of a clip from its file to its features.
    """
    rows = [
        ModelCost(
            model.name,
            float(model.predictions.correct().mean(axis=1).mean()),  # rounded like the leaderboard's
            model.parameters,
            model.flops,
            *timings[model.name],
            backbone,
            timing,
        )
        for model in models
    ]

    def dominates(one: ModelCost, other: ModelCost) -> bool:
        if cheaper(one.total_flops, other.total_flops):
            return one.top1 >= other.top1
        return one.top1 > other.top1 and not cheaper(other.total_flops, one.total_flops)

    return [replace(row, on_front=not any(dominates(one, row) for one in rows)) for row in rows]


def _correct(logits: Logits, test: Answers) -> NDArray[np.float64]:
    return metrics.correct_at_k(logits, test.labels, 1).astype(np.float64)


def class_scores(predictions: Predictions, class_names: Sequence[str]) -> list[ClassScore]:
    """Precision, recall and F1 of each class that has test clips; 0 instead of 0 / 0."""
    test = predictions.test
    numbers = np.unique(test.labels)
    scores = precision_recall_fscore_support(test.labels, answers(test.logits), labels=numbers, zero_division=0)
    return [
        ClassScore(class_names[number], int(clips), float(precision), float(recall), float(f1))
        for number, precision, recall, f1, clips in zip(numbers, *scores, strict=True)
    ]


def missed_by_all(models: Mapping[str, Predictions], class_names: Sequence[str]) -> list[Missed]:
    """Test clips that every model classifies wrongly, in each fold that tests them; sorted by clip."""
    test = next(iter(models.values())).test
    answered = {name: answers(one.test.logits) for name, one in models.items()}
    solved = set(test.clips[np.any([answer == test.labels for answer in answered.values()], axis=0)].tolist())
    first = np.unique(test.clips, return_index=True)[1]
    return [
        Missed(
            str(test.clips[row]),
            class_names[test.labels[row]],
            {name: class_names[answer[row]] for name, answer in answered.items()},
        )
        for row in first
        if str(test.clips[row]) not in solved
    ]


def summary(results: Analyses) -> dict[str, Any]:
    """The part of compare.json about the analyses; without timings, so it is the same on every run."""
    return {
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
        "suspect_labels": [one.clip for one in results.label_checks if one.suspect],
        "missed_by_all": [one.clip for one in results.missed],
        **tuning_result.summary(results.tuning),
    }


def _difference(test: PairedTest) -> dict[str, Any]:
    low, high = test.interval.low, test.interval.high
    return {"difference": test.difference, "difference_low": low, "difference_high": high, "p": test.p, "verdict": test.verdict}
