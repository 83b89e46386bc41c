"""Train one sequence model on the cached features; predict the validation and test clips once with its best epoch."""

import argparse
import logging
from dataclasses import asdict

from dvclive.live import Live

from actionrec.core import entry, paths
from actionrec.core.errors import ParamsError
from actionrec.core.progress import progress
from actionrec.evaluation import metrics, predictions
from actionrec.io import files, machine
from actionrec.models import MODELS
from actionrec.training import checkpoints, record, seed_runs
from actionrec.training.bundle import Architecture, Bundle, save_bundle
from actionrec.training.checkpoints import Checkpoint
from actionrec.training.loop import Epoch
from actionrec.training.recipes import Recipe, read_recipe
from actionrec.training.seed_runs import SeedRun
from actionrec.training.training_data import TrainingData, read_training_data

logger = logging.getLogger(__name__)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.train", description=__doc__)
    parser.add_argument("model", choices=MODELS)
    name = parser.parse_args().model

    recipe = read_recipe(name)
    data = read_training_data()
    device = machine.device()
    architecture = Architecture(name, recipe.arguments, data.features.features.shape[2], data.class_names)
    try:
        architecture.create()
    except ValueError as error:
        raise ParamsError(f"params.yaml: models.{name} (or model): {error}") from None
    runs = train(name, data, architecture, recipe, device)
    chosen = seed_runs.best(runs, data)
    if chosen is not runs[-1]:  # the epoch log must be the saved model's
        with log(name) as live:
            for epoch in chosen.fit.epochs:
                log_epoch(live, epoch)

    result = seed_runs.predictions(runs, chosen, data, device)
    predictions.write_predictions(paths.predictions(name), result)
    chosen.network.cpu()
    calibration = record.calibrate(result)
    diagnosis = record.judge(chosen.fit, data, result)
    files.write_json(paths.model_metrics(name), record.metrics_of(data, runs, chosen, result, calibration, diagnosis))
    record_sha256 = record.digest(paths.model_metrics(name), paths.model_epochs(name))
    bundle = Bundle(architecture, chosen.network, data.features.source, calibration, record_sha256)
    save_bundle(paths.model_folder(name), bundle)
    files.write_json(paths.model_timing(name), record.timing_of(data, runs, chosen, device))
    top1 = metrics.top_k(result.test.logits, result.test.labels, 1)
    logger.info(
        "%s: test top-1 %.1f %%, epoch %d; %s: %s", name, 100 * top1, chosen.fit.best_epoch, diagnosis.verdict, diagnosis.why
    )


def train(name: str, data: TrainingData, architecture: Architecture, recipe: Recipe, device: str) -> list[SeedRun]:
    """Train once per seed and log each epoch."""
    runs = []
    checkpointers = {seed: checkpointer(name, data, architecture, recipe, seed, device) for seed in recipe.train.seeds}
    checkpoints.keep_only(name, checkpointers.values())
    with progress(f"Training {name}", recipe.train.epochs * len(recipe.train.seeds), "epoch") as advance:
        for seed in recipe.train.seeds:
            with log(name) as live:

                def on_epoch(epoch: Epoch, live: Live = live) -> None:
                    log_epoch(live, epoch)
                    advance(1)

                runs.append(seed_runs.run(data, architecture, recipe, seed, device, on_epoch, checkpointers[seed]))
    return runs


def checkpointer(name: str, data: TrainingData, architecture: Architecture, recipe: Recipe, seed: int, device: str) -> Checkpoint:
    """The checkpoint of one seed's training run."""
    settings = {key: value for key, value in asdict(recipe.train).items() if key != "seeds"}
    made_from = {
        "data": data.signature(),
        "architecture": asdict(architecture),
        "settings": settings,
        "seed": recipe.seed + seed,
        "device": machine.device_name(device),
    }
    return checkpoints.checkpoint(name, made_from)


def log(name: str) -> Live:
    return Live(str(paths.model_epochs(name)), dvcyaml=None, save_dvc_exp=False, report=None)


def log_epoch(live: Live, epoch: Epoch) -> None:
    """Log one epoch; the held-out clips are the validation clips, or the test clips if split.validation is 0."""
    live.step = epoch.number
    live.log_metric("learning_rate", epoch.learning_rate)
    live.log_metric("gradient_norm", epoch.gradient_norm)
    live.log_metric("train/loss", epoch.train_loss)
    live.log_metric("train/top1", epoch.train_top1)
    live.log_metric("held_out/loss", epoch.held_out_loss)
    live.log_metric("held_out/top1", epoch.held_out_top1)
    live.make_summary()


if __name__ == "__main__":
    entry.run(main)
