"""Records of a model's training: calibration, diagnostics, metrics and timings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from actionrec.data.splits import SUBSETS
from actionrec.evaluation import calibration, cost, metrics
from actionrec.evaluation.logits import answers
from actionrec.evaluation.predictions import Answers, Predictions
from actionrec.io import files, machine
from actionrec.models import parameter_count
from actionrec.training import diagnostics
from actionrec.training.diagnostics import Curves, Kept, TrainingDiagnostics
from actionrec.training.loop import Fit
from actionrec.training.seed_runs import SeedRun
from actionrec.training.training_data import TrainingData


def calibrate(result: Predictions) -> dict[str, float] | None:
    """Fit a bundle's calibration on the validation clips; None if there are none."""
    val = result.val
    if not len(val.labels):
        return None
    temperature = calibration.fit_temperature(val.logits, val.labels)
    answered = calibration.confidences(val.logits, val.labels, temperature or 1.0)
    return {
        "temperature": temperature or 1.0,
        "temperature_fitted": temperature is not None,
        "threshold": calibration.confidence_threshold(answered),
    }


def judge(fit: Fit, data: TrainingData, result: Predictions) -> TrainingDiagnostics:
    """Diagnose the saved model's training."""
    columns = ("train_loss", "train_top1", "held_out_loss", "held_out_top1", "gradient_norm")
    last = [float("nan")] * (fit.diverged_in is not None)
    curves = Curves(*([getattr(epoch, column) for epoch in fit.epochs] + last for column in columns))
    held_out = result.val if data.held_out == "val" else result.saved_test
    majority_accuracy = float(np.bincount(held_out.labels).max() / len(held_out.labels))
    kept = Kept(answers(held_out.logits), metrics.correct_at_k(held_out.logits, held_out.labels, 1), held_out.clusters)
    return diagnostics.verdict(curves, len(data.class_names), majority_accuracy, len(held_out.labels), kept)


def metrics_of(
    data: TrainingData,
    runs: Sequence[SeedRun],
    chosen: SeedRun,
    result: Predictions,
    fitted: dict[str, float] | None,
    diagnosis: TrainingDiagnostics,
) -> dict[str, Any]:
    """Flat metrics of the saved model on its own fold, and statistics over seeds and folds."""
    test = result.saved_test
    over_seeds = [metrics.top_k(logits, test.labels, 1) for logits in test.seed_logits]
    temperature = fitted["temperature"] if fitted else 1.0
    frames, feature_dim = data.features.features.shape[1:]
    return {
        **accuracies("test", test),
        **(accuracies("val", result.val) if len(result.val.labels) else {}),
        "test_top1_mean": float(np.mean(over_seeds)),
        **({"test_top1_std": float(np.std(over_seeds, ddof=1))} if len(runs) > 1 else {}),
        **({"folds_top1_mean": float(result.correct().mean())} if len(np.unique(result.folds)) > 1 else {}),
        **{f"test_top1_{change}": metrics.top_k(logits, test.labels, 1) for change, logits in test.changed.items()},
        "test_ece": calibration.expected_calibration_error(calibration.confidences(test.logits, test.labels)),
        "test_ece_calibrated": calibration.expected_calibration_error(
            calibration.confidences(test.logits, test.labels, temperature)
        ),
        **(fitted or {}),
        "best_epoch": chosen.fit.best_epoch,
        "epochs": len(chosen.fit.epochs),
        "seeds": len(runs),
        "best_seed": chosen.seed,
        "parameters": parameter_count(chosen.network),
        "order_blind": bool(getattr(chosen.network.model, "order_blind", False)),
        "flops": cost.flops(chosen.network, frames, feature_dim),
        **{f"{subset}_clips": len(data.rows[subset]) for subset in SUBSETS},
        "health": diagnosis.verdict,
        "health_notes": [diagnosis.why, *diagnosis.notes],
    }


def digest(metrics_file: Path, epochs: Path) -> str:
    """SHA-256 over a model's metrics.json and its epoch logs, in hexadecimal."""
    named = {file.relative_to(epochs).as_posix(): file for file in epochs.rglob("*") if file.is_file()}
    return files.digest({name: files.sha256_of(file) for name, file in {**named, "metrics": metrics_file}.items()})


def accuracies(subset: str, answered: Answers) -> dict[str, float]:
    """Flat metrics of one subset, as fractions."""
    logits, labels = answered.logits, answered.labels
    return {
        f"{subset}_top1": metrics.top_k(logits, labels, 1),
        f"{subset}_top5": metrics.top_k(logits, labels, 5),
        f"{subset}_mean_class": metrics.mean_class(logits, labels),
        f"{subset}_loss": metrics.cross_entropy(logits, labels),
    }


def timing_of(data: TrainingData, runs: Sequence[SeedRun], chosen: SeedRun, device: str) -> dict[str, Any]:
    """Measurements that differ from run to run: training time over all seeds, latency and memory of a prediction."""
    seconds = sum(run.fit.seconds for run in runs)
    clips = len(data.rows["train"]) * sum(len(run.fit.epochs) for run in runs)
    frames, feature_dim = data.features.features.shape[1:]
    used = cost.memory(chosen.network, frames, feature_dim)
    return {
        "train_seconds": round(seconds, 3),
        "clips_per_second": round(clips / seconds, 1),
        "device": machine.device_name(device),
        "latency_ms": round(cost.latency(chosen.network, frames, feature_dim), 3),
        "memory_mb": round((used.parameter_bytes + used.activation_bytes) / 1e6, 1),
    }
