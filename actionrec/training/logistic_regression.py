"""Logistic regression: solves a linear probe instead of training it in epochs.

The loss of a linear probe has one minimum. L-BFGS finds it from all training clips, so the answer depends on no learning rate,
batch, epoch or seed. On small data sets, epochs of Adam end far from it (docs/protocols.md, baselines). With more than 20,000
training clips, loss and gradient are summed over blocks of clips, so that there are never logits of all clips in memory.

n training clips, P pooled features, K classes.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor

from actionrec.core.errors import TrainingError
from actionrec.models.layers.linear_probe import LinearProbe
from actionrec.training.classifier import Classifier
from actionrec.training.loop import (
    Checkpointer,
    Epoch,
    Examples,
    Fit,
    Progress,
    evaluated,
    predict,
)
from actionrec.training.losses import mean_loss
from actionrec.training.optimisers import LBFGS
from actionrec.training.pooled_features import pooled_blocks, standardisation

logger = logging.getLogger(__name__)

UNUSED = (
    *("epochs", "batch_size", "learning_rate", "step_size", "gamma", "warmup_epochs", "clip_norm", "precision"),
    *("mixup", "drop_frames", "time_jitter"),
)
"""Keys of section `train` that mean nothing here."""

MOST_STEPS = 1000
_FLAT = 1e-5  # the minimum is reached where no component of the gradient is larger


@dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """The settings that decide the solution, as in `TrainSettings`."""

    weight_decay: float
    standardise: bool
    class_weights: Literal["none", "balanced"]


def fit(
    network: Classifier,
    examples: Examples,
    settings: ProbeSettings,
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


def _solve(network: Classifier, probe: LinearProbe, examples: Examples, settings: ProbeSettings) -> Epoch:
    """Set the weights of the probe's linear layer."""
    blocks = pooled_blocks(network, examples)
    if not all(torch.isfinite(block).all() for block in blocks):
        raise _not_finite("training", settings)
    labels = examples.labels[torch.from_numpy(examples.train_rows).to(examples.labels.device)]
    if settings.standardise:
        mean, scale = standardisation(blocks)
        for block in blocks:
            block.sub_(mean).mul_(scale)
    else:
        mean, scale = blocks[0].new_zeros(()), blocks[0].new_ones(())
    class_weights = examples.balanced_weights() if settings.class_weights == "balanced" else None
    weight = torch.zeros_like(probe.fc.weight, requires_grad=True)
    bias = torch.zeros_like(probe.fc.bias, requires_grad=True)
    optimiser = LBFGS([weight, bias], max_iter=MOST_STEPS, tolerance_grad=_FLAT, history_size=10, line_search_fn="strong_wolfe")

    def block_logits() -> Iterator[tuple[Tensor, Tensor, float]]:
        """Logits (b, K) and labels (b,) of each block, and its share of the clips."""
        start = 0
        for block in blocks:
            end = start + len(block)
            yield block.to(weight.device) @ weight.T + bias, labels[start:end], len(block) / len(labels)
            start = end

    def objective() -> Tensor:
        """The loss, with its gradient: the sum of those of the blocks."""
        optimiser.zero_grad()
        loss = weight.new_zeros(())
        for logits, block_labels, share in block_logits():
            block_loss = share * mean_loss(logits, block_labels, class_weights)
            block_loss.backward()
            loss += block_loss.detach()
        penalty = settings.weight_decay / 2 * weight.square().sum()
        penalty.backward()
        return loss + penalty.detach()

    optimiser.step(objective)
    if optimiser.state[weight]["n_iter"] == MOST_STEPS:
        logger.warning("logistic regression ended after %d steps, short of its minimum; raise weight_decay", MOST_STEPS)
    train_loss = train_top1 = 0.0
    with torch.no_grad():
        for logits, block_labels, share in block_logits():
            train_loss += share * mean_loss(logits, block_labels, class_weights).item()
            train_top1 += share * (logits.argmax(dim=1) == block_labels).float().mean().item()
        gradient_norm = torch.nn.utils.get_total_norm([cast(Tensor, weight.grad), cast(Tensor, bias.grad)]).item()
        mean, scale = mean.to(weight.device), scale.to(weight.device)
        probe.fc.weight.copy_(weight * scale)
        probe.fc.bias.copy_(bias - (weight * scale * mean).sum(dim=1))
    nan = float("nan")
    held_out = predict(network, examples.features, examples.held_out_rows)
    epoch = evaluated(held_out, examples, Epoch(1, 1.0, train_loss, train_top1, nan, nan, gradient_norm))
    if not math.isfinite(epoch.held_out_loss):
        raise _not_finite("held-out", settings)
    return epoch


def _not_finite(clips: str, settings: ProbeSettings) -> TrainingError:
    return TrainingError(
        f"features of {clips} clips are not finite, so logistic regression has no solution. Set standardise to true (now "
        f"{str(settings.standardise).lower()}), or compute the features again: `dvc repro -f resnet_features`."
    )
