"""Train one sequence model on the cached features; predict the validation and test clips once with its best epoch."""

import argparse
import logging
import os
from dataclasses import asdict
from typing import Any

# Both are read when torch starts. CUDA's matrix products are reproducible only so; and threads that wait for each other awake
# make training ten times slower where anything else wants a core.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
from dvclive.live import Live

from actionrec import calibration, checkpoints, cost, entry, files, health, machine, metrics, paths, predictions, trials
from actionrec.bundle import Architecture, Bundle, save_bundle
from actionrec.checkpoints import Checkpoint
from actionrec.errors import ParamsError
from actionrec.health import Curves
from actionrec.models import MODELS, parameter_count
from actionrec.predictions import Answers, Predictions
from actionrec.progress import progress
from actionrec.recipes import Recipe, read_recipe
from actionrec.splits import SUBSETS
from actionrec.task import Task, read_task
from actionrec.training import Epoch, Fit
from actionrec.trials import Trial

logger = logging.getLogger(__name__)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.train", description=__doc__)
    parser.add_argument("model", choices=MODELS)
    name = parser.parse_args().model

    recipe = read_recipe(name)
    task = read_task()
    device = machine.device()
    architecture = Architecture(name, recipe.arguments, task.features.features.shape[2], task.class_names)
    made = train(name, task, architecture, recipe, device)
    chosen = trials.best(made, task)
    if chosen is not made[-1]:  # the log of an epoch a line is the saved model's
        with log(name) as live:
            for epoch in chosen.fit.epochs:
                log_epoch(live, epoch)

    result = trials.predictions(made, chosen, task, device)
    predictions.write_predictions(paths.predictions(name), result)
    chosen.network.cpu()
    fitted = calibrate(result)
    save_bundle(paths.model_folder(name), Bundle(architecture, chosen.network, task.features.source, fitted))
    verdict = judge(chosen.fit, task, result)
    write_metrics(name, task, made, chosen, result, fitted, verdict)
    write_timing(name, task, made, chosen, device)
    top1 = metrics.top_k(result.test.logits, result.test.labels, 1)
    logger.info("%s: test top-1 %.1f %%, epoch %d; %s: %s", name, 100 * top1, chosen.fit.best_epoch, verdict.verdict, verdict.why)


def train(name: str, task: Task, architecture: Architecture, recipe: Recipe, device: str) -> list[Trial]:
    """Train once a seed, logging epochs as they come."""
    made = []
    keepers = {seed: keeper(name, task, architecture, recipe, seed, device) for seed in recipe.train.seeds}
    checkpoints.keep_only(name, keepers.values())
    with progress(f"Training {name}", recipe.train.epochs * len(recipe.train.seeds), "epoch") as advance:
        for seed in recipe.train.seeds:
            with log(name) as live:

                def on_epoch(epoch: Epoch, live: Live = live) -> None:
                    log_epoch(live, epoch)
                    advance(1)

                try:
                    run = trials.run(task, architecture, recipe.train, recipe.seed, seed, device, on_epoch, keepers[seed])
                except ValueError as error:
                    raise ParamsError(f"params.yaml: models.{name} (or model): {error}") from None
                made.append(run)
    return made


def keeper(name: str, task: Task, architecture: Architecture, recipe: Recipe, seed: int, device: str) -> Checkpoint:
    """The checkpoint of one seed's training run."""
    settings = {key: value for key, value in asdict(recipe.train).items() if key != "seeds"}
    made_from = {
        "task": task.signature(),
        "architecture": asdict(architecture),
        "settings": settings,
        "seed": recipe.seed + seed,
        "device": [device.partition(":")[0], machine.has_bf16(device)],
    }
    return checkpoints.checkpoint(name, made_from)


def log(name: str) -> Live:
    return Live(str(paths.model_epochs(name)), dvcyaml=None, save_dvc_exp=False, report=None)


def log_epoch(live: Live, epoch: Epoch) -> None:
    """Log one epoch; held out are the validation clips, or the test clips where split.validation is 0."""
    live.step = epoch.number
    live.log_metric("learning_rate", epoch.learning_rate)
    live.log_metric("gradient_norm", epoch.gradient_norm)
    live.log_metric("train/loss", epoch.train_loss)
    live.log_metric("train/top1", epoch.train_top1)
    live.log_metric("held_out/loss", epoch.held_out_loss)
    live.log_metric("held_out/top1", epoch.held_out_top1)
    live.make_summary()


