"""Baseline that ignores the order of frames but sees how much they change: a linear layer on mean and deviation over time."""

import torch
from torch import Tensor

from actionrec.models.layers.linear_probe import LinearProbe

__all__ = ["MeanStd"]

_EPSILON = 1e-12  # added to the variance: the gradient of a root has no value at 0, the variance of a clip that stands still


class MeanStd(LinearProbe):
    """Features (B, T, D) -> mean and standard deviation over T, side by side (B, 2 D) -> linear -> logits (B, K)."""

    def __init__(self, *, feature_dim: int, class_count: int) -> None:
        super().__init__(2 * feature_dim, class_count)

    def pool(self, features: Tensor) -> Tensor:
        mean = features.mean(dim=1, keepdim=True)
        variance = (features - mean).square().mean(dim=1)
        return torch.cat([mean.squeeze(1), (variance + _EPSILON).sqrt()], dim=1)
