"""Compare the trained models: metrics/compare.json, a report, result tables and pictures. Reads no parameters."""

import csv
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrec import comparison, entry, metrics, paths
from actionrec.comparison import Setting, TrainedModel
from actionrec.errors import DataError
from actionrec.files import read_json, whole_file, write_csv, write_json, write_text
from actionrec.models import MODELS
from actionrec.plots import confusion, curves, overview
from actionrec.report import Timing, markdown, tables


def main() -> None:
    models = [read_model(name) for name in MODELS]
    result = comparison.compare(models)
    setting = read_setting(models[0])
    timings = {name: read_timing(name) for name in MODELS}
    histories = {model.name: read_history(model) for model in models}
    counts = {model.name: metrics.confusion(*model.of("test")) for model in models}
    order = [standing.name for standing in result.standings]

    write_json(paths.COMPARISON, comparison.summary(result, setting, list(MODELS)))
    write_text(paths.REPORT, markdown.report(result, setting, timings, counts[order[0]]))
    write_csv(paths.RESULTS_CSV, tables.CSV_HEADER, tables.csv_rows(result, setting, timings))
    write_text(paths.RESULTS_TEX, tables.latex(result, setting, timings))

    seconds = {name: timing.train_seconds for name, timing in timings.items()}
    pictures = {
        "model_comparison": overview.model_comparison(result, setting, seconds),
        "all_models_grid": curves.all_models_grid(order, histories, setting),
    }
    for name in MODELS:
        pictures[f"{name}_curves"] = curves.model_curves(name, histories[name], setting)
        pictures[f"{name}_confusion"] = confusion.confusion_matrix(result.standing(name), counts[name], setting)
    for picture, png in pictures.items():
        with whole_file(paths.PLOTS / f"{picture}.png") as draft:
            draft.write_bytes(png)


def remake(name: str) -> str:
    return f"Run `dvc repro -f train@{name}` to make it again."


def wanted(record: dict[str, Any], keys: tuple[str, ...], where: object, name: str) -> list[Any]:
    """The values of `keys`, or an error that names all that are missing."""
    missing = [key for key in keys if key not in record]
    if missing:
        raise DataError(f"{where}: lacks {', '.join(missing)}. {remake(name)}")
    return [record[key] for key in keys]


def read_model(name: str) -> TrainedModel:
    bundle_file, metrics_file = paths.model_folder(name) / "model.json", paths.model_metrics(name)
    class_names, features, frames = wanted(read_json(bundle_file), ("class_names", "features", "frames"), bundle_file, name)
    keys = ("test_top1", "best_epoch", "epochs", "parameters", "train_clips")
    numbers = wanted(read_json(metrics_file), keys, metrics_file, name)
    return TrainedModel(name, *read_predictions(name, len(class_names)), tuple(class_names), features, frames, *numbers)


def read_predictions(name: str, class_count: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Clips, labels, subsets (n,) and logits (n, K)."""
    path = paths.predictions(name)
    try:
        with np.load(path, allow_pickle=False) as stored:
            record = {key: stored[key] for key in stored.files}
    except FileNotFoundError:
        raise DataError(f"{path} is missing. Run `dvc repro` to make it.") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a readable npz file ({error}). {remake(name)}") from None
    clips, labels, subsets, logits = wanted(record, ("clip", "label", "subset", "logits"), path, name)
    shapes = [array.shape for array in (clips, labels, subsets, logits)]
    if shapes != [(len(clips),)] * 3 + [(len(clips), class_count)]:
        raise DataError(f"{path}: shapes {shapes}, not n, n, n and (n, {class_count} classes). {remake(name)}")
    if not np.isfinite(logits).all():
        broken = clips[~np.isfinite(logits).all(axis=1)]
        raise DataError(f"{path}: logits of {len(broken)} clips are NaN or infinite (first: {broken[0]}); training diverged.")
    if len(labels) and not (labels.min() >= 0 and labels.max() < class_count):
        raise DataError(f"{path}: labels from {labels.min()} to {labels.max()}, not 0 to {class_count - 1}. {remake(name)}")
    return clips, labels, subsets, logits


def read_timing(name: str) -> Timing:
    path = paths.model_timing(name)
    return Timing(*wanted(read_json(path), ("train_seconds", "clips_per_second", "device"), path, name))


def read_history(model: TrainedModel) -> curves.History:
    logs = [read_log(model.name, f"{subset}/{what}") for subset in ("train", "held_out") for what in ("loss", "top1")]
    lengths = {len(log) for log in logs}
    if lengths != {model.epochs} or not 1 <= model.best_epoch <= model.epochs:
        where = paths.model_epochs(model.name)
        raise DataError(
            f"{where}: logs of {sorted(lengths)} epochs, but metrics.json says {model.epochs}, "
            f"the best of them {model.best_epoch}. {remake(model.name)}"
        )
    return curves.History(model.best_epoch, *logs)


def read_log(name: str, metric: str) -> tuple[float, ...]:
    """One value an epoch from DVCLive's log, whose column is the last word of the metric."""
    path = paths.model_epochs(name) / "plots" / "metrics" / f"{metric}.tsv"
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return tuple(float(row[path.stem]) for row in csv.DictReader(stream, delimiter="\t"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing. Run `dvc repro` to make it.") from None
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: no column of numbers named {path.stem} ({error!r}). {remake(name)}") from None


def read_setting(model: TrainedModel) -> Setting:
    split, extraction = read_json(paths.SPLIT_METRICS), read_json(paths.FRAME_METRICS)
    try:
        return Setting.of(model, split, extraction)
    except KeyError as key:
        where = f"{paths.SPLIT_METRICS}, {paths.FRAME_METRICS} and {paths.model_folder(model.name) / 'model.json'}"
        raise DataError(f"{where}: none has {key}. Run `dvc repro` to make them again.") from None


if __name__ == "__main__":
    entry.run(main)