def calibrate(result: Predictions) -> dict[str, float] | None:
    """Fit temperature and threshold on validation clips, where there are any."""
    val = result.val
    if not len(val.labels):
        return None
    temperature = calibration.fit_temperature(val.logits, val.labels)
    probabilities = calibration.softmax(val.logits, temperature)
    return {"temperature": temperature, "threshold": calibration.confidence_threshold(probabilities, val.labels)}


def judge(fit: Fit, task: Task, result: Predictions) -> health.Health:
    """The verdict on the saved model's training."""
    columns = ("train_loss", "train_top1", "held_out_loss", "held_out_top1", "gradient_norm")
    last = [float("nan")] * (fit.diverged_in is not None)
    curves = Curves(*([getattr(epoch, column) for epoch in fit.epochs] + last for column in columns))
    held_out = result.val if task.held_out == "val" else result.test
    guessing = float(np.bincount(held_out.labels).max() / len(held_out.labels))
    return health.verdict(curves, len(task.class_names), guessing, len(held_out.labels), held_out.logits.argmax(axis=1))


def write_metrics(
    name: str,
    task: Task,
    made: list[Trial],
    chosen: Trial,
    result: Predictions,
    fitted: dict[str, float] | None,
    verdict: health.Health,
) -> None:
    """Write flat metrics: of the saved model, and over the seeds."""
    test = result.test
    over_seeds = [metrics.top_k(logits, test.labels, 1) for logits in test.seed_logits]
    temperature = fitted["temperature"] if fitted else 1.0
    frames, feature_dim = task.features.features.shape[1:]
    record: dict[str, Any] = {
        **accuracies("test", test),
        **(accuracies("val", result.val) if len(result.val.labels) else {}),
        "test_top1_mean": float(np.mean(over_seeds)),
        **({"test_top1_std": float(np.std(over_seeds, ddof=1))} if len(made) > 1 else {}),
        **{f"test_top1_{change}": metrics.top_k(logits, test.labels, 1) for change, logits in test.changed.items()},
        "test_ece": calibration.expected_calibration_error(calibration.softmax(test.logits), test.labels),
        "test_ece_calibrated": calibration.expected_calibration_error(calibration.softmax(test.logits, temperature), test.labels),
        **(fitted or {}),
        "best_epoch": chosen.fit.best_epoch,
        "epochs": len(chosen.fit.epochs),
        "seeds": len(made),
        "best_seed": chosen.seed,
        "parameters": parameter_count(chosen.network),
        "flops": cost.flops(chosen.network, frames, feature_dim),
        **{f"{subset}_clips": len(task.rows[subset]) for subset in SUBSETS},
        "health": verdict.verdict,
        "health_notes": [verdict.why, *verdict.notes],
    }
    files.write_json(paths.model_metrics(name), record)


def accuracies(subset: str, answers: Answers) -> dict[str, float]:
    """Flat metrics of one subset, as fractions."""
    logits, labels = answers.logits, answers.labels
    return {
        f"{subset}_top1": metrics.top_k(logits, labels, 1),
        f"{subset}_top5": metrics.top_k(logits, labels, 5),
        f"{subset}_mean_class": metrics.mean_class(logits, labels),
        f"{subset}_loss": metrics.cross_entropy(logits, labels),
    }


def write_timing(name: str, task: Task, made: list[Trial], chosen: Trial, device: str) -> None:
    """Write what differs on every run: seconds of training over all seeds, and what a prediction costs."""
    seconds = sum(trial.fit.seconds for trial in made)
    clips = len(task.rows["train"]) * sum(len(trial.fit.epochs) for trial in made)
    frames, feature_dim = task.features.features.shape[1:]
    used = cost.memory(chosen.network, frames, feature_dim)
    timing = {
        "train_seconds": round(seconds, 3),
        "clips_per_second": round(clips / seconds, 1),
        "device": machine.device_name(device),
        "latency_ms": round(cost.latency(chosen.network, frames, feature_dim), 3),
        "memory_mb": round((used.parameter_bytes + used.activation_bytes) / 1e6, 1),
    }
    files.write_json(paths.model_timing(name), timing)


if __name__ == "__main__":
    entry.run(main)
