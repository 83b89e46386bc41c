"""Training runs of one model, one per seed; the best run is chosen on validation clips, never on test clips."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from actionrec.core.errors import TrainingError
from actionrec.evaluation import metrics
from actionrec.evaluation.logits import MOST_DENSE, Logits, compact, joined
from actionrec.evaluation.predictions import Answers, Predictions
from actionrec.features.feature_store import Features
from actionrec.models.layers.linear_probe import LinearProbe
from actionrec.training import frame_order, logistic_regression, loop
from actionrec.training.batches import on_device
from actionrec.training.bundle import Architecture
from actionrec.training.classifier import Classifier
from actionrec.training.frame_order import Perturbation
from actionrec.training.logistic_regression import ProbeSettings
from actionrec.training.loop import Checkpointer, Epoch, Examples, Fit
from actionrec.training.recipes import Recipe
from actionrec.training.training_data import TrainingData

Change = Callable[[Tensor, NDArray[np.int64]], Tensor]
"""See `loop.predict`."""

_BLOCK = 256 * loop.EVALUATION_BATCH  # clips, of which all logits are in memory


@dataclass(frozen=True)
class SeedRun:
    """One training run: a network with the weights of its best epoch."""

    seed: int
    """One of train.seeds."""
    network: Classifier
    fit: Fit
    logits: Logits
    """(m, K), of the data's reported clips."""


def run(
    data: TrainingData,
    architecture: Architecture,
    recipe: Recipe,
    seed: int,
    device: str,
    on_epoch: Callable[[Epoch], None],
    checkpointer: Checkpointer | None = None,
) -> SeedRun:
    """Train once. Linear probes are solved, and come out the same for every seed.

    Args:
        seed: one of train.seeds; the recipe's seed is added to it.
        on_epoch: see `loop.fit`.
        checkpointer: see `loop.fit`.

    Raises:
        TrainingError: the loss is not finite in the first epoch, or a GPU is out of memory.
        ValueError: the architecture's arguments do not fit together.
    """
    loop.reproducible(recipe.seed + seed, device)
    network = architecture.create()
    if recipe.train.standardise:
        network.standardise.fit(data.features.features, data.rows["train"])
    network.to(device)
    features = on_device(data.features.features, device)
    labels = torch.from_numpy(data.labels).to(device)
    examples = Examples(features, labels, data.rows["train"], data.rows[data.held_out])
    try:
        if isinstance(network.model, LinearProbe):
            train = recipe.train
            settings = ProbeSettings(
                weight_decay=train.weight_decay, standardise=train.standardise, class_weights=train.class_weights
            )
            fit = logistic_regression.fit(network, examples, settings, on_epoch, checkpointer)
        else:
            fit = loop.fit(network, examples, recipe.train, recipe.seed + seed, on_epoch, checkpointer)
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"{device} is out of memory for {architecture.model} ({str(error).partition('. ')[0]}). Train fewer models at a time "
            "(train-all --jobs), lower train.batch_size, or run with ACTIONREC_DEVICE=cpu."
        ) from None
    return SeedRun(seed, network, fit, reported_logits(network, features, data))


def reported_logits(network: Classifier, features: Features, data: TrainingData, change: Change | None = None) -> Logits:
    """Logits of the reported clips, predicted in blocks if only the highest are kept.

    Args:
        change: see `loop.predict`.
    """
    rows, labels, class_count = data.reported, data.labels[data.reported], len(data.class_names)
    if class_count <= MOST_DENSE:
        return loop.predict(network, features, rows, change)
    tops = []
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, start + _BLOCK)
        tops.append(compact(loop.predict(network, features, rows[block], change), labels[block]))
    return joined(tops)


def best(runs: Sequence[SeedRun], data: TrainingData) -> SeedRun:
    """The run with the highest validation top-1, then the lowest validation loss, then the first.

    Without validation clips it is the first run: choosing on the test clips would make their result too good.
    """
    if data.held_out == "test":
        return runs[0]
    rows = data.reported_subsets == "val"
    labels = data.labels[data.reported][rows]

    def merit(run: SeedRun) -> tuple[float, float]:
        logits = run.logits[rows]
        return metrics.top_k(logits, labels, 1), -metrics.cross_entropy(logits, labels)

    return max(runs, key=merit)  # the first of equals


def predictions(runs: Sequence[SeedRun], chosen: SeedRun, data: TrainingData, fold: int, device: str) -> Predictions:
    """Logits of all runs for the reported clips, and of the chosen run for the same clips with their frames in other orders.

    Args:
        fold: the number of the fold that `data` is divided by.
    """
    reported, ids = data.reported, data.features.clips
    features = on_device(data.features.features, device)

    def logits(change: Perturbation) -> Logits:
        return reported_logits(chosen.network, features, data, lambda batch, rows: change(batch, [ids[row] for row in rows], 0))

    answers = Answers(
        np.array([ids[row] for row in reported]),
        data.labels[reported],
        data.clusters[reported],
        chosen.logits,
        [run.logits for run in runs],
        {name: logits(change) for name, change in frame_order.PERTURBATIONS.items()},
    )
    folds = np.full(len(reported), fold, dtype=np.int64)
    return Predictions(answers, data.reported_subsets, tuple(run.seed for run in runs), folds, fold)
