"""Fabricate what the stages before `compare` leave behind: as objects, and as files below the current folder."""

import json
import shutil
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np

from actionrec.core import paths
from actionrec.data.clips import Clip, write_clips
from actionrec.data.splits import write_split
from actionrec.evaluation import metrics, study_results
from actionrec.evaluation.clip_cost import BackboneCost, ClipTiming
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.logits import compact
from actionrec.evaluation.prediction_files import write_predictions
from actionrec.evaluation.predictions import Answers, Predictions
from actionrec.evaluation.trained_models import TrainedModel
from actionrec.features import tuned_backbone
from actionrec.io.files import write_csv
from actionrec.models import MODELS
from actionrec.training.frame_order import PERTURBATIONS
from actionrec.training.loop import TrainSettings
from actionrec.training.record import calibrate
from actionrec.video.frame_store import LEDGER_HEADER

# Share of test clips that a fabricated model gets right: a close field with one failure, as in the study.
SKILL = {
    "simple_rnn": 0.93,
    "lstm": 0.96,
    "gru": 0.97,
    "bilstm": 0.955,
    "stacked_lstm": 0.85,
    "transformer": 0.05,
    "swin_transformer": 0.92,
    "mean_pool": 0.5,
    "mean_std": 0.5,
    "middle_frame": 0.4,
}
SKILL |= {name: 0.9 for name in MODELS if name not in SKILL}
AUDIT = {
    "train_clips": 300,
    "test_clips": 40,
    "siblings": 0,
    "sibling_share": 0.0,
    "copied": 0,
    "copied_share": 0.0,
    "copies": [],
    "near": {
        "test_clips": 40,
        "threshold": 0.98,
        "unrelated_pairs": 1000,
        "flagged": 1,
        "strangers": 1,
        "share": 0.025,
        "top": [{"test": "a/v_1.avi", "train": "a/v_2.avi", "similarity": 0.991, "same_class": True, "sibling": False}],
        "recall": None,
    },
}
BASELINES = ("mean_pool", "mean_std", "middle_frame")
BACKBONE = BackboneCost(parameters=23_508_032, flops=261_576_720_384, memory_mb=452.3)  # resnet50, 32 frames
NO_BACKBONE = BackboneCost(0, 0, 0.0)
CLIP_TIMING = ClipTiming(decode_ms=40.0, backbone_ms=960.0, device="cpu (fast)")
PARAMETERS = dict.fromkeys(MODELS, 100_000) | {name: result.parameters for name, result in study_results.RESULTS.items()}


