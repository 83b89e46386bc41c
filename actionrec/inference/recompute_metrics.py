"""Recomputed metrics of a trained model: on a subset of the project's clips, or on another folder of clips."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrec.core import paths
from actionrec.core.errors import ActionrecError, DataError, VideoError
from actionrec.core.text import first_few
from actionrec.data.clip_files import ClipFiles
from actionrec.data.clips import Clip, cluster_ids
from actionrec.data.splits import SUBSETS
from actionrec.evaluation import calibration, metrics
from actionrec.evaluation.intervals import Interval, cluster_interval
from actionrec.evaluation.logits import Logits, compact
from actionrec.inference.predictor import Predictor, temperature_and_threshold
from actionrec.io import machine
from actionrec.training import loop
from actionrec.training.bundle import Bundle
from actionrec.training.training_data import TrainingData

LISTED = 10  # failed clips listed in a message


@dataclass(frozen=True)
class Evaluation:
    """A model's answers for n labelled clips, and their metrics. Shares are from 0 to 1."""

    model: str
    clips: Sequence[str]
    """(n,), sorted."""
    class_names: Sequence[str]
    """K names."""
    labels: NDArray[np.int64]
    """(n,), indices into `class_names`."""
    clusters: NDArray[np.int64]
    """(n,), the number of each clip's cluster."""
    logits: Logits
    """(n, K)."""
    temperature: float
    threshold: float
    calibrated: bool
    """Whether the temperature was fitted."""
    failed: Mapping[str, str]
    """Clip -> why it could not be decoded. Failed clips are not among the n clips."""

    @property
    def interval(self) -> Interval:
        """95 % interval of top-1, from whole clusters."""
        return cluster_interval(metrics.correct_at_k(self.logits, self.labels, 1).astype(np.float64), self.clusters)

    def summary(self) -> dict[str, Any]:
        """Flat metrics; the accuracies are computed as in metrics/<model>/metrics.json."""
        plain, calibrated = (calibration.confidences(self.logits, self.labels, one) for one in (1.0, self.temperature))
        interval, sure = self.interval, calibrated.top >= self.threshold
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
            "ece": calibration.expected_calibration_error(plain),
            "ece_calibrated": calibration.expected_calibration_error(calibrated),
            "answered": float(sure.mean()),
            "top1_of_answered": float(calibrated.correct[sure].mean()) if sure.any() else None,
            "failed": len(self.failed),
        }

    def per_class(self) -> list[tuple[str, int, float]]:
        """Each class that has clips: its name, number of clips, and accuracy."""
        correct = metrics.correct_at_k(self.logits, self.labels, 1)
        return [
            (self.class_names[label], int((self.labels == label).sum()), float(correct[self.labels == label].mean()))
            for label in np.unique(self.labels)
        ]


