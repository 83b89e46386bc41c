"""Trained models as the train stages write them, and the check that they are comparable."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from actionrec.core import paths
from actionrec.core.errors import MALFORMED, DataError
from actionrec.core.text import quoted, shortened
from actionrec.evaluation import metrics
from actionrec.evaluation.prediction_files import read_predictions
from actionrec.evaluation.predictions import Answers, Predictions
from actionrec.features.feature_store import current_frames
from actionrec.features.settings import RGB_ONLY
from actionrec.io.files import read_json
from actionrec.io.params import typed

REMAKE = "Run `dvc repro` to train them again on the same data."
SAME_ACCURACY = 1e-6  # allowed difference from a recorded accuracy, for rounding


@dataclass(frozen=True)
class TrainedModel:
    """The outputs of one train stage."""

    name: str
    predictions: Predictions
    class_names: tuple[str, ...]
    features: Mapping[str, Any]  # how features were computed: backbone, weights, weights_sha256, ...
    frames: Mapping[str, Any]  # how frames were sampled
    test_top1: float  # of the saved model, as the train stage computed it
    best_epoch: int  # from 1
    epochs: int
    parameters: int
    flops: int  # per clip
    train_clips: int
    health: str  # verdict of the training diagnostics
    health_notes: Sequence[str]  # the reasons for the verdict, then other observations
    order_blind: bool  # whether it is a baseline that ignores the order of frames
    temperature: float | None  # fitted by training on validation clips; None if none was fitted
    threshold: float  # confidence below which an answer is unsure; 0 if none was fitted

    @property
    def test(self) -> Answers:
        return self.predictions.test

    @property
    def val(self) -> Answers:
        return self.predictions.val


@dataclass(frozen=True)
class Timing:
    """Measured times and memory of one model."""

    train_seconds: float
    """Over all seeds."""
    clips_per_second: float
    device: str
    latency_ms: float
    """Of a prediction for one clip on a CPU, without the backbone."""
    memory_mb: float
    """Of the same prediction."""


@dataclass(frozen=True)
class History:
    """Learning curves, one value per epoch. Top-1 is a fraction, loss is in nats."""

    best_epoch: int  # from 1
    train_loss: tuple[float, ...]
    train_top1: tuple[float, ...]
    held_loss: tuple[float, ...]  # on the clips that the epoch was chosen on
    held_top1: tuple[float, ...]


def read_model(name: str) -> TrainedModel:
    """Read the outputs of `train@<name>`.

    Raises:
        DataError: a file is missing or damaged, or lacks an entry.
    """
    bundle_file, metrics_file = paths.model_folder(name) / "model.json", paths.model_metrics(name)
    class_names, features, sampling = typed_values(
        read_json(bundle_file), {"class_names": Sequence[str], "features": dict, "frames": dict}, bundle_file, remake(name)
    )
    of_features = {"backbone": str, "weights": str, "streams": Sequence[str]}
    typed_values({"streams": list(RGB_ONLY), **features}, of_features, f"{bundle_file}: features", remake(name))
    kinds = {"test_top1": float, **dict.fromkeys(("best_epoch", "epochs", "parameters", "flops", "train_clips"), int)}
    kinds |= {"health": str, "health_notes": Sequence[str], "order_blind": bool}
    record = read_json(metrics_file)
    values = [*typed_values(record, kinds, metrics_file, remake(name)), _temperature(record, name), _threshold(record, name)]
    answers = read_predictions(paths.predictions(name), len(class_names), remake(name))
    return TrainedModel(name, answers, tuple(class_names), features, current_frames(sampling), *values)


def _temperature(record: Mapping[str, Any], name: str) -> float | None:
    """The temperature that training fitted; None if there were no validation clips or all answers were correct."""
    if not record.get("temperature_fitted"):
        return None
    path = paths.model_metrics(name)
    temperature: float = typed_values(record, {"temperature": float}, path, remake(name))[0]
    if not temperature > 0:
        raise DataError(f"{path}: temperature must be above 0; got {temperature}. {remake(name)}")
    return temperature


def _threshold(record: Mapping[str, Any], name: str) -> float:
    """The threshold of confidence that training fitted; 0 if it fitted none."""
    path = paths.model_metrics(name)
    threshold: float = typed_values({"threshold": 0.0, **record}, {"threshold": float}, path, remake(name))[0]
    if not 0 <= threshold <= 1:
        raise DataError(f"{path}: threshold must be from 0 to 1; got {threshold}. {remake(name)}")
    return threshold


def read_timing(name: str) -> Timing:
    """Read metrics/<name>/timing.json.

    Raises:
        DataError: the file or an entry is missing, or a value has another type.
    """
    path = paths.model_timing(name)
    kinds = {"train_seconds": float, "clips_per_second": float, "device": str, "latency_ms": float, "memory_mb": float}
    return Timing(*typed_values(read_json(path), kinds, path, remake(name)))


def read_history(model: TrainedModel) -> History:
    """Read a model's learning curves.

    Raises:
        DataError: a log is missing or damaged, or its length differs from metrics.json.
    """
    logs = [read_log(model.name, f"{subset}/{what}") for subset in ("train", "held_out") for what in ("loss", "top1")]
    lengths = {len(log) for log in logs}
    if lengths != {model.epochs} or not 1 <= model.best_epoch <= model.epochs:
        where = paths.model_epochs(model.name)
        raise DataError(
            f"{where}: logs of {sorted(lengths)} epochs, but metrics.json says {model.epochs}, "
            f"the best of them {model.best_epoch}. {remake(model.name)}"
        )
    return History(model.best_epoch, *logs)


def read_log(name: str, metric: str) -> tuple[float, ...]:
    """Read one value per epoch from DVCLive's log of a metric; the column has the last part of the metric's name."""
    path = paths.model_epochs(name) / "plots" / "metrics" / f"{metric}.tsv"
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return tuple(float(row[path.stem]) for row in csv.DictReader(stream, delimiter="\t"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing. Run `dvc repro` to make it.") from None
    except (*MALFORMED, csv.Error) as error:
        raise DataError(f"{path}: no column of numbers named {path.stem} ({shortened(repr(error), 200)}). {remake(name)}") from None


def remake(name: str) -> str:
    """What to do if a model's files are invalid, for error messages."""
    return f"Run `dvc repro -f train@{name}` to recompute it, or `python -m actionrec repair` if the file is damaged."


