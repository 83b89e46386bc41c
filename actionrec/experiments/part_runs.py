"""Training runs of a learning curve: one for each part of the training clips, with all seeds, on the same cached features.

Predictions are cached in .work/learning-curve/<key>.npz, where the key is a digest of everything they depend on. So an interrupted
command resumes.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from actionrec.core import paths
from actionrec.core.errors import ActionrecError, DataError, ParamsError, TrainingError
from actionrec.core.progress import progress
from actionrec.evaluation.prediction_files import read_predictions, write_predictions
from actionrec.evaluation.predictions import Predictions
from actionrec.io import files, machine
from actionrec.parallel import pool
from actionrec.parallel.code_digest import code_digest
from actionrec.training import seed_runs
from actionrec.training.bundle import Architecture
from actionrec.training.recipes import Recipe
from actionrec.training.training_data import TrainingData

logger = logging.getLogger(__name__)

STORE = paths.WORK / "learning-curve"


@dataclass(frozen=True)
class PartRun:
    """One model's training on a part of the training clips."""

    part: str
    """Name of the part, for messages."""
    model: str
    recipe: Recipe
    task: TrainingData
    """With the part's training clips; the other subsets are whole."""
    device: str
    predictions: Path
    """File of the result, which may not exist yet."""

    @property
    def architecture(self) -> Architecture:
        return Architecture(self.model, self.recipe.arguments, self.task.features.features.shape[2], self.task.class_names)

    @property
    def epochs(self) -> int:
        """Over all seeds."""
        return self.recipe.train.epochs * len(self.recipe.train.seeds)


def part_run(part: str, model: str, recipe: Recipe, task: TrainingData, features_sum: str, device: str) -> PartRun:
    """A run, with the place of its result.

    Args:
        features_sum: see `digest_of`.

    Raises:
        ParamsError: the model's arguments do not fit together.
    """
    made_from = {
        "features": features_sum,
        "task": _digest_of_task(task),
        "model": model,
        "recipe": asdict(recipe),
        "code": [code_digest(f"train@{model}"), files.sha256_of(Path(__file__))],
        "torch": torch.__version__,
        "device": machine.device_name(device),
        "threads": machine.TRAINING_THREADS,
        "arithmetic": machine.arithmetic(),
    }
    run = PartRun(part, model, recipe, task, device, STORE / f"{files.digest(made_from)}.npz")
    try:
        run.architecture.create()
    except ValueError as error:
        raise ParamsError(f"{paths.PARAMS}: models.{model} (or model): {error}") from None
    return run


def digest_of(features: Path) -> str:
    """Digest of a folder of features: names and contents of its shards."""
    return files.digest({file.name: files.sha256_of(file) for file in features.glob("*.safetensors")})


def _digest_of_task(task: TrainingData) -> str:
    """Digest of the clips with their classes, clusters and subsets."""
    total = hashlib.sha256(files.digest({"clips": task.features.clips, "classes": task.class_names}).encode())
    for array in (task.labels, task.clusters, *(task.rows[subset] for subset in sorted(task.rows))):
        total.update(len(array).to_bytes(8, "little") + array.tobytes())
    return total.hexdigest()


def complete(runs: Sequence[PartRun], jobs: int) -> list[Predictions]:
    """Train what is missing, `jobs` runs at a time; return the predictions of each run.

    Raises:
        TrainingError: a run failed; the others are cached.
    """
    missing = [run for run in runs if _result(run) is None]
    if len(missing) < len(runs):
        logger.info("%d of %d training runs are cached from an earlier run", len(runs) - len(missing), len(runs))
    failed: dict[str, str] = {}
    with progress("Training on parts", sum(run.epochs for run in missing), "epoch") as advance:
        for outcome in pool.run(_train, missing, min(jobs, len(missing)), advance):
            if outcome.error and not isinstance(outcome.error, ActionrecError):
                logger.error("%s: unexpected error", outcome.job.part, exc_info=outcome.error)
            if outcome.error:
                failed[outcome.job.part] = outcome.reason
    results = {run.part: _result(run) for run in runs}
    finished = [result for result in results.values() if result is not None]
    if len(finished) < len(runs):
        reasons = [f"{run.model}, {run.part}: {failed.get(run.part, f'{run.predictions} cannot be used')}" for run in runs]
        raise TrainingError("\n".join(reason for run, reason in zip(runs, reasons, strict=True) if results[run.part] is None))
    return finished


def _result(run: PartRun) -> Predictions | None:
    """A run's predictions; None if the run is not done, or if its file is damaged (logs a warning)."""
    if not run.predictions.exists():
        return None
    try:
        return read_predictions(run.predictions, len(run.task.class_names), "It will be computed again.")
    except DataError as error:
        logger.warning("%s", error)
        return None


def _train(run: PartRun, advance: Callable[[int], None]) -> None:
    """Train once per seed, and write the predictions.

    Args:
        advance: called with finished epochs, and with skipped ones if training ends early.

    Raises:
        TrainingError: the loss is not finite in the first epoch.
    """
    trained = []
    for seed in run.recipe.train.seeds:
        seed_run = seed_runs.run(run.task, run.architecture, run.recipe, seed, run.device, lambda _: advance(1))
        advance(run.recipe.train.epochs - len(seed_run.fit.epochs))
        trained.append(seed_run)
    result = seed_runs.predictions(trained, seed_runs.best(trained, run.task), run.task, 0, run.device)
    write_predictions(run.predictions, result)
