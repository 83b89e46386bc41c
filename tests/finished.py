"""What a whole run leaves behind: files of fabricated numbers with small real bundles, or a real project after `dvc repro`."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
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

# Run by each Python process of the pipeline: notes under its stage's name which files it imported.
SPY = """
import atexit, os, sys

def note():
    if stage := os.environ.get("DVC_STAGE"):
        files = [getattr(module, "__file__", None) or "" for module in [*sys.modules.values()]]
        with open(os.path.join(os.path.dirname(__file__), stage), "a") as stream:
            stream.write("\\n".join(files) + "\\n")

atexit.register(note)
"""


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


def real_run(folder):
    """A folder with `project` after its first `dvc repro` on three classes of small clips, and what that run left.

    `printed.txt` has what it printed, `imports` a file per stage that lists the project's files which its processes imported.

    Args:
        folder: the base folder of this process's temporary folders.
    """
    return built_once(folder, "finished", build_run)


def real_project(folder, copy):
    """A copy of that project, to be changed."""
    return Path(shutil.copytree(real_run(folder) / "project", copy, symlinks=True))


def build_run(folder):
    project, spy = folder / "project", folder / "imports"
    clone(project)
    write_clips(folder / "clips")
    (project / "data" / "raw" / "tiny").symlink_to(folder / "clips")
    edit_params(project, flat(TINY))
    spy.mkdir()
    (spy / "sitecustomize.py").write_text(SPY)
    (folder / "printed.txt").write_text(run("dvc", "repro", cwd=project, PYTHONPATH=str(spy)))
    for note in set(spy.iterdir()) - {spy / "sitecustomize.py", spy / "__pycache__"}:
        files = {Path(line) for line in note.read_text().splitlines()}
        own = sorted(file.relative_to(project.resolve()).as_posix() for file in files if file.is_relative_to(project.resolve()))
        note.write_text("\n".join(own))
    commit(project)


def write_clips(folder):
    """Three classes of bright, dark and striped clips, in six groups."""
    for number, name in enumerate(("Bright", "Dark", "Striped")):
        (folder / name).mkdir(parents=True)
        for group in range(1, 7):
            random = np.random.default_rng((number, group))
            path = folder / name / f"v_{name}_g{group:02d}_c01.avi"
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"XVID"), 25, (96, 64))
            for _ in range(9):
                frame = random.integers(0, 60, (64, 96, 3), dtype=np.uint8) + np.uint8(150 if name == "Bright" else 0)
                frame[:, ::8] += np.uint8(100 if name == "Striped" else 0)
                writer.write(frame)
            writer.release()
