"""The metrics of a trained model again: on a subset of the project's own clips, or on another folder of clips with its classes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrec.core import paths
from actionrec.core.errors import ActionrecError, DataError, VideoError, first_few
from actionrec.data.clips import Clip, cluster_ids
from actionrec.data.splits import SUBSETS
from actionrec.evaluation import calibration, metrics
from actionrec.evaluation.intervals_and_tests import Interval, cluster_interval
from actionrec.inference.predictor import Predictor, temperature_and_threshold
from actionrec.io import machine
from actionrec.training import loop
from actionrec.training.bundle import Bundle
from actionrec.training.training_data import TrainingData

LISTED = 10  # clips that failed, in a message


@dataclass(frozen=True)
class Evaluation:
    """What a model gets right of n clips. Shares are from 0 to 1."""

    model: str
    clips: Sequence[str]
    """(n,), sorted."""
    class_names: Sequence[str]
    """K names."""
    labels: NDArray[np.int64]
    """(n,), places in `class_names`."""
    clusters: NDArray[np.int64]
    """(n,), the number of each clip's cluster."""
    logits: NDArray[np.float32]
    """(n, K)."""
    temperature: float
    threshold: float
    calibrated: bool
    """Whether the temperature was fitted."""
    failed: Mapping[str, str]
    """Clip -> why it could not be decoded; none of them is counted."""

    @property
    def interval(self) -> Interval:
        """Of top-1, 95 %, from a bootstrap of sources."""
        return cluster_interval(metrics.correct_at_k(self.logits, self.labels, 1).astype(np.float64), self.clusters)

    def summary(self) -> dict[str, Any]:
        """Flat metrics; the accuracies are computed as in metrics/<model>/metrics.json."""
        shares = calibration.softmax(self.logits, self.temperature)
        interval, sure = self.interval, shares.max(axis=1) >= self.threshold
        correct = metrics.correct_at_k(self.logits, self.labels, 1)
        return {
            "model": self.model,
            "clips": len(self.clips),
            "sources": len(np.unique(self.clusters)),
            "top1": metrics.top_k(self.logits, self.labels, 1),
            "top1_low": interval.low,
            "top1_high": interval.high,
            "top5": metrics.top_k(self.logits, self.labels, 5),
            "mean_class": metrics.mean_class(self.logits, self.labels),
            "loss": metrics.cross_entropy(self.logits, self.labels),
            "ece": calibration.expected_calibration_error(calibration.softmax(self.logits), self.labels),
            "ece_calibrated": calibration.expected_calibration_error(shares, self.labels),
            "answered": float(sure.mean()),
            "top1_of_answered": float(correct[sure].mean()) if sure.any() else None,
            "failed": len(self.failed),
        }

    def per_class(self) -> list[tuple[str, int, float]]:
        """Each class that has clips: its name, how many, and the share that is right."""
        correct = metrics.correct_at_k(self.logits, self.labels, 1)
        return [
            (self.class_names[label], int((self.labels == label).sum()), float(correct[self.labels == label].mean()))
            for label in np.unique(self.labels)
        ]


def of_subset(name: str, bundle: Bundle, task: TrainingData, subset: str) -> Evaluation:
    """Answer for one subset of the project's clips, from their cached features.

    Validation and test clips are predicted together, as training does it: the batches, and so the last digits, are the same.

    Raises:
        DataError: bundle and features do not belong together, or the subset is empty.
    """
    check_fits(name, bundle, task)
    if subset not in SUBSETS or not len(task.rows[subset]):
        there = [one for one in SUBSETS if len(task.rows[one])]
        raise DataError(f"there are no {subset} clips in {paths.SPLIT}; there are {', '.join(there)}.")
    rows = task.rows["train"] if subset == "train" else task.reported
    logits = predict(bundle, task.features.features, rows)
    kept = np.isin(rows, task.rows[subset])
    rows = rows[kept]
    ids = [task.features.clips[row] for row in rows]
    temperature, threshold = temperature_and_threshold(bundle)
    return Evaluation(
        name,
        ids,
        task.class_names,
        task.labels[rows],
        task.clusters[rows],
        logits[kept],
        temperature,
        threshold,
        bundle.is_calibrated,
        {},
    )


