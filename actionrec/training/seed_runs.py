"""Training one model once a seed on one task, and taking the seed that is best on validation clips, never on test clips."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from actionrec.core.errors import TrainingError
from actionrec.evaluation import metrics
from actionrec.evaluation.predictions import Answers, Predictions
from actionrec.training import frame_order, loop
from actionrec.training.batches import on_device
from actionrec.training.bundle import Architecture
from actionrec.training.classifier import Classifier
from actionrec.training.frame_order import Perturbation
from actionrec.training.loop import Checkpointer, Epoch, Fit, TrainSettings
from actionrec.training.training_data import TrainingData


@dataclass(frozen=True)
class SeedRun:
    """One training run: a network with the weights of its best epoch."""

    seed: int
    """As train.seeds has it."""
    network: Classifier
    fit: Fit
    logits: NDArray[np.float32]
    """(m, K), of the task's reported clips."""


def run(
    task: TrainingData,
    architecture: Architecture,
    settings: TrainSettings,
    seed: int,
    run_seed: int,
    device: str,
    on_epoch: Callable[[Epoch], None],
    checkpointer: Checkpointer | None = None,
) -> SeedRun:
    """Train once.

    Args:
        seed: of the whole project.
        trial_seed: one of train.seeds; the two are added.
        keeper: see `training.fit`.

    Raises:
        TrainingError: the loss is not finite in the first epoch, or a GPU's memory is too small.
        ValueError: the architecture's arguments do not fit together.
    """
    loop.reproducible(seed + run_seed, device)
    network = architecture.create()
    if settings.standardise:
        network.standardise.fit(task.features.features, task.rows["train"])
    network.to(device)
    features = on_device(task.features.features, device)
    labels = torch.from_numpy(task.labels).to(device)
    train, held_out = task.rows["train"], task.rows[task.held_out]
    try:
        fit = loop.fit(network, features, labels, train, held_out, settings, seed + run_seed, on_epoch, checkpointer)
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"{device} has no room for {architecture.model} ({str(error).partition('. ')[0]}). Train fewer models at a time "
            "(train-all --jobs), lower train.batch_size, or run with ACTIONREC_DEVICE=cpu."
        ) from None
    return SeedRun(run_seed, network, fit, loop.predict(network, features, task.reported))


def best(trials: Sequence[SeedRun], task: TrainingData) -> SeedRun:
    """The trial with the highest validation top-1, of those with the lowest validation loss, of those the first.

    Without validation clips it is the first: choosing among runs on the test clips would be one look more at them.
    """
    if task.held_out == "test":
        return trials[0]
    rows = task.reported_subsets == "val"
    labels = task.labels[task.reported][rows]

    def merit(trial: SeedRun) -> tuple[float, float]:
        logits = trial.logits[rows]
        return metrics.top_k(logits, labels, 1), -metrics.cross_entropy(logits, labels)

    return max(trials, key=merit)  # the first of equals


def predictions(trials: Sequence[SeedRun], chosen: SeedRun, task: TrainingData, device: str) -> Predictions:
    """What all trials say of the reported clips, and the chosen one of the same clips with their frames in other orders."""
    reported, ids = task.reported, task.features.clips
    features = on_device(task.features.features, device)

    def logits(change: Perturbation) -> NDArray[np.float32]:
        return loop.predict(chosen.network, features, reported, lambda batch, rows: change(batch, [ids[row] for row in rows], 0))

    answers = Answers(
        np.array([ids[row] for row in reported]),
        task.labels[reported],
        task.clusters[reported],
        chosen.logits,
        np.stack([trial.logits for trial in trials]),
        {name: logits(change) for name, change in frame_order.PERTURBATIONS.items()},
    )
    return Predictions(answers, task.reported_subsets, tuple(trial.seed for trial in trials))