def of_subset(name: str, bundle: Bundle, task: TrainingData, subset: str) -> Evaluation:
    """Evaluate one subset of the project's clips, from their cached features.

    Validation and test clips are predicted together, and of many classes only the highest logits are kept, as in training. So all
    digits are the same.

    Raises:
        DataError: the bundle was trained on other features or classes, or the subset is empty.
    """
    check_fits(name, bundle, task)
    if subset not in SUBSETS or not len(task.rows[subset]):
        subsets = [one for one in SUBSETS if len(task.rows[one])]
        raise DataError(f"{paths.SPLIT}: no {subset} clips; it has {', '.join(subsets)}.")
    rows = task.rows["train"] if subset == "train" else task.reported
    logits = compact(predict(bundle, task.features.features, rows), task.labels[rows])
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
    predictor: Predictor, files: ClipFiles, clips: Sequence[Clip], advance: Callable[[int], None], max_failed: float = 0.02
) -> Evaluation:
    """Decode and evaluate the clips of a folder.

    Args:
        files: the clips' files.
        clips: the folder's clips, from `find_clips`.
        advance: called with 1 after each clip.
        max_failed: share of clips that may fail to decode.

    Raises:
        DataError: the folder has classes that the model does not know.
        VideoError: too many clips fail.
    """
    known = predictor.class_names
    unknown = sorted({clip.label for clip in clips} - set(known))
    if unknown:
        raise DataError(
            f"{files.folder} has classes that {predictor.name} does not know: {first_few(unknown)}. "
            f"It knows {first_few(known, 10)}. Rename these folders to the model's classes, or remove them."
        )
    features: list[NDArray[np.float16]] = []
    logits: list[NDArray[np.float32]] = []
    failed: dict[str, str] = {}
    decoded: list[Clip] = []
    results = predictor.features_of_all([files[clip.id] for clip in clips])
    for clip, (_, result) in zip(clips, results, strict=True):
        if isinstance(result, ActionrecError):
            failed[clip.id] = str(result)
        else:
            features.append(result[0])
            decoded.append(clip)
            if len(features) == loop.EVALUATION_BATCH:  # the same batches as in training, which also limits memory
                logits.append(predict(predictor.bundle, np.stack(features), np.arange(len(features))))
                features.clear()
        advance(1)
    if features:
        logits.append(predict(predictor.bundle, np.stack(features), np.arange(len(features))))
    if len(failed) > max_failed * len(clips) or not decoded:
        listed = "\n".join(f"  {why}" for why in list(failed.values())[:LISTED])
        more = f"\n  and {len(failed) - LISTED} more" if len(failed) > LISTED else ""
        raise VideoError(
            f"{len(failed)} of {len(clips)} clips cannot be decoded (allowed: {max_failed:.1%} of them):\n{listed}{more}\n"
            "Fix or remove them, or allow more with --max-failed."
        )
    number_of = {name: number for number, name in enumerate(known)}
    labels = np.array([number_of[clip.label] for clip in decoded], dtype=np.int64)
    clusters = cluster_ids(decoded)
    ids = [clip.id for clip in decoded]
    answers, temperature, threshold = compact(np.concatenate(logits), labels), predictor.temperature, predictor.threshold
    calibrated = predictor.bundle.is_calibrated
    return Evaluation(predictor.name, ids, known, labels, clusters, answers, temperature, threshold, calibrated, failed)


def predict(bundle: Bundle, features: Any, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Logits of the given rows, computed as after training: (rows, K)."""
    loop.reproducible(0, machine.device())
    return loop.predict(bundle.network.to(machine.device()), features, rows)


def check_fits(name: str, bundle: Bundle, task: TrainingData) -> None:
    """Check that a bundle was trained on features of the same kind, for the same classes.

    Raises:
        DataError: it was not.
    """
    if bundle.architecture.class_names != task.class_names:
        in_one = sorted(set(bundle.architecture.class_names) ^ set(task.class_names))
        which = first_few(in_one) if in_one else "the same names in another order"
        raise DataError(f"{name} and {paths.CLIPS} know different classes (not in both: {which}). Run `dvc repro`, or use --data.")
    own, stored = bundle.features, task.features.source
    keys = sorted(key for key in {*own, *stored} if own.get(key) != stored.get(key))
    if keys:
        listed = "; ".join(f"{key}: {own.get(key)} and {stored.get(key)}" for key in keys)
        raise DataError(
            f"{name} was trained on other features than those in {paths.FEATURES} ({listed}). Run `dvc repro`, or use --data."
        )


def differences(evaluation: Evaluation, subset: str, recorded: Mapping[str, Any]) -> list[str]:
    """Differences of a subset's metrics from those that training recorded, one line each; empty if all digits agree."""
    keys = ("top1", "top5", "mean_class", "loss")
    summary = evaluation.summary()
    return [
        f"{subset}_{key}: {summary[key]} here, {recorded[f'{subset}_{key}']} recorded"
        for key in keys
        if recorded.get(f"{subset}_{key}", summary[key]) != summary[key]
    ]