def of_folder(
    predictor: Predictor, folder: Path, found: Sequence[Clip], advance: Callable[[int], None], max_failed: float = 0.02
) -> Evaluation:
    """Answer for the clips of a folder, one folder a class, decoded here and now.

    Args:
        found: what `clips.find_clips` says of the folder.
        advance: told of each clip that is done.
        max_failed: share of clips that may fail to decode.

    Raises:
        DataError: a class that the model does not know.
        VideoError: too many clips fail.
    """
    known = predictor.class_names
    strange = sorted({clip.label for clip in found} - set(known))
    if strange:
        raise DataError(
            f"{folder} has classes that {predictor.name} does not know: {first_few(strange)}. It knows {first_few(known, 10)}. "
            "Rename those folders as the model's classes, or take them out."
        )
    features: list[NDArray[np.float16]] = []
    logits: list[NDArray[np.float32]] = []
    failed: dict[str, str] = {}
    done: list[Clip] = []
    shown = predictor.features_of_all([folder / clip.id for clip in found])
    for clip, (_, made) in zip(found, shown, strict=True):
        if isinstance(made, ActionrecError):
            failed[clip.id] = str(made)
        else:
            features.append(made[0])
            done.append(clip)
            if len(features) == loop.EVALUATION_BATCH:  # as training cuts clips up, and no more in memory
                logits.append(predict(predictor.bundle, np.stack(features), np.arange(len(features))))
                features.clear()
        advance(1)
    if features:
        logits.append(predict(predictor.bundle, np.stack(features), np.arange(len(features))))
    if len(failed) > max_failed * len(found) or not done:
        listed = "\n".join(f"  {why}" for why in list(failed.values())[:LISTED])
        more = f"\n  and {len(failed) - LISTED} more" if len(failed) > LISTED else ""
        raise VideoError(
            f"{len(failed)} of {len(found)} clips cannot be decoded (allowed: {max_failed:.1%} of them):\n{listed}{more}\n"
            "Mend or remove them, or allow more with --max-failed."
        )
    place = {name: number for number, name in enumerate(known)}
    labels = np.array([place[clip.label] for clip in done], dtype=np.int64)
    clusters = cluster_ids(done)
    ids = [clip.id for clip in done]
    answers, temperature, threshold = np.concatenate(logits), predictor.temperature, predictor.threshold
    calibrated = predictor.bundle.is_calibrated
    return Evaluation(predictor.name, ids, known, labels, clusters, answers, temperature, threshold, calibrated, failed)


def predict(bundle: Bundle, features: Any, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Logits of some clips, computed as after training: (rows, K)."""
    loop.reproducible(0, machine.device())
    return loop.predict(bundle.network.to(machine.device()), features, rows)


def check_fits(name: str, bundle: Bundle, task: TrainingData) -> None:
    """Make sure that a bundle was trained on features like these, for these classes.

    Raises:
        DataError: it was not.
    """
    if bundle.architecture.class_names != task.class_names:
        strange = sorted(set(bundle.architecture.class_names) ^ set(task.class_names))
        which = first_few(strange) if strange else "the same names in another order"
        raise DataError(f"{name} and {paths.CLIPS} know different classes (not in both: {which}). Run `dvc repro`, or use --data.")
    own, theirs = bundle.features, task.features.source
    keys = sorted(key for key in {*own, *theirs} if own.get(key) != theirs.get(key))
    if keys:
        listed = "; ".join(f"{key}: {own.get(key)} and {theirs.get(key)}" for key in keys)
        raise DataError(
            f"{name} was trained on other features than {paths.FEATURES} has ({listed}). Run `dvc repro`, or use --data."
        )


def differences(evaluation: Evaluation, subset: str, recorded: Mapping[str, Any]) -> list[str]:
    """How the metrics of a subset differ from those that training recorded: a line each, none where all digits agree."""
    keys = ("top1", "top5", "mean_class", "loss")
    found = evaluation.summary()
    return [
        f"{subset}_{key}: {found[key]} here, {recorded[f'{subset}_{key}']} recorded"
        for key in keys
        if recorded.get(f"{subset}_{key}", found[key]) != found[key]
    ]
