"""What a whole run leaves behind: files of fabricated numbers with small real bundles, or a real project after `dvc repro`."""

import json
from types import SimpleNamespace

import fabricate
import numpy as np
from bundles import FRAMES, tiny_bundle
from projects import TINY, built_once, clone, commit, edit_params, flat, run

from actionrec.core import paths
from actionrec.evaluation.prediction_files import read_predictions
from actionrec.models import MODELS
from actionrec.training.bundle import load_bundle
from actionrec.training.record import calibrate, metrics_of
from stages import compare


def fabricated(class_names, *, seeds=(0,), weights="IMAGENET1K_V1", epochs=6, **changes):
    """Write what the stages up to `compare` leave, below the current folder: fabricated answers, and what follows from them."""
    fabricate.results(class_names, seeds=seeds, weights=weights, epochs=epochs, **changes)
    for name in MODELS:
        record = json.loads(paths.model_metrics(name).read_text())
        result = read_predictions(paths.predictions(name), len(class_names), "")
        fitted = calibrate(result)
        folder = tiny_bundle(paths.model_folder(name), name, class_names=class_names, calibration=fitted, weights=weights)
        network = load_bundle(folder).network
        width = load_bundle(folder).architecture.feature_dim
        rows = {"train": range(record["train_clips"]), "val": result.val.labels, "test": result.test.labels}
        data = SimpleNamespace(features=SimpleNamespace(features=np.zeros((1, FRAMES["count"], width))), rows=rows)
        fit = SimpleNamespace(best_epoch=record["best_epoch"], epochs=range(epochs))
        chosen = SimpleNamespace(fit=fit, network=network, seed=seeds[0])
        why, *notes = record["health_notes"]
        diagnosis = SimpleNamespace(verdict=record["health"], why=why, notes=notes)
        record = metrics_of(data, [chosen] * len(seeds), chosen, result, fitted, diagnosis)
        fabricate.write(paths.model_metrics(name), record)
    fabricate.write(paths.CLIP_COST, {**json.loads(paths.CLIP_COST.read_text()), "backbone": "resnet18"})  # of the tiny bundles
    compare.write_numbers(compare.gather())


def sample_project(folder):
    """A Git and DVC project after its first `dvc repro`: the drawn sample, small frames, small models.

    Args:
        folder: the base folder of this process's temporary folders.
    """
    return built_once(folder, "sample", build_sample) / "project"


def build_sample(folder):
    project = folder / "project"
    clone(project)
    edit_params(project, {**flat(TINY), "data.dataset": "sample"})
    run("dvc", "repro", cwd=project)
    commit(project)
