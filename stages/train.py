"""Train one sequence model on the cached features; predict the validation and test clips once with its best epoch.

With `evaluation.folds=all` it is trained in every fold, and the saved model is that of `split.fold`.
"""

import argparse
import logging
from dataclasses import asdict, dataclass

from actionrec.core import entry, paths
from actionrec.core.errors import ParamsError, TrainingError
from actionrec.core.progress import progress
from actionrec.data.clip_seconds import median_seconds, read_clip_seconds
from actionrec.data.splits import SplitSettings
from actionrec.evaluation import metrics, predictions
from actionrec.evaluation.prediction_files import write_predictions
from actionrec.evaluation.predictions import Predictions
from actionrec.io import files, machine, params
from actionrec.models import MODELS
from actionrec.training import checkpoints, record, seed_runs
from actionrec.training.bundle import Architecture, Bundle, save_bundle
from actionrec.training.checkpoints import Checkpoint
from actionrec.training.epoch_log import LogEpoch, epoch_log
from actionrec.training.loop import Epoch
from actionrec.training.recipes import Recipe, read_recipe
from actionrec.training.seed_runs import SeedRun
from actionrec.training.training_data import TrainingData, read_other_folds, read_training_data

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Params:
    """The section of params.yaml that this stage reads beside the model's recipe."""

    split: SplitSettings


@dataclass(frozen=True)
class Job:
    """One model, trained by one recipe in each fold on the same features."""

    name: str
    recipe: Recipe
    architecture: Architecture
    data: TrainingData
    """Of the saved fold, `split.fold`: its model is the one that is saved."""
    saved_fold: int
    others: dict[int, TrainingData]
    """Fold -> data, for `evaluation.folds=all`."""
    device: str


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.train", description=__doc__)
    parser.add_argument("model", choices=MODELS)
    job = read_job(parser.parse_args().model)
    name, data, device = job.name, job.data, job.device
    clip_seconds = median_seconds(read_clip_seconds(paths.CLIP_SECONDS), data.training_clips)

    runs, others = train(job)
    chosen = seed_runs.best(runs, data)
    if chosen is not runs[-1]:  # the epoch log must be the saved model's
        with epoch_log(paths.model_epochs(name)) as log:
            for epoch in chosen.fit.epochs:
                log(epoch.number, measurements(epoch))

    result = predictions.pooled(seed_runs.predictions(runs, chosen, data, job.saved_fold, device), others)
    write_predictions(paths.predictions(name), result)
    chosen.network.cpu()
    calibration = record.calibrate(result)
    diagnosis = record.judge(chosen.fit, data, result)
    files.write_json(paths.model_metrics(name), record.metrics_of(data, runs, chosen, result, calibration, diagnosis))
    record_sha256 = record.digest(paths.model_metrics(name), paths.model_epochs(name))
    bundle = Bundle(job.architecture, chosen.network, data.features.source, calibration, record_sha256, clip_seconds)
    save_bundle(paths.model_folder(name), bundle)
    files.write_json(paths.model_timing(name), record.timing_of(data, runs, chosen, device))
    top1 = metrics.top_k(result.saved_test.logits, result.saved_test.labels, 1)
    logger.info(
        "%s: test top-1 %.1f %%, epoch %d; %s: %s", name, 100 * top1, chosen.fit.best_epoch, diagnosis.verdict, diagnosis.why
    )
    if others:
        logger.info("%s: test top-1 of all %d folds %.1f %%", name, 1 + len(others), 100 * result.correct().mean())


def read_job(name: str) -> Job:
    """Read the recipe and the data of all folds.

    Raises:
        ParamsError: the recipe is invalid, or the model's arguments do not fit together.
        DataError: see `read_training_data`.
    """
    recipe = read_recipe(name)
    data = read_training_data()
    architecture = Architecture(name, recipe.arguments, data.features.features.shape[2], data.class_names)
    try:
        architecture.create()
    except ValueError as error:
        raise ParamsError(f"params.yaml: models.{name} (or model): {error}") from None
    others = read_other_folds(data.features)
    return Job(name, recipe, architecture, data, params.read(Params).split.fold, others, machine.device())


def train(job: Job) -> tuple[list[SeedRun], list[Predictions]]:
    """Train once per seed in each fold.

    Returns:
        The runs of the saved fold, whose epochs are logged; and the predictions of each other fold.

    Raises:
        TrainingError: see `seed_runs.run`; names the fold, if it is not the saved one.
    """
    seeds, epochs = job.recipe.train.seeds, job.recipe.train.epochs
    saved = {seed: checkpointer(job, job.data, seed) for seed in seeds}
    other = {(fold, seed): checkpointer(job, data, seed) for fold, data in job.others.items() for seed in seeds}
    checkpoints.keep_only(job.name, [*saved.values(), *other.values()])
    runs, others = [], []
    with progress(f"Training {job.name}", epochs * (len(saved) + len(other)), "epoch") as advance:
        for seed in seeds:
            with epoch_log(paths.model_epochs(job.name)) as log:

                def on_epoch(epoch: Epoch, log: LogEpoch = log) -> None:
                    log(epoch.number, measurements(epoch))
                    advance(1)

                runs.append(seed_runs.run(job.data, job.architecture, job.recipe, seed, job.device, on_epoch, saved[seed]))
        for fold, data in job.others.items():
            try:
                trained = [
                    seed_runs.run(data, job.architecture, job.recipe, seed, job.device, lambda _: advance(1), other[fold, seed])
                    for seed in seeds
                ]
            except TrainingError as error:
                raise TrainingError(f"fold {fold}, which evaluation.folds=all needs: {error}") from None
            for run in trained:
                if run.fit.diverged_in is not None:
                    logger.warning("%s: fold %d, seed %d diverged in epoch %d", job.name, fold, run.seed, run.fit.diverged_in)
            others.append(seed_runs.predictions(trained, seed_runs.best(trained, data), data, fold, job.device))
    return runs, others


def checkpointer(job: Job, data: TrainingData, seed: int) -> Checkpoint:
    """The checkpoint of one seed's training run on one fold's data."""
    settings = {key: value for key, value in asdict(job.recipe.train).items() if key != "seeds"}
    made_from = {
        "data": data.signature(),
        "architecture": asdict(job.architecture),
        "settings": settings,
        "seed": job.recipe.seed + seed,
        "device": machine.device_name(job.device),
    }
    return checkpoints.checkpoint(job.name, made_from)


def measurements(epoch: Epoch) -> dict[str, float]:
    """An epoch's log; the held-out clips are the validation clips, or the test clips if split.validation is 0."""
    return {
        "learning_rate": epoch.learning_rate,
        "gradient_norm": epoch.gradient_norm,
        "train/loss": epoch.train_loss,
        "train/top1": epoch.train_top1,
        "held_out/loss": epoch.held_out_loss,
        "held_out/top1": epoch.held_out_top1,
    }


if __name__ == "__main__":
    entry.run(main)