def write(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def results(
    class_names, *, test=40, val=16, skill=SKILL, epochs=6, weights="IMAGENET1K_V1", split=None, device="cpu", seeds=(0,), folds=1
):
    """Write every input of the compare stage: `test` and `val` clips, classes in turn.

    A model answers wrongly with the next class, and its right answers are drawn clip by clip. With several `folds`, the
    test clips are divided over them source by source.
    """
    count = len(class_names)
    for order, name in enumerate(SKILL):
        rng = np.random.default_rng(order)
        labels = np.arange(test + val) % count
        subsets = np.array(["test"] * test + ["val"] * val)
        right = rng.random(test + val) < skill[name]
        answers = np.where(right, labels, (labels + 1 + rng.integers(0, max(count // 4, 1), test + val)) % count)
        logits = rng.normal(0, 0.1, (test + val, count)).astype(np.float32)
        logits[np.arange(test + val), answers] += 3
        clips = np.array([f"{class_names[label]}/v_{place:05}.avi" for place, label in enumerate(labels)])
        result = predictions(clips, labels, subsets, logits, seeds=seeds, random=rng, folds=folds)
        write_predictions(paths.predictions(name), result)
        write(
            paths.model_folder(name) / "model.json",
            {
                "model": name,
                "class_names": list(class_names),
                "features": {"backbone": "resnet50", "weights": weights, "weights_sha256": "ab" * 32},
                "frames": {"count": 32},
            },
        )
        chosen = (subsets == "test") & (result.folds == 0)
        write(
            paths.model_metrics(name),
            {
                "test_top1": metrics.top_k(logits[chosen], labels[chosen], 1),
                "best_epoch": max(1, epochs - order % 3),
                "epochs": epochs,
                "parameters": PARAMETERS[name],
                "order_blind": name in BASELINES,
                "flops": 32 * 2 * PARAMETERS[name],
                "train_clips": 3 * (test + val),
                **(calibrate(result) or {}),
                "health": "at chance" if skill[name] < 0.1 else "learned",
                "health_notes": ["the training loss stays at ln K" if skill[name] < 0.1 else "best held-out top-1 90 %"],
            },
        )
        write(
            paths.model_timing(name),
            {
                "train_seconds": 57.6 + 15 * order,
                "clips_per_second": 1500.0 - 100 * order,
                "device": device,
                "latency_ms": 2.0 + 3 * order,
                "memory_mb": 4 * PARAMETERS[name] / 1e6,
            },
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
    shutil.copy(Path(__file__).parents[1] / paths.PARAMS, paths.PARAMS)
    data_set(class_names, test, val)
    paths.BACKBONE.mkdir(parents=True, exist_ok=True)
    tuned_backbone.write_untuned(paths.BACKBONE)
    write(paths.FINETUNE_METRICS, {})
    write(paths.AUDIT, AUDIT)
    write(paths.CLIP_COST, {"backbone": "resnet50", "frames": 32, "resolution": 224, **asdict(BACKBONE)})
    write(paths.CLIP_TIMING, asdict(CLIP_TIMING))
    write(paths.FRAME_METRICS, {"clips": 4 * (test + val), "decoded": 4 * (test + val), "padded": 2, "failed": 0})


def data_set(class_names, test, val):
    """Write clips and split with the ids that `results` gives its clips, training clips after them; two clips a group."""
    subsets = ["test"] * test + ["val"] * val + ["train"] * 3 * (test + val)
    labels = [class_names[place % len(class_names)] for place in range(len(subsets))]
    ids = [f"{label}/v_{place:05}.avi" for place, label in enumerate(labels)]
    groups = [f"{label}-{place // (2 * len(class_names))}" for place, label in enumerate(labels)]
    clips = [Clip(clip, label, group, 1000, clip) for clip, label, group in zip(ids, labels, groups, strict=True)]
    write_clips(paths.CLIPS, sorted(clips, key=lambda clip: clip.id))
    write_split(paths.SPLIT, dict(zip(ids, subsets, strict=True)))
    rows = [[clip, 50 + place % 9, 50 + place % 9, 32, 0, "pyav", "", ""] for place, clip in enumerate(sorted(ids))]
    write_csv(paths.FRAMES / "ledger.csv", LEDGER_HEADER, rows)
    write(paths.FRAMES / "frames.json", {"count": 32, "resolution": 224, "format": "jpeg", "quality": 95})


def predictions(clips, labels, subsets, logits, *, seeds=(0,), changes=PERTURBATIONS, random=None, folds=1):
    """Two clips a source; each seed's logits are the saved model's and a little noise; a changed order costs half the answers."""
    random = random or np.random.default_rng(0)
    noise = [random.normal(0, 2.0 * (place > 0), logits.shape).astype(np.float32) for place in range(len(seeds))]
    spoiled = {name: np.where(np.arange(len(labels))[:, None] % 2, logits, np.roll(logits, 1, axis=1)) for name in changes}
    labels = np.asarray(labels, dtype=np.int64)
    clusters = labels * len(labels) + np.arange(len(labels)) // (2 * logits.shape[1])
    kept = partial(compact, labels=labels)
    of_seeds = [kept(logits + one) for one in noise]
    changed = {name: kept(table) for name, table in spoiled.items()}
    answers = Answers(np.asarray(clips), labels, clusters, kept(logits), of_seeds, changed)
    test = np.asarray(subsets) == "test"
    fold_of = np.zeros(len(labels), dtype=np.int64)
    fold_of[test] = np.unique(clusters[test], return_inverse=True)[1] % folds
    return Predictions(answers, np.asarray(subsets), tuple(seeds), fold_of, 0)


def log(name, metric, values):
    """One of DVCLive's logs."""
    path = paths.model_epochs(name) / "plots" / "metrics" / f"{metric}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"step\t{path.stem}", *(f"{step}\t{value}" for step, value in enumerate(values, start=1))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


CONTEXT = EvaluationContext(
    dataset="sample",
    protocol="group",
    folds=5,
    fold=0,
    evaluated_folds=1,
    seed=0,
    class_names=("a", "b", "c", "d", "e", "f"),
    train_clips=300,
    val_clips=10,
    test_clips=100,
    test_sources=50,
    seeds=1,
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


def trained(name, right, *, parameters=1_000_000, classes=4, val_right=None, clusters=None, **changes):
    """A model that is right on the test clips where `right` is true and says the next class elsewhere."""
    right = np.asarray(right, dtype=bool)
    val = np.asarray([] if val_right is None else val_right, dtype=bool)
    all_right = np.concatenate([right, val])
    labels = np.concatenate([np.arange(len(right)), np.arange(len(val))]) % classes
    logits = np.zeros((len(labels), classes), dtype=np.float32)
    logits[np.arange(len(labels)), np.where(all_right, labels, (labels + 1) % classes)] = 1
    clips = np.array([f"{place:04}.avi" for place in range(len(labels))])
    subsets = np.array(["test"] * len(right) + ["val"] * len(val))
    made = predictions(clips, labels, subsets, logits)
    if clusters is not None:
        made = replace(made, answers=replace(made.answers, clusters=np.asarray(clusters)))
    fitted = calibrate(made)
    values = {
        "name": name,
        "predictions": made,
        "class_names": tuple("abcdefghij"[:classes]),
        "features": {"backbone": "resnet50", "weights": "random", "weights_sha256": "1234"},
        "frames": {"count": 32},
        "test_top1": float(right.mean()) if len(right) else 0.0,
        "best_epoch": 3,
        "epochs": 5,
        "order_blind": False,
        "parameters": parameters,
        "flops": 64 * parameters,
        "train_clips": 300,
        "health": "learned",
        "health_notes": ("best held-out top-1 90 %",),
        "temperature": fitted["temperature"] if fitted and fitted["temperature_fitted"] else None,
        "threshold": fitted["threshold"] if fitted else 0.0,
    }
    return TrainedModel(**{**values, **changes})


def toy_set(frames, feature_dim, class_count, margin):
    """Thirty clips whose class shows in one dimension: features (n, T, D) in fp16, labels (n,), training rows, held-out rows."""
    random = np.random.default_rng(0)
    labels = np.arange(30) % class_count
    features = random.normal(size=(30, frames, feature_dim)) * 0.5
    features[np.arange(30), :, labels] += margin
    return features.astype(np.float16), labels, np.arange(21), np.arange(21, 30)


def train_settings(**changes):
    """Short and plain training: three epochs, no warm-up, no clipping, one seed."""
    values = {
        "epochs": 3,
        "batch_size": 4,
        "learning_rate": 0.01,
        "weight_decay": 0.0,
        "step_size": 5,
        "gamma": 0.5,
        "warmup_epochs": 0.0,
        "clip_norm": 0.0,
        "precision": "fp32",
        "standardise": True,
        "class_weights": "none",
        "seeds": [0],
    }
    return TrainSettings(**{**values, **changes})


def first_right(count, total=100):
    return np.arange(total) < count
