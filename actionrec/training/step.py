"""One training step: forward pass, loss, backward pass, clipped gradients, Adam. B clips, T frames, D features, K classes."""

import contextlib
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from actionrec.io import machine
from actionrec.training import augmentation
from actionrec.training.losses import mean_loss, mixed_loss


@dataclass(frozen=True)
class Batch:
    """The clips of one step, on the model's device."""

    features: Tensor
    """(B, T, D), float32."""
    labels: Tensor
    """(B,), from 0 to K - 1."""
    time_steps: Tensor | None
    """(B, T), see `augmentation.take_steps`; None: not augmented in time."""
    shares: Tensor | None
    """(B,), see `augmentation.mixed`; None: not mixed."""


class TrainingStep:
    """Trains a model on one batch after another, and sums up measurements over an epoch."""

    def __init__(
        self,
        model: nn.Module,
        optimiser: torch.optim.Adam,
        device: torch.device,
        *,
        precision: str,
        clip_norm: float,
        class_weights: Tensor | None,
    ) -> None:
        """Args: see `loop.TrainSettings`; `class_weights` is (K,), or None for equal weights."""
        self._model, self._optimiser, self._device = model, optimiser, device
        self._precision, self._clip_norm, self._class_weights = precision, clip_norm, class_weights
        # These sums are read once per epoch: reading them at each step would make a GPU wait.
        self.loss_sum = torch.zeros((), device=device)
        """Over the epoch's clips."""
        self.norm_sum = torch.zeros((), device=device)
        """Of the gradients, before they are scaled down; over the epoch's steps."""
        self.correct = torch.zeros((), device=device, dtype=torch.long)
        """Clips."""

    def start_epoch(self) -> None:
        """Set the model to training mode, and the sums to 0."""
        self._model.train()
        for total in (self.loss_sum, self.norm_sum, self.correct):
            total.zero_()

    def changed(self) -> list[Tensor]:
        """All tensors that a step changes; those of Adam exist after the first step."""
        of_adam = [tensor for state in self._optimiser.state.values() for tensor in state.values()]
        return [*self._model.parameters(), *self._model.buffers(), *of_adam, self.loss_sum, self.norm_sum, self.correct]

    def __call__(self, batch: Batch, rate: float | Tensor) -> None:
        """Train on one batch; on a GPU, this does not wait for it.

        Args:
            rate: Adam's learning rate.
        """
        features, labels = batch.features, batch.labels
        if batch.time_steps is not None:
            features = augmentation.take_steps(features, batch.time_steps)
        if batch.shares is not None:
            features = augmentation.mixed(features, batch.shares)
        self._set(rate)
        with arithmetic(self._precision, self._device):
            logits = self._model(features).float()
        if batch.shares is None:
            loss = mean_loss(logits, labels, self._class_weights)
        else:
            loss = mixed_loss(logits, labels, self._class_weights, batch.shares)
        self._optimiser.zero_grad()
        loss.backward()
        if self._clip_norm:
            self.norm_sum += nn.utils.clip_grad_norm_(self._model.parameters(), self._clip_norm)
        else:
            gradients = [weight.grad for weight in self._model.parameters() if weight.grad is not None]
            self.norm_sum += nn.utils.get_total_norm(gradients)
        self._optimiser.step()
        self.loss_sum += loss.detach() * len(labels)
        self.correct += (logits.detach().argmax(dim=1) == labels).sum()

    def _set(self, rate: float | Tensor) -> None:
        for group in self._optimiser.param_groups:
            if isinstance(group["lr"], Tensor):  # on a GPU: the address is part of a CUDA graph
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate


def arithmetic(precision: str, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Context with matrix products in bf16 and everything else in float32, if `precision` is bf16 and the processor supports it."""
    if precision == "bf16" and machine.has_bf16(str(device)):
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()
