"""Cross-validation: the same recipes in every fold of the group split, on the same cached features; each clip is tested once.

A training run is one fold and one model. Its predictions are cached in .work/cross-validate/<key>.npz, where the key is a digest
of everything they depend on. So an interrupted run resumes, and another fold count or model trains only what is missing.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from actionrec.core import paths
from actionrec.core.errors import ActionrecError, DataError, ParamsError
from actionrec.core.progress import progress
from actionrec.data.clips import Clip
from actionrec.data.splits import SplitSettings
from actionrec.evaluation.predictions import Answers, Predictions, read_predictions, write_predictions
from actionrec.experiments import leak_gap
from actionrec.features.feature_store import FeatureSet
from actionrec.io import files, machine
from actionrec.models import parameter_count
from actionrec.parallel import pool
from actionrec.parallel.code_digest import code_digest
from actionrec.training import seed_runs
from actionrec.training.bundle import Architecture
from actionrec.training.recipes import Recipe
from actionrec.training.training_data import TrainingData

logger = logging.getLogger(__name__)

STORE = paths.WORK / "cross-validate"


@dataclass(frozen=True)
class FoldRun:
    """One model's training in one fold."""

    fold: int
    """From 0."""
    model: str
    recipe: Recipe
    task: TrainingData
    device: str
    predictions: Path
    """File of the result, which may not exist yet."""

    @property
    def architecture(self) -> Architecture:
        features = self.task.features.features
        return Architecture(self.model, self.recipe.arguments, features.shape[2], self.task.class_names)

    @property
    def epochs(self) -> int:
        """Over all seeds."""
        return self.recipe.train.epochs * len(self.recipe.train.seeds)


def group_split(settings: SplitSettings, folds: int) -> SplitSettings:
    """The same settings with the group protocol and another number of folds.

    Raises:
        DataError: the number of folds is invalid.
    """
    try:
        return replace(settings, protocol="group", folds=folds, fold=0)
    except ValueError as error:
        raise DataError(f"--folds: {error}") from None


def runs(
    clips: Sequence[Clip],
    features: FeatureSet,
    features_sum: str,
    settings: SplitSettings,
    seed: int,
    recipes: Mapping[str, Recipe],
    device: str,
) -> list[FoldRun]:
    """All training runs, fold by fold.

    Args:
        features_sum: see `digest_of`.
        settings: see `group_split`.
        seed: of the split.

    Raises:
        DataError: the clips cannot be divided this way.
        ParamsError: a model's arguments do not fit together.
    """
    fold_runs: list[FoldRun] = []
    for fold, (_, task) in enumerate(leak_gap.tasks(clips, features, settings, seed, range(settings.folds), ("group",))):
        split = _digest_of_task(task)
        for model, recipe in recipes.items():
            key = _key(features_sum, split, model, recipe, device)
            fold_runs.append(FoldRun(fold, model, recipe, task, device, STORE / f"{key}.npz"))
    parameters(fold_runs)  # reports invalid arguments before hours of training
    return fold_runs


def parameters(runs: Sequence[FoldRun]) -> dict[str, int]:
    """Count each model's parameters.

    Raises:
        ParamsError: a model's arguments do not fit together.
    """
    counts: dict[str, int] = {}
    for run in runs:
        if run.model not in counts:
            try:
                counts[run.model] = parameter_count(run.architecture.create())
            except ValueError as error:
                raise ParamsError(f"{paths.PARAMS}: models.{run.model} (or model): {error}") from None
    return counts


def digest_of(features: Path) -> str:
    """Digest of a folder of features: names and contents of its shards."""
    return files.digest({file.name: files.sha256_of(file) for file in features.glob("*.safetensors")})


def _digest_of_task(task: TrainingData) -> str:
    """Digest of the clips with their classes, clusters and subsets."""
    total = hashlib.sha256(files.digest({"clips": task.features.clips, "classes": task.class_names}).encode())
    for array in (task.labels, task.clusters, *(task.rows[subset] for subset in sorted(task.rows))):
        total.update(len(array).to_bytes(8, "little") + array.tobytes())
    return total.hexdigest()


def _key(features_sum: str, split: str, model: str, recipe: Recipe, device: str) -> str:
    made_from = {
        "features": features_sum,
        "split": split,
        "model": model,
        "recipe": asdict(recipe),
        "code": [code_digest(f"train@{model}"), files.sha256_of(Path(__file__))],
        "torch": torch.__version__,
        "device": machine.device_name(device),
        "threads": machine.TRAINING_THREADS,
        "arithmetic": machine.arithmetic(),
    }
    return files.digest(made_from)


def result(run: FoldRun) -> Predictions | None:
    """A run's predictions; None if the run is not done, or if its file is damaged (logs a warning)."""
    if not run.predictions.exists():
        return None
    try:
        return read_predictions(run.predictions, len(run.task.class_names), "It will be computed again.")
    except DataError as error:
        logger.warning("%s", error)
        return None


def complete(runs: Sequence[FoldRun], jobs: int) -> tuple[dict[str, list[Predictions]], dict[str, str]]:
    """Train what is missing, `jobs` runs at a time.

    Returns:
        Model -> predictions of each fold, for models without failures; and model -> reason, for failed models.
    """
    missing = [run for run in runs if result(run) is None]
    if len(missing) < len(runs):
        logger.info("%d of %d training runs are cached from an earlier run", len(runs) - len(missing), len(runs))
    failed: dict[str, str] = {}
    with progress("Cross-validating", sum(run.epochs for run in missing), "epoch") as advance:
        for outcome in pool.run(train, missing, min(jobs, len(missing)), advance):
            run = outcome.job
            if outcome.error and not isinstance(outcome.error, ActionrecError):
                logger.error("%s, fold %d: unexpected error", run.model, run.fold, exc_info=outcome.error)
            if outcome.error or result(run) is None:
                failed.setdefault(run.model, f"fold {run.fold}: {outcome.reason or f'{run.predictions} cannot be used'}")
    complete_models: dict[str, list[Predictions]] = {run.model: [] for run in runs if run.model not in failed}
    for run in runs:
        if run.model in complete_models and (predictions := result(run)):
            complete_models[run.model].append(predictions)
    return complete_models, failed


def train(run: FoldRun, advance: Callable[[int], None]) -> None:
    """Train once per seed; write the predictions of all seeds and of the best one for the validation and test clips.

    Args:
        advance: called with finished epochs, and with skipped ones if training ends early.

    Raises:
        TrainingError: the loss is not finite in the first epoch.
    """
    task, recipe = run.task, run.recipe
    seed_results = []
    for seed in recipe.train.seeds:
        left = recipe.train.epochs

        def on_epoch(_: object) -> None:
            nonlocal left
            left -= 1
            advance(1)

        seed_results.append(seed_runs.run(task, run.architecture, recipe, seed, run.device, on_epoch))
        advance(left)
    chosen = seed_runs.best(seed_results, task)
    rows = task.reported
    clips = np.array([task.features.clips[row] for row in rows])
    logits = np.stack([one.logits for one in seed_results])
    answers = Answers(clips, task.labels[rows], task.clusters[rows], chosen.logits, logits, {})
    write_predictions(run.predictions, Predictions(answers, task.reported_subsets, tuple(one.seed for one in seed_results)))
