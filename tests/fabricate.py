"""Fabricate what the stages before `compare` leave behind: as objects, and as files below the current folder."""

import json
from pathlib import Path

import numpy as np

from actionrec import metrics, paths, study
from actionrec.comparison import Setting, TrainedModel
from actionrec.models import MODELS

# Share of test clips that a fabricated model gets right: a close field with one failure, as in the study.
SKILL = {
    "simple_rnn": 0.93,
    "lstm": 0.96,
    "gru": 0.97,
    "bilstm": 0.955,
    "stacked_lstm": 0.85,
    "transformer": 0.05,
    "swin_transformer": 0.92,
}
PARAMETERS = {name: result.parameters for name, result in study.RESULTS.items()}


def write(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def results(class_names, *, test=40, val=16, skill=SKILL, epochs=6, weights="IMAGENET1K_V1", split=None, device="cpu"):
    """Write every input of the compare stage: `test` and `val` clips, classes in turn.

    A model answers wrongly with the next class, and its right answers are drawn clip by clip.
    """
    count = len(class_names)
    for order, name in enumerate(MODELS):
        rng = np.random.default_rng(order)
        labels = np.arange(test + val) % count
        subsets = np.array(["test"] * test + ["val"] * val)
        right = rng.random(test + val) < skill[name]
        answers = np.where(right, labels, (labels + 1 + rng.integers(0, max(count // 4, 1), test + val)) % count)
        logits = rng.normal(0, 0.1, (test + val, count)).astype(np.float32)
        logits[np.arange(test + val), answers] += 3
        clips = np.array([f"{class_names[label]}/v_{place:05}.avi" for place, label in enumerate(labels)])
        paths.PREDICTIONS.mkdir(parents=True, exist_ok=True)
        np.savez(paths.predictions(name), clip=clips, label=labels.astype(np.int64), subset=subsets, logits=logits)
        write(
            paths.model_folder(name) / "model.json",
            {
                "model": name,
                "class_names": list(class_names),
                "features": {"backbone": "resnet50", "weights": weights, "weights_sha256": "ab" * 32},
                "frames": {"count": 32},
            },
        )
        chosen = subsets == "test"
        write(
            paths.model_metrics(name),
            {
                "test_top1": metrics.top_k(logits[chosen], labels[chosen], 1),
                "best_epoch": max(1, epochs - order % 3),
                "epochs": epochs,
                "parameters": PARAMETERS[name],
                "train_clips": 3 * (test + val),
            },
        )
        write(
            paths.model_timing(name),
            {"train_seconds": 57.6 + 15 * order, "clips_per_second": 1500.0 - 100 * order, "device": device},
        )
        for subset, lag in (("train", 0.0), ("held_out", 0.08)):
            learned = skill[name] * (1 - np.exp(-np.arange(1, epochs + 1) / 3))
            log(name, f"{subset}/top1", np.clip(learned - lag, 0, 1))
            log(name, f"{subset}/loss", np.log(count) * (1.05 - learned + lag * np.arange(epochs) / epochs))
    write(
        paths.SPLIT_METRICS,
        {
            "dataset": "sample",
            "protocol": "group",
            "folds": 5,
            "fold": 0,
            "validation": 0.2 if val else 0,
            "seed": 0,
            "classes": count,
            "clips": 4 * (test + val),
            "train_clips": 3 * (test + val),
            "val_clips": val,
            "test_clips": test,
            "groups": 25,
            "test_clips_with_sibling_in_training": 0.0,
            "clips_without_group": 0,
            "duplicated_clips": 0,
            "classes_without_test_clips": [],
            **(split or {}),
        },
    )
    write(paths.FRAME_METRICS, {"clips": 4 * (test + val), "decoded": 4 * (test + val), "padded": 2, "failed": 0})


def log(name, metric, values):
    """One of DVCLive's logs."""
    path = paths.model_epochs(name) / "plots" / "metrics" / f"{metric}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"step\t{path.stem}", *(f"{step}\t{value}" for step, value in enumerate(values, start=1))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


SETTING = Setting(
    dataset="sample",
    protocol="group",
    folds=5,
    fold=0,
    seed=0,
    class_names=("a", "b", "c", "d", "e", "f"),
    train_clips=300,
    val_clips=10,
    test_clips=100,
    sibling_share=0.0,
    clips_without_group=0,
    duplicated_clips=0,
    classes_without_test_clips=(),
    clips=410,
    padded=3,
    failed=1,
    backbone="resnet50",
    weights="IMAGENET1K_V1",
    frames=32,
)


def trained(name, right, *, parameters=1_000_000, classes=4, val_right=None, **changes):
    """A model that is right on the test clips where `right` is true and says the next class elsewhere."""
    right = np.asarray(right, dtype=bool)
    val = np.asarray([] if val_right is None else val_right, dtype=bool)
    all_right = np.concatenate([right, val])
    labels = np.concatenate([np.arange(len(right)), np.arange(len(val))]) % classes
    logits = np.zeros((len(labels), classes), dtype=np.float32)
    logits[np.arange(len(labels)), np.where(all_right, labels, (labels + 1) % classes)] = 1
    values = {
        "name": name,
        "clips": np.array([f"{place:04}.avi" for place in range(len(labels))]),
        "labels": labels.astype(np.int64),
        "subsets": np.array(["test"] * len(right) + ["val"] * len(val)),
        "logits": logits,
        "class_names": tuple("abcdefghij"[:classes]),
        "features": {"backbone": "resnet50", "weights": "random", "weights_sha256": "1234"},
        "frames": {"count": 32},
        "test_top1": float(right.mean()),
        "best_epoch": 3,
        "epochs": 5,
        "parameters": parameters,
        "train_clips": 300,
    }
    return TrainedModel(**{**values, **changes})


def first_right(count, total=100):
    return np.arange(total) < count
