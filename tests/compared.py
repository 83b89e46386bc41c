"""A project after a comparison of three models with fabricated answers for 120 test clips."""

from contextlib import chdir

import bundles
import fabricate
import numpy as np
from served import ROOT

from actionrec.core import paths
from actionrec.evaluation.prediction_files import write_predictions

BRIGHT, DARK, STRIPED = range(3)
MANY = [f"playing instrument {number:03}" for number in range(700)]
FILES = 2  # clips of each class that are not deleted
PER_CLASS = 40
WRONG = {
    "gru": {(BRIGHT, DARK): 30, (DARK, STRIPED): 3},
    "simple_rnn": {(BRIGHT, STRIPED): 2},
    "lstm": {},
}
"""Model -> errors of its fabricated answers: (true, predicted) -> the first so many clips of the class."""
FIGURES = {
    "gru": {"rank": 1, "top1": 0.725, "top1_low": 0.6, "top1_high": 0.8, "flops": 2e8, "parameters": 4_000_000, "mean_class": 0.7},
    "simple_rnn": {"rank": 2, "top1": 0.983, "top1_low": 0.9, "top1_high": 1.0, "flops": 1e8, "parameters": 9_000_000},
    "lstm": {"rank": 3, "top1": 1.0, "top1_low": 0.95, "top1_high": 1.0, "flops": 3e8, "parameters": 1_000_000, "mean_class": 1.0},
}


def write_compared(project):
    """Write a comparison of three models with fabricated answers, one of which can predict; most clips were deleted."""
    with chdir(project):
        _write()


def write_many_classes(project):
    """Write answers of two models for two test clips of each of 700 classes; the clips' files are missing.

    gru takes the first clip of each class for the next class, except for the last class; simple_rnn is always correct.
    """
    with chdir(project):
        bundles.tiny_bundle(paths.model_folder("gru"), class_names=MANY)
        fabricate.write(paths.model_folder("simple_rnn") / "model.json", {"class_names": MANY})
        paths.PARAMS.write_text("data: {dataset: mine}\n")
        labels = np.repeat(np.arange(len(MANY)), 2)
        clips = [f"{MANY[label]}/{place % 2}.avi" for place, label in enumerate(labels)]
        for name in ("gru", "simple_rnn"):
            predicted = labels.copy()
            if name == "gru":
                predicted[:-2:2] += 1
            logits = 9 * np.eye(len(MANY), dtype=np.float32)[predicted]
            write_predictions(
                paths.predictions(name), fabricate.predictions(clips, labels, ["test"] * len(clips), logits, changes=())
            )
            fabricate.write(paths.model_metrics(name), {})
        setting = {"dataset": "mine", "protocol": "random", "fold": 0, "folds": 5, "test_clips": len(clips), "classes": len(MANY)}
        models = {name: FIGURES[name] for name in ("gru", "simple_rnn")}
        fabricate.write(paths.COMPARISON, {**setting, "best": "gru", "headline": [], "models": models, "suspect_labels": []})


def _write():
    bundles.tiny_bundle(paths.model_folder("gru"))
    bundles.clips(paths.RAW / "mine", count=FILES)
    paths.PARAMS.write_text("data: {dataset: mine}\n")
    labels = np.repeat(np.arange(3), PER_CLASS)
    clips = [f"{name}/v_{name}_g{group:02d}_c01.avi" for name in bundles.CLASSES for group in range(1, PER_CLASS + 1)]
    for name, wrong in WRONG.items():
        predicted = labels.copy()
        for (true, answer), count in wrong.items():
            predicted[true * PER_CLASS : true * PER_CLASS + count] = answer
        logits = (2 + np.arange(len(labels)) % 7 / 7)[:, None] * np.eye(3)[predicted]
        subsets = ["test"] * len(labels)
        write_predictions(paths.predictions(name), fabricate.predictions(clips, labels, subsets, logits.astype(np.float32)))
        fabricate.write(paths.model_metrics(name), {})
        if name != "gru":
            fabricate.write(paths.model_folder(name) / "model.json", {"class_names": bundles.CLASSES})
    setting = {"dataset": "mine", "protocol": "official", "fold": 2, "folds": 5, "test_clips": len(labels), "classes": 3}
    headline = ["Deploy gru: 72.5 % top-1. It is `small`.", "To be surer: test all folds."]
    recorded = {**setting, "best": "gru", "headline": headline, "models": FIGURES, "suspect_labels": [clips[1]]}
    fabricate.write(paths.COMPARISON, recorded)
    paths.REPORT.write_text("# Report")
    paths.PLOTS.mkdir()
    for name in ("accuracy_intervals", "gru_curves"):
        (paths.PLOTS / f"{name}.png").write_bytes((ROOT / "plots/accuracy_intervals.png").read_bytes())