def typed_values(record: Any, kinds: Mapping[str, Any], where: object, step: str) -> list[Any]:
    """Return the values of some keys of a record.

    Args:
        kinds: key -> type hint, as in `params.typed`.
        where: the record's file, for the message.
        step: what to do if the record is invalid, for the message.

    Raises:
        DataError: keys are missing or have values of other types; names all of them.
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
    """Check that all models were evaluated on the same clips, with the same classes and features.

    Raises:
        DataError: they were not, there are no test clips, or a model's metrics and predictions are from different runs.
    """
    first = models[0]
    for model in models:
        _check_sources(model, first)
        _check_predictions(model, first)
        test = model.predictions.saved_test
        if not len(test.labels):
            raise DataError(f"{model.name} has no predictions for test clips: nothing to compare. See metrics/split.json.")
        top1 = metrics.top_k(test.logits, test.labels, 1)
        if not abs(top1 - model.test_top1) <= SAME_ACCURACY:
            raise DataError(
                f"{model.name}: metrics.json says test_top1 = {model.test_top1:.6f}, but its predictions give {top1:.6f}; "
                f"they are not from one run. Run `dvc repro -f train@{model.name}`."
            )


def _check_sources(model: TrainedModel, first: TrainedModel) -> None:
    if model.class_names != first.class_names:
        counts = f"{len(model.class_names)} and {len(first.class_names)}"
        in_one = sorted(set(model.class_names) ^ set(first.class_names))
        which = ", ".join(in_one[:5]) if in_one else "the same names in another order"
        raise DataError(f"{model.name} and {first.name} have different classes ({counts}; not in both: {which}). {REMAKE}")
    for what, own, other in (("features", model.features, first.features), ("frames", model.frames, first.frames)):
        keys = sorted(key for key in {*own, *other} if own.get(key) != other.get(key))
        if keys:
            listed = "; ".join(f"{key}: {own.get(key)} and {other.get(key)}" for key in keys)
            raise DataError(f"{model.name} and {first.name} were trained on different {what} ({listed}). {REMAKE}")


def _check_predictions(model: TrainedModel, first: TrainedModel) -> None:
    own, other = model.predictions, first.predictions
    columns = zip(*((one.answers.clips, one.subsets, one.folds) for one in (own, other)), strict=True)
    if own.saved_fold != other.saved_fold or not all(np.array_equal(column, its) for column, its in columns):
        own_count, other_count = len(own.answers.clips), len(other.answers.clips)
        in_one = _clips_and_subsets(model) ^ _clips_and_subsets(first)
        which = ", ".join(sorted(in_one)[:3]) or "the same clips in another order or in other folds"
        raise DataError(
            f"{model.name} and {first.name} have predictions for different clips ({own_count} and {other_count}; "
            f"not in both: {which}). {REMAKE}"
        )
    labels, other_labels = own.answers.labels, other.answers.labels
    if not np.array_equal(labels, other_labels) or not np.array_equal(own.answers.clusters, other.answers.clusters):
        first_difference = int(np.argmax((labels != other_labels) | (own.answers.clusters != other.answers.clusters)))
        raise DataError(
            f"{model.name} and {first.name} disagree about the true class or the source of {own.answers.clips[first_difference]} "
            f"({labels[first_difference]} and {other_labels[first_difference]}). {REMAKE}"
        )
    if own.seeds != other.seeds:
        raise DataError(
            f"{model.name} and {first.name} were trained with different seeds ({own.seeds} and {other.seeds}). {REMAKE}"
        )


def _clips_and_subsets(model: TrainedModel) -> set[str]:
    return {f"{clip} ({subset})" for clip, subset in zip(model.predictions.answers.clips, model.predictions.subsets, strict=True)}
