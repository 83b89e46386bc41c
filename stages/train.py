"""Train one sequence model on the cached features; predict the validation and test clips once with its best epoch."""

import argparse
import logging
import os
from dataclasses import dataclass
from typing import Any

# Both are read when torch starts. CUDA's matrix products are reproducible only so; and threads that wait for each other awake
# make training ten times slower where anything else wants a core.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from dvclive.live import Live
from numpy.typing import NDArray

from actionrec import entry, files, machine, metrics, paths, training
from actionrec.bundle import Architecture, Bundle, save_bundle
from actionrec.clips import class_names, read_clips
from actionrec.errors import DataError, ParamsError
from actionrec.features import FeatureSet, read_features
from actionrec.models import MODELS, parameter_count
from actionrec.progress import progress
from actionrec.recipes import read_recipe
from actionrec.splits import SUBSETS, read_split
from actionrec.training import Epoch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """Clips that have features, and which of them are for what."""

    features: FeatureSet
    labels: NDArray[np.int64]
    """(n,), places in `class_names`."""
    class_names: list[str]
    rows: dict[str, NDArray[np.int64]]
    """Subset -> places in `features`, sorted by clip."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.train", description=__doc__)
    parser.add_argument("model", choices=MODELS)
    name = parser.parse_args().model

    recipe = read_recipe(name)
    task = read_task()
    device = machine.device()
    training.reproducible(recipe.seed, device)
    architecture = Architecture(name, recipe.arguments, task.features.features.shape[2], task.class_names)
    try:
        network = architecture.create()
    except ValueError as error:
        raise ParamsError(f"params.yaml: models.{name} (or model): {error}") from None
    if recipe.train.standardise:
        network.standardise.fit(task.features.features, task.rows["train"])
    network.to(device)
    features = torch.from_numpy(task.features.features).to(device)
    labels = torch.from_numpy(task.labels).to(device)
    held_out = "val" if len(task.rows["val"]) else "test"

    with (
        Live(str(paths.model_epochs(name)), dvcyaml=None, save_dvc_exp=False, report=None) as live,
        progress(f"Training {name}", recipe.train.epochs, "epoch") as advance,
    ):

        def on_epoch(epoch: Epoch) -> None:
            log_epoch(live, epoch)
            advance(1)

        rows = task.rows
        fit = training.fit(network, features, labels, rows["train"], rows[held_out], recipe.train, recipe.seed, on_epoch)

    logits = {
        subset: training.predict(network, features, task.rows[subset]) for subset in ("val", "test") if len(task.rows[subset])
    }
    save_predictions(name, task, logits)
    save_bundle(paths.model_folder(name), Bundle(architecture, network, task.features.source))
    result = {
        **{key: value for subset in reversed(logits) for key, value in accuracies(subset, logits[subset], task).items()},
        "best_epoch": fit.best_epoch,
        "epochs": len(fit.epochs),
        "parameters": parameter_count(network),
        **{f"{subset}_clips": len(task.rows[subset]) for subset in SUBSETS},
    }
    files.write_json(paths.model_metrics(name), result)
    rate = len(task.rows["train"]) * len(fit.epochs) / fit.seconds
    timing = {"train_seconds": round(fit.seconds, 3), "clips_per_second": round(rate, 1), "device": machine.device_name(device)}
    files.write_json(paths.model_timing(name), timing)
    logger.info("%s: test top-1 %.1f %%, epoch %d, %.1f s", name, 100 * result["test_top1"], fit.best_epoch, fit.seconds)


def read_task() -> Task:
    """Join features, labels and split; clips that could not be decoded have no features, and clips that no official list names
    have no subset: both are left out."""
    clips = read_clips(paths.CLIPS)
    label_of = {clip.id: clip.label for clip in clips}
    names = class_names(clips)
    split = read_split(paths.SPLIT)
    features = read_features(paths.FEATURES)
    unknown = [clip for clip in features.clips if clip not in label_of]
    if unknown:
        raise DataError(f"{paths.FEATURES} has {len(unknown)} clips that {paths.CLIPS} lacks ({unknown[0]}). Run `dvc repro`.")
    number = {name: place for place, name in enumerate(names)}
    labels = np.array([number[label_of[clip]] for clip in features.clips], dtype=np.int64)
    subsets = np.array([split.get(clip, "unused") for clip in features.clips])
    rows = {subset: np.flatnonzero(subsets == subset) for subset in SUBSETS}
    untrained = [name for name in names if not (labels[rows["train"]] == number[name]).any()]
    if untrained:
        raise DataError(
            f"no training clip of {', '.join(untrained)} could be decoded; see {paths.FRAMES}/ledger.csv. "
            "Mend those clips, or take the class out of the data set."
        )
    for subset in ("val", "test"):
        if subset in split.values() and not len(rows[subset]):
            raise DataError(f"no {subset} clip could be decoded; see {paths.FRAMES}/ledger.csv. Mend those clips.")
    return Task(features, labels, names, rows)


def log_epoch(live: Live, epoch: Epoch) -> None:
    """Log one epoch; held out are the validation clips, or the test clips where split.validation is 0."""
    live.step = epoch.number
    live.log_metric("learning_rate", epoch.learning_rate)
    live.log_metric("train/loss", epoch.train_loss)
    live.log_metric("train/top1", epoch.train_top1)
    live.log_metric("held_out/loss", epoch.held_out_loss)
    live.log_metric("held_out/top1", epoch.held_out_top1)
    live.make_summary()


def accuracies(subset: str, logits: NDArray[np.float32], task: Task) -> dict[str, float]:
    """Flat metrics of one subset, as fractions."""
    labels = task.labels[task.rows[subset]]
    return {
        f"{subset}_top1": metrics.top_k(logits, labels, 1),
        f"{subset}_top5": metrics.top_k(logits, labels, 5),
        f"{subset}_mean_class": metrics.mean_class(logits, labels),
        f"{subset}_loss": metrics.cross_entropy(logits, labels),
    }


def save_predictions(name: str, task: Task, logits: dict[str, NDArray[np.float32]]) -> None:
    """Write clip, label, subset and logits of all held-out clips, sorted by clip."""
    rows = np.concatenate([task.rows[subset] for subset in logits])
    order = np.argsort(rows)  # features are sorted by clip
    subsets = np.concatenate([np.full(len(task.rows[subset]), subset) for subset in logits])
    arrays: dict[str, Any] = {
        "clip": np.array([task.features.clips[row] for row in rows[order]]),
        "label": task.labels[rows[order]],
        "subset": subsets[order],
        "logits": np.concatenate(list(logits.values()))[order],
    }
    with files.whole_file(paths.predictions(name)) as draft, draft.open("wb") as stream:
        np.savez(stream, **arrays)


if __name__ == "__main__":
    entry.run(main)
