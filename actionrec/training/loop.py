"""The training loop: trains a sequence model on cached features and keeps the epoch that is best on held-out clips.

n clips, T frames, D features, K classes. On one kind of machine, the same seed gives bit-identical weights.
"""

import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from actionrec.core.errors import TrainingError
from actionrec.evaluation import metrics
from actionrec.features.feature_store import Features
from actionrec.io import machine
from actionrec.training import augmentation
from actionrec.training.batches import batches
from actionrec.training.optimisers import Adam
from actionrec.training.resident import ResidentPrediction, ResidentTraining, can_be_captured
from actionrec.training.step import Batch, TrainingStep

logger = logging.getLogger(__name__)

EVALUATION_BATCH = 64


@dataclass(frozen=True)
class TrainSettings:
    """Section `train`; a model's own section may replace any of these."""

    epochs: int
    batch_size: int
    """Clips per step."""
    learning_rate: float
    """Adam's learning rate after warm-up and before the first reduction."""
    weight_decay: float
    """Added to the gradient, as Adam (not AdamW) does."""
    step_size: int
    """Epochs between reductions of the learning rate."""
    gamma: float
    """Factor of each reduction of the learning rate."""
    warmup_epochs: float
    """Epochs over which the learning rate rises linearly; may be a fraction; 0 starts with the full rate."""
    standardise: bool
    """Whether features are scaled to mean 0 and standard deviation 1 over the training clips; the study does not scale them."""
    clip_norm: float
    """Gradients are scaled down to this norm; 0 disables clipping."""
    precision: Literal["fp32", "bf16"]
    """Precision of matrix products. bf16 is faster on processors that support it; the others use fp32."""
    class_weights: Literal["none", "balanced"]
    """Weight of a training clip's loss. none: 1. balanced: n / (K * n_c) for a clip of a class with n_c of the n training clips, so
    that every class counts alike; the mean over the training clips is 1."""
    seeds: Sequence[int]
    """One training run per seed, with its own initial weights, order of clips and dropout; added to the project's seed."""
    mixup: float = 0.0
    """Each training clip is mixed with another one of its batch, by shares from Beta(mixup, mixup); 0: not."""
    drop_frames: float = 0.0
    """Probability that a time step of a training clip is replaced by the last one before it that is not; below 1."""
    time_jitter: int = 0
    """Most steps by which the features of a training clip move to another time step; their order stays."""

    def __post_init__(self) -> None:
        if self.class_weights not in ("none", "balanced"):
            raise ValueError(f"class_weights must be none or balanced; got {self.class_weights!r}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds must be different whole numbers from 0, at least one; got {list(self.seeds)}")
        for name in ("epochs", "batch_size", "step_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        if not self.drop_frames < 1:
            raise ValueError(f"drop_frames must be below 1; got {self.drop_frames}")
        if self.mixup == float("inf"):
            raise ValueError("mixup must be finite; got inf")
        for name in ("weight_decay", "warmup_epochs", "clip_norm", "mixup", "drop_frames", "time_jitter"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0; got {getattr(self, name)}")
        for name in ("learning_rate", "gamma"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0; got {getattr(self, name)}")


@dataclass(frozen=True)
class Examples:
    """The clips that a run trains on and is evaluated on."""

    features: Features
    """(n, T, D), any float type; batches are converted to float32."""
    labels: Tensor
    """(n,), from 0 to K - 1; on the model's device."""
    train_rows: NDArray[np.int64]
    held_out_rows: NDArray[np.int64]

    def balanced_weights(self) -> Tensor:
        """(K,) float32: n / (K * n_c), see `TrainSettings.class_weights`; K counts the classes with training clips."""
        counts = np.bincount(self.labels.cpu().numpy()[self.train_rows])
        weights = len(self.train_rows) / ((counts > 0).sum() * counts.clip(min=1))
        return torch.from_numpy(weights.astype(np.float32)).to(self.labels.device)


@dataclass(frozen=True)
class Epoch:
    """Measurements of one epoch."""

    number: int
    """From 1."""
    learning_rate: float
    """At the epoch's end."""
    train_loss: float
    """Mean over the epoch's clips, with the weights of their classes, in nats; measured while the network changes and dropout is
    on, on augmented clips; with mixup, against both labels of a mixture."""
    train_top1: float
    """Measured likewise. A mixture is correct if the most probable class is that of its greater part."""
    held_out_loss: float
    held_out_top1: float
    gradient_norm: float
    """Mean over the epoch's steps, before gradients are scaled down."""

    @property
    def is_finite(self) -> bool:
        """Whether both losses are finite."""
        return math.isfinite(self.train_loss) and math.isfinite(self.held_out_loss)


Curve = Sequence[float] | NDArray[np.float64]
"""One value per epoch."""


def best_epoch(held_out_top1: Curve, held_out_loss: Curve) -> int:
    """Number of the best epoch, from 1: the highest held-out top-1, then the lowest held-out loss, then the first.

    >>> best_epoch([0.5, 0.8, 0.8, 0.8], [0.1, 0.9, 0.7, 0.7])
    3
    """
    return 1 + max(range(len(held_out_top1)), key=lambda place: (held_out_top1[place], -held_out_loss[place]))


@dataclass
class Fit:
    """A training run; when it is finished, the model has the best epoch's weights."""

    epochs: list[Epoch]
    """Fewer than `TrainSettings.epochs` if the loss stopped being finite."""
    diverged_in: int | None
    """The epoch in which the loss stopped being finite; None if it stayed finite."""
    seconds: float
    """Training time, including the runs before a resumption."""

    @property
    def best_epoch(self) -> int:
        """See `best_epoch`."""
        return best_epoch([epoch.held_out_top1 for epoch in self.epochs], [epoch.held_out_loss for epoch in self.epochs])


@dataclass
class Progress(Fit):
    """State of a training run at an epoch's end: enough to resume it with the same result."""

    finished: bool
    tensors: dict[str, Tensor]
    """`best.<name>`: the best epoch's weights. Until the run is finished also `weights.<name>`, `adam.<number>.<name>` and
    `random.<name>`, the states of the random generators."""


class TakeSteps(Protocol):
    """Trains on each clip of an epoch once."""

    def __call__(
        self,
        order: NDArray[np.int64],
        rates: Sequence[float],
        time_steps: NDArray[np.int32] | None,
        shares: NDArray[np.float32] | None,
    ) -> None:
        """Args:
        order: (clips,) rows of the features.
        rates: Adam's learning rate in each step.
        time_steps: (clips, T), in this order; see `Batch`. In all epochs of a run, or in none.
        shares: (clips,), likewise.
        """


class Checkpointer(Protocol):
    """Stores the progress of a training run, for example in a file."""

    def load(self) -> Progress | None: ...

    def save(self, progress: Progress) -> None: ...


def fit(
    model: nn.Module,
    examples: Examples,
    settings: TrainSettings,
    seed: int,
    on_epoch: Callable[[Epoch], None],
    checkpointer: Checkpointer | None = None,
) -> Fit:
    """Train with Adam and cross-entropy; keep the weights of the best epoch, see `best_epoch`.

    If the loss stops being finite after the first epoch, training ends there and keeps the best epoch so far.

    Args:
        model: maps (B, T, D) to (B, K).
        seed: for the order of the training clips, and for their augmentation.
        on_epoch: called at the end of each epoch; in a resumed run first for each epoch that is already finished.
        checkpointer: stores the progress at each epoch's end; a killed run resumes from it.

    Raises:
        TrainingError: the loss is not finite in the first epoch.
    """
    shuffle = torch.Generator().manual_seed(seed)
    features, device = examples.features, examples.labels.device
    on_gpu = device.type == "cuda"
    optimiser = Adam(
        model.parameters(),
        lr=torch.tensor(settings.learning_rate, device=device) if on_gpu else settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=True,
        capturable=on_gpu,
    )
    class_weights = examples.balanced_weights() if settings.class_weights == "balanced" else None
    step = TrainingStep(
        model, optimiser, device, precision=settings.precision, clip_norm=settings.clip_norm, class_weights=class_weights
    )
    take_steps: TakeSteps
    held_out_logits: Callable[[], NDArray[np.float32]]
    if isinstance(features, Tensor) and can_be_captured(model, device):
        take_steps = ResidentTraining(features, examples.labels, len(examples.train_rows), settings.batch_size, step)
        held_out_logits = ResidentPrediction(model, features, examples.held_out_rows, EVALUATION_BATCH)
    else:
        take_steps = partial(_take_steps, examples, settings.batch_size, step)
        held_out_logits = partial(predict, model, features, examples.held_out_rows)

    def run_epoch(number: int) -> Epoch:
        trained = _train_epoch(step, take_steps, examples, settings, shuffle, seed, number)
        epoch = evaluated(held_out_logits(), examples, trained)
        if number == 1 and not epoch.is_finite:
            raise TrainingError(_advice(epoch, settings))
        return epoch

    return run_epochs(model, optimiser, shuffle, settings.epochs, run_epoch, on_epoch, checkpointer)


def run_epochs(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    shuffle: torch.Generator,
    epochs: int,
    run_epoch: Callable[[int], Epoch],
    on_epoch: Callable[[Epoch], None],
    checkpointer: Checkpointer | None,
) -> Fit:
    """Run epochs from the last checkpoint on, and load the weights of the best one.

    Training ends early if an epoch's loss is not finite.

    Args:
        epochs: how many to run.
        run_epoch: trains and evaluates `model` in the epoch of this number, from 1, with `optimiser` and `shuffle`.
        on_epoch, checkpointer: see `fit`.
    """
    start = time.perf_counter()
    progress = checkpointer.load() if checkpointer else None
    if progress is None:
        progress = Progress([], None, 0.0, False, {})
    elif not progress.finished:
        _restore(progress.tensors, model, optimiser, shuffle)
    for epoch in progress.epochs:
        on_epoch(epoch)
    before = progress.seconds
    best = {name.removeprefix("best."): tensor for name, tensor in progress.tensors.items() if name.startswith("best.")}
    while not progress.finished:
        epoch = run_epoch(len(progress.epochs) + 1)
        if not epoch.is_finite:
            progress.diverged_in = epoch.number
        else:
            progress.epochs.append(epoch)
            if progress.best_epoch == epoch.number:
                best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            on_epoch(epoch)
        progress.finished = progress.diverged_in is not None or epoch.number == epochs
        progress.seconds = before + time.perf_counter() - start
        if checkpointer:
            progress.tensors = {f"best.{name}": tensor for name, tensor in best.items()}
            if not progress.finished:
                progress.tensors |= _state(model, optimiser, shuffle)
            checkpointer.save(progress)

    model.load_state_dict(best)
    return Fit(progress.epochs, progress.diverged_in, progress.seconds)


def _train_epoch(
    step: TrainingStep,
    take_steps: TakeSteps,
    examples: Examples,
    settings: TrainSettings,
    shuffle: torch.Generator,
    seed: int,
    number: int,
) -> Epoch:
    """Train on each training clip once; the held-out measurements are NaN until the caller sets them."""
    device = examples.labels.device
    if device.type == "cuda":
        # cuDNN's dropout between recurrent layers has a state that cannot be saved in a checkpoint; this resets it.
        torch.cuda.set_rng_state(torch.cuda.get_rng_state(device), device)
    step.start_epoch()
    order = examples.train_rows[torch.randperm(len(examples.train_rows), generator=shuffle).numpy()]
    clips, steps, nan = len(order), -(-len(order) // settings.batch_size), float("nan")
    rates = [learning_rate(settings, number - 1, place, steps) for place in range(steps)]
    time_steps, shares = _augmentation(settings, examples.features.shape[:2], seed, number)
    take_steps(order, rates, None if time_steps is None else time_steps[order], None if shares is None else shares[order])
    return Epoch(
        number, rates[-1], step.loss_sum.item() / clips, step.correct.item() / clips, nan, nan, step.norm_sum.item() / steps
    )


def _augmentation(
    settings: TrainSettings, shape: tuple[int, int], seed: int, epoch: int
) -> tuple[NDArray[np.int32] | None, NDArray[np.float32] | None]:
    """An epoch's time steps (n, T) and shares of mixup (n,), in the order of the features' rows; None: nothing is drawn.

    Args:
        shape: (n, T), of the features.
    """
    time_steps = shares = None
    if settings.time_jitter or settings.drop_frames:
        time_steps = augmentation.time_steps(
            *shape, time_jitter=settings.time_jitter, drop_frames=settings.drop_frames, seed=seed, epoch=epoch
        )
    if settings.mixup:
        shares = augmentation.own_shares(shape[0], settings.mixup, seed=seed, epoch=epoch)
    return time_steps, shares


def _take_steps(
    examples: Examples,
    batch_size: int,
    step: TrainingStep,
    order: NDArray[np.int64],
    rates: Sequence[float],
    time_steps: NDArray[np.int32] | None,
    shares: NDArray[np.float32] | None,
) -> None:
    """Train on each clip of an epoch once; the next batch is read in the meantime. See `TakeSteps`."""
    device = examples.labels.device
    groups = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    features = batches(examples.features, groups, str(device))
    labels = examples.labels[torch.from_numpy(order).to(device)].split(batch_size)
    draws = [
        [None] * len(groups) if each is None else torch.from_numpy(each).to(device).split(batch_size)
        for each in (time_steps, shares)
    ]
    for *batch, rate in zip(features, labels, *draws, rates, strict=True):
        step(Batch(*batch), rate)


def evaluated(logits: NDArray[np.float32], examples: Examples, epoch: Epoch) -> Epoch:
    """Add the held-out measurements to an epoch; `logits` are those of the held-out clips, (rows, K)."""
    labels = examples.labels[examples.held_out_rows].cpu().numpy()
    return replace(epoch, held_out_loss=metrics.cross_entropy(logits, labels), held_out_top1=metrics.top_k(logits, labels, 1))


def _advice(epoch: Epoch, settings: TrainSettings) -> str:
    return (
        f"the loss is not finite in the first epoch (training {epoch.train_loss}, held out {epoch.held_out_loss}). "
        f"Lower learning_rate (now {settings.learning_rate}), raise warmup_epochs (now {settings.warmup_epochs}), "
        f"or clip gradients (clip_norm, now {settings.clip_norm})."
    )


def _state(model: nn.Module, optimiser: torch.optim.Optimizer, shuffle: torch.Generator) -> dict[str, Tensor]:
    """Tensors of everything that changes during training."""
    tensors = {f"weights.{name}": tensor for name, tensor in model.state_dict().items()}
    for number, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"adam.{number}.{name}": tensor for name, tensor in moments.items()}
    tensors["random.shuffle"] = shuffle.get_state()
    tensors["random.cpu"] = torch.get_rng_state()
    device = next(model.parameters()).device
    if device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(device)
    return tensors


def _restore(tensors: dict[str, Tensor], model: nn.Module, optimiser: torch.optim.Optimizer, shuffle: torch.Generator) -> None:
    """Load the tensors of `_state`."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        part, rest = name.split(".", 1)
        parts.setdefault(part, {})[rest] = tensor
    model.load_state_dict(parts["weights"])
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["adam"].items():
        number, moment = name.split(".", 1)
        moments.setdefault(int(number), {})[moment] = _laid_out_like(weights[int(number)], tensor)
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    shuffle.set_state(parts["random"]["shuffle"])
    torch.set_rng_state(parts["random"]["cpu"])
    if "cuda" in parts["random"]:
        torch.cuda.set_rng_state(parts["random"]["cuda"], next(model.parameters()).device)


def _laid_out_like(weight: Tensor, moment: Tensor) -> Tensor:
    """A moment in the memory layout of its weight, which Adam's fused kernel takes for granted."""
    return torch.empty_like(weight, dtype=moment.dtype).copy_(moment) if moment.shape == weight.shape else moment


def learning_rate(settings: TrainSettings, epoch: int, step: int, steps: int) -> float:
    """The learning rate of one step: a linear warm-up, reduced after every `step_size` epochs.

    Args:
        epoch: counted from 0.
        step: within the epoch, counted from 0.
        steps: steps per epoch.
    """
    reduced = settings.learning_rate * settings.gamma ** (epoch // settings.step_size)
    warmup = settings.warmup_epochs * steps
    return reduced * min(1.0, (epoch * steps + step + 1) / warmup) if warmup else reduced


def predict(
    model: nn.Module,
    features: Features,
    rows: NDArray[np.int64],
    change: Callable[[Tensor, NDArray[np.int64]], Tensor] | None = None,
) -> NDArray[np.float32]:
    """Logits of some clips, without dropout, in float32: (rows, K).

    Args:
        change: applied to each batch first; takes (B, T, D) and the batch's rows.
    """
    model.eval()
    device = next(model.parameters()).device
    groups = [rows[start : start + EVALUATION_BATCH] for start in range(0, len(rows), EVALUATION_BATCH)]
    with torch.inference_mode():
        pairs = zip(batches(features, groups, str(device)), groups, strict=True)
        logits = [model(change(batch, group) if change else batch).float() for batch, group in pairs]
        return torch.cat(logits).cpu().numpy()


def reproducible(seed: int, device: str) -> None:
    """Make runs reproducible: set the random state, the number of threads, and deterministic kernels on a GPU."""
    torch.manual_seed(seed)
    torch.set_num_threads(machine.TRAINING_THREADS)
    if device != "cpu":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it matrix products are not reproducible
        torch.backends.cudnn.allow_tf32 = False  # the default, TF32, rounds recurrent layers to 10 bits
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # would fill every new tensor
        torch.backends.cudnn.benchmark = False
