"""Logistic regression: solves a linear probe instead of training it in epochs.

The loss of a linear probe has one minimum. L-BFGS finds it from all training clips at once, so the answer depends on no learning
rate, batch, epoch or seed. On small data sets, epochs of Adam end far from it (docs/protocols.md, baselines).

n training clips, P pooled features, K classes.
"""

import logging
import math
import time
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from actionrec.core.errors import TrainingError
from actionrec.models.layers.linear_probe import LinearProbe
from actionrec.training.batches import batches
from actionrec.training.classifier import Classifier
from actionrec.training.loop import (
    EVALUATION_BATCH,
    Checkpointer,
    Epoch,
    Examples,
    Fit,
    Progress,
    TrainSettings,
    evaluated,
)
from actionrec.training.losses import mean_loss

logger = logging.getLogger(__name__)

UNUSED = (
    *("epochs", "batch_size", "learning_rate", "step_size", "gamma", "warmup_epochs", "clip_norm", "precision"),
    *("mixup", "drop_frames", "time_jitter"),
)
"""Keys of section `train` that mean nothing here."""

MOST_STEPS = 1000
_FLAT = 1e-5  # the minimum is reached where no component of the gradient is larger
_CONSTANT = 1e-4  # below this share of the typical deviation, a pooled feature counts as constant and is ignored


def fit(
    network: Classifier,
    examples: Examples,
    settings: TrainSettings,
    on_epoch: Callable[[Epoch], None],
    checkpointer: Checkpointer | None = None,
) -> Fit:
    """Minimise the mean cross-entropy plus `weight_decay` / 2 times the sum of the squared weights (not biases).

    With `standardise`, pooled features are scaled to mean 0 and deviation 1 first; the layer's weights include that afterwards.

    Args:
        network: its model is a LinearProbe.
        on_epoch: called once: the whole fit counts as one epoch.
        checkpointer: stores the result, so that a resumed run has it.

    Raises:
        TrainingError: features are not finite.
    """
    start = time.perf_counter()
    progress = checkpointer.load() if checkpointer else None
    if progress is None:
        epoch = _solve(network, cast(LinearProbe, network.model), examples, settings)
        weights = {f"best.{name}": tensor.clone() for name, tensor in network.state_dict().items()}
        progress = Progress([epoch], None, time.perf_counter() - start, finished=True, tensors=weights)
        if checkpointer:
            checkpointer.save(progress)
    else:
        network.load_state_dict({name.removeprefix("best."): tensor for name, tensor in progress.tensors.items()})
    on_epoch(progress.epochs[0])
    return Fit(progress.epochs, None, progress.seconds)


def _solve(network: Classifier, probe: LinearProbe, examples: Examples, settings: TrainSettings) -> Epoch:
    """Set the weights of the probe's linear layer."""
    pooled = _pooled(network, probe, examples)
    if not torch.isfinite(pooled).all():
        raise _not_finite("training", settings)
    labels = examples.labels[torch.from_numpy(examples.train_rows).to(examples.labels.device)]
    mean, scale = _standardisation(pooled) if settings.standardise else (pooled.new_zeros(()), pooled.new_ones(()))
    pooled.sub_(mean).mul_(scale)
    class_weights = examples.balanced_weights() if settings.class_weights == "balanced" else None
    weight = torch.zeros_like(probe.fc.weight, requires_grad=True)
    bias = torch.zeros_like(probe.fc.bias, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight, bias], max_iter=MOST_STEPS, tolerance_grad=_FLAT, history_size=10, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        optimiser.zero_grad()
        loss = mean_loss(pooled @ weight.T + bias, labels, class_weights) + settings.weight_decay / 2 * weight.square().sum()
        loss.backward()
        return loss

    optimiser.step(objective)
    if optimiser.state[weight]["n_iter"] == MOST_STEPS:
        logger.warning("logistic regression ended after %d steps, short of its minimum; raise weight_decay", MOST_STEPS)
    with torch.no_grad():
        logits = pooled @ weight.T + bias
        train_loss = mean_loss(logits, labels, class_weights).item()
        train_top1 = (logits.argmax(dim=1) == labels).float().mean().item()
        gradient_norm = torch.nn.utils.get_total_norm([cast(Tensor, weight.grad), cast(Tensor, bias.grad)]).item()
        probe.fc.weight.copy_(weight * scale)
        probe.fc.bias.copy_(bias - (weight * scale * mean).sum(dim=1))
    nan = float("nan")
    epoch = evaluated(network, examples, Epoch(1, 1.0, train_loss, train_top1, nan, nan, gradient_norm))
    if not math.isfinite(epoch.held_out_loss):
        raise _not_finite("held-out", settings)
    return epoch


def _not_finite(clips: str, settings: TrainSettings) -> TrainingError:
    return TrainingError(
        f"features of {clips} clips are not finite, so logistic regression has no solution. Set standardise to true (now "
        f"{str(settings.standardise).lower()}), or compute the features again: `dvc repro -f resnet_features`."
    )


def _pooled(network: Classifier, probe: LinearProbe, examples: Examples) -> Tensor:
    """Pooled features of the training clips, (n, P), on the labels' device."""
    rows = examples.train_rows
    groups = [rows[start : start + EVALUATION_BATCH] for start in range(0, len(rows), EVALUATION_BATCH)]
    with torch.no_grad():
        found = batches(examples.features, groups, str(examples.labels.device))
        return torch.cat([probe.pool(network.standardise(batch)) for batch in found])


def _standardisation(pooled: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (P,) of the columns, and what to multiply with (P,): 1 / deviation, or 0 for a constant column."""
    deviation, mean = torch.std_mean(pooled.double(), dim=0, correction=0)
    scale = torch.where(deviation > _CONSTANT * deviation.median(), 1 / deviation, 0)
    return mean.float(), scale.float()
