"""Trained models as the train stages leave them, and whether they may be compared at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from actionrec.core import paths
from actionrec.core.errors import DataError, quoted
from actionrec.evaluation import metrics
from actionrec.evaluation.predictions import Answers, Predictions, read_predictions
from actionrec.features.feature_store import current_frames
from actionrec.io.files import read_json
from actionrec.io.params import typed

REMAKE = "Run `dvc repro` to train them again on the same data."
# How far an accuracy may lie from the one computed here: nothing but the rounding of a printed number.
SAME_ACCURACY = 1e-6


@dataclass(frozen=True)
class TrainedModel:
    """What a train stage left behind."""

    name: str
    predictions: Predictions
    class_names: tuple[str, ...]
    features: Mapping[str, Any]  # what the features were made with: backbone, weights, weights_sha256, ...
    frames: Mapping[str, Any]  # how frames were sampled
    test_top1: float  # of the saved model, as the train stage computed it
    best_epoch: int  # from 1
    epochs: int
    parameters: int
    flops: int  # a clip
    train_clips: int
    health: str  # the verdict on its training
    health_notes: Sequence[str]  # what led to it first, then what else there is to see
    temperature: float | None  # that the train stage fitted on validation clips; None if it fitted none

    @property
    def test(self) -> Answers:
        return self.predictions.test

    @property
    def val(self) -> Answers:
        return self.predictions.val


def read_model(name: str) -> TrainedModel:
    """Read what `train@<name>` left behind.

    Raises:
        DataError: a file is missing or damaged, or lacks an entry.
    """
    bundle_file, metrics_file = paths.model_folder(name) / "model.json", paths.model_metrics(name)
    class_names, features, sampling = wanted(
        read_json(bundle_file), {"class_names": Sequence[str], "features": dict, "frames": dict}, bundle_file, remake(name)
    )
    wanted(features, {"backbone": str, "weights": str}, f"{bundle_file}: features", remake(name))
    kinds = {"test_top1": float, **dict.fromkeys(("best_epoch", "epochs", "parameters", "flops", "train_clips"), int)}
    kinds |= {"health": str, "health_notes": Sequence[str]}
    record = read_json(metrics_file)
    values = [*wanted(record, kinds, metrics_file, remake(name)), _temperature(record, name)]
    answers = read_predictions(paths.predictions(name), len(class_names), remake(name))
    return TrainedModel(name, answers, tuple(class_names), features, current_frames(sampling), *values)


def _temperature(record: Mapping[str, Any], name: str) -> float | None:
    """The temperature that training fitted; None if there were no validation clips or all answers were correct."""
    if not record.get("temperature_fitted"):
        return None
    path = paths.model_metrics(name)
    temperature: float = wanted(record, {"temperature": float}, path, remake(name))[0]
    if not temperature > 0:
        raise DataError(f"{path}: temperature must be above 0; got {temperature}. {remake(name)}")
    return temperature


def remake(name: str) -> str:
    """The next step where a model's files are not what they should be."""
    return f"Run `dvc repro -f train@{name}` to make it again, or `python -m actionrec repair` if the file is damaged."


def wanted(record: Any, kinds: Mapping[str, Any], where: object, step: str) -> list[Any]:
    """The values of some keys of a record, or an error that names all that are missing or of another kind.

    Args:
        kinds: type hints, as `params.typed` takes them, by key.
        where: the record's file, for the message.
        step: the next step, for the message.

    Raises:
        DataError: some are missing or of another kind.
    """
    if not isinstance(record, dict):
        raise DataError(f"{where}: must hold keys and values; got {quoted(record)}. {step}")
    missing = [key for key in kinds if key not in record]
    if missing:
        raise DataError(f"{where}: lacks {', '.join(missing)}. {step}")
    problems: list[str] = []
    values = [typed(kind, record[key], key, problems) for key, kind in kinds.items()]
    if problems:
        raise DataError(f"{where}: {'; '.join(problems)}. {step}")
    return values


def check_comparable(models: Sequence[TrainedModel]) -> None:
    """Make sure that all models answered for the same clips, with the same classes, from the same features.

    Raises:
        DataError: they did not, there is no test clip, or a model's metrics and predictions are not from one run.
    """
    first = models[0]
    for model in models:
        if model.class_names != first.class_names:
            got, wanted = len(model.class_names), len(first.class_names)
            strange = sorted(set(model.class_names) ^ set(first.class_names))
            which = ", ".join(strange[:5]) if strange else "the same names in another order"
            raise DataError(
                f"{model.name} and {first.name} know different classes ({got} and {wanted}; not in both: {which}). {REMAKE}"
            )
        for what, own, other in (("features", model.features, first.features), ("frames", model.frames, first.frames)):
            keys = sorted(key for key in {*own, *other} if own.get(key) != other.get(key))
            if keys:
                listed = "; ".join(f"{key}: {own.get(key)} and {other.get(key)}" for key in keys)
                raise DataError(f"{model.name} and {first.name} were trained on different {what} ({listed}). {REMAKE}")
        ours, theirs = model.predictions, first.predictions
        if not np.array_equal(ours.answers.clips, theirs.answers.clips) or not np.array_equal(ours.subsets, theirs.subsets):
            got, wanted = len(ours.answers.clips), len(theirs.answers.clips)
            apart = _clips_and_subsets(model) ^ _clips_and_subsets(first)
            which = ", ".join(sorted(apart)[:3]) or "the same clips in another order"
            raise DataError(
                f"{model.name} and {first.name} have predictions for different clips ({got} and {wanted}; "
                f"not in both: {which}). {REMAKE}"
            )
        labels, others = ours.answers.labels, theirs.answers.labels
        if not np.array_equal(labels, others) or not np.array_equal(ours.answers.clusters, theirs.answers.clusters):
            where = int(np.argmax((labels != others) | (ours.answers.clusters != theirs.answers.clusters)))
            raise DataError(
                f"{model.name} and {first.name} disagree about the true class or the source of {ours.answers.clips[where]} "
                f"({labels[where]} and {others[where]}). {REMAKE}"
            )
        if ours.seeds != theirs.seeds:
            raise DataError(
                f"{model.name} and {first.name} were trained with different seeds ({ours.seeds} and {theirs.seeds}). {REMAKE}"
            )
        test = model.test
        if not len(test.labels):
            raise DataError(f"{model.name} has no predictions for test clips: nothing to compare. Look at metrics/split.json.")
        top1 = metrics.top_k(test.logits, test.labels, 1)
        if not abs(top1 - model.test_top1) <= SAME_ACCURACY:
            raise DataError(
                f"{model.name}: metrics.json says test_top1 = {model.test_top1:.6f}, but its predictions give {top1:.6f}; "
                f"they are not from one run. Run `dvc repro -f train@{model.name}`."
            )


def _clips_and_subsets(model: TrainedModel) -> set[str]:
    return {f"{clip} ({subset})" for clip, subset in zip(model.predictions.answers.clips, model.predictions.subsets, strict=True)}
