"""The training loop: a sequence model learns from cached features, and the epoch that is best on held-out clips is kept.

n clips, T frames, D features, K classes. The same seed gives the same weights to the last bit, on one kind of machine.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from actionrec import metrics
from actionrec.errors import TrainingError

THREADS = 2
"""Of a CPU. Fixed, since sums in the attention models depend on how they are cut up: more cores must not change a result."""

_EVALUATION_BATCH = 64


@dataclass(frozen=True)
class TrainSettings:
    """Section `train`; a model's own section may replace any of these."""

    epochs: int
    batch_size: int
    """Clips a step."""
    learning_rate: float
    """Of Adam, after warm-up and before the first reduction."""
    weight_decay: float
    """Added to the gradient, as Adam (not AdamW) does."""
    step_size: int
    """Epochs between reductions of the learning rate."""
    gamma: float
    """What the learning rate is multiplied by at each reduction."""
    warmup_epochs: float
    """The learning rate rises linearly over so many epochs (fractions count); 0 starts with the whole."""
    standardise: bool
    """Whether features are brought to mean 0 and deviation 1 over the training clips; the study does not."""
    clip_norm: float
    """Gradients are scaled down to this norm; 0 leaves them."""
    seeds: Sequence[int]
    """One training run each, of fresh weights, order of clips and dropout; added to the project's seed."""

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds must be different whole numbers from 0, at least one; got {list(self.seeds)}")
        for name in ("epochs", "batch_size", "step_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        for name in ("weight_decay", "warmup_epochs", "clip_norm"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0; got {getattr(self, name)}")
        for name in ("learning_rate", "gamma"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0; got {getattr(self, name)}")


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to; numbers from 1."""

    number: int
    learning_rate: float
    """At the epoch's end."""
    train_loss: float
    """Mean over the epoch's clips, in nats, while the weights changed and dropout was on."""
    train_top1: float
    held_out_loss: float
    held_out_top1: float
    gradient_norm: float
    """Mean over the epoch's steps, before gradients are scaled down."""


@dataclass(frozen=True)
class Fit:
    """A finished training run; the model holds the best epoch's weights."""

    best_epoch: int
    epochs: list[Epoch]
    """Fewer than were wanted where the loss stopped being finite."""
    diverged_in: int | None
    """The epoch in which it did; None where it did not."""
    seconds: float


def fit(
    model: nn.Module,
    features: Tensor,
    labels: Tensor,
    train_rows: NDArray[np.int64],
    held_out_rows: NDArray[np.int64],
    settings: TrainSettings,
    seed: int,
    on_epoch: Callable[[Epoch], None],
) -> Fit:
    """Train with Adam and cross-entropy; keep the epoch with the highest top-1 on the held-out clips.

    Among epochs of equal top-1 the one with the lower loss is kept, and of those the first.

    Args:
        model: maps (B, T, D) to (B, K); on the device of `features`.
        features: (n, T, D), any float type; batches are converted to float32.
        labels: (n,), from 0 to K - 1.
        on_epoch: told of each epoch at its end.

    Raises:
        TrainingError: the loss is not finite in the first epoch. Later, training ends there, with the best epoch so far.
    """
    start = time.perf_counter()
    shuffle = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    held_out_labels = labels[held_out_rows].cpu().numpy()
    steps = -(-len(train_rows) // settings.batch_size)
    epochs: list[Epoch] = []
    best: tuple[float, float] = (-1.0, 0.0)
    best_epoch = 0
    diverged_in: int | None = None
    best_state: dict[str, Tensor] = {}

    for number in range(1, settings.epochs + 1):
        model.train()
        loss_sum = torch.zeros((), device=features.device)
        right = torch.zeros((), device=features.device, dtype=torch.long)
        norm_sum = torch.zeros((), device=features.device)
        order = torch.from_numpy(train_rows)[torch.randperm(len(train_rows), generator=shuffle)].to(features.device)
        for step, rows in enumerate(order.split(settings.batch_size)):
            rate = learning_rate(settings, number - 1, step, steps)
            for group in optimiser.param_groups:
                group["lr"] = rate
            logits = model(features[rows].float())
            loss = functional.cross_entropy(logits, labels[rows])
            optimiser.zero_grad()
            loss.backward()
            if settings.clip_norm:
                norm_sum += nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
            else:
                norm_sum += nn.utils.get_total_norm([weight.grad for weight in model.parameters() if weight.grad is not None])
            optimiser.step()
            loss_sum += loss.detach() * len(rows)  # read once an epoch: reading at each step would make a GPU wait
            right += (logits.detach().argmax(dim=1) == labels[rows]).sum()

        logits_held_out = predict(model, features, held_out_rows)
        epoch = Epoch(
            number,
            rate,
            loss_sum.item() / len(train_rows),
            right.item() / len(train_rows),
            metrics.cross_entropy(logits_held_out, held_out_labels),
            metrics.top_k(logits_held_out, held_out_labels, 1),
            norm_sum.item() / steps,
        )
        if not np.isfinite([epoch.train_loss, epoch.held_out_loss]).all():
            diverged_in = number
            break
        epochs.append(epoch)
        if (epoch.held_out_top1, -epoch.held_out_loss) > best or not best_state:
            best = (epoch.held_out_top1, -epoch.held_out_loss)
            best_epoch = number
            best_state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        on_epoch(epoch)

    if not epochs:
        raise TrainingError(
            f"the loss is not finite in the first epoch (training {epoch.train_loss}, held out {epoch.held_out_loss}). "
            f"Lower learning_rate (now {settings.learning_rate}), raise warmup_epochs (now {settings.warmup_epochs}), "
            f"or clip gradients (clip_norm, now {settings.clip_norm})."
        )
    model.load_state_dict(best_state)
    return Fit(best_epoch, epochs, diverged_in, time.perf_counter() - start)


def learning_rate(settings: TrainSettings, epoch: int, step: int, steps: int) -> float:
    """The learning rate of one step: a linear warm-up times reductions at every `step_size` epochs.

    Args:
        epoch: from 0.
        step: within the epoch, from 0.
        steps: of an epoch.
    """
    reduced = settings.learning_rate * settings.gamma ** (epoch // settings.step_size)
    warmup = settings.warmup_epochs * steps
    return reduced * min(1.0, (epoch * steps + step + 1) / warmup) if warmup else reduced


def predict(model: nn.Module, features: Tensor, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Logits of some clips, without dropout: (rows, K)."""
    model.eval()
    with torch.inference_mode():
        batches = torch.from_numpy(rows).to(features.device).split(_EVALUATION_BATCH)
        return torch.cat([model(features[batch].float()) for batch in batches]).float().cpu().numpy()


def reproducible(seed: int, device: str) -> None:
    """Fix what makes runs differ: random states, threads, and the choice of kernels on a GPU."""
    torch.manual_seed(seed)
    torch.set_num_threads(THREADS)
    if device != "cpu":
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
