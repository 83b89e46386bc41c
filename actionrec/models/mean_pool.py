"""Baseline that ignores the order of frames: a linear layer on the mean of a clip's features over time."""

from torch import Tensor

from actionrec.models.layers.linear_probe import LinearProbe

__all__ = ["MeanPool"]


class MeanPool(LinearProbe):
    """Features (B, T, D) -> mean over T (B, D) -> linear -> logits (B, K)."""

    def __init__(self, *, feature_dim: int, class_count: int) -> None:
        super().__init__(feature_dim, class_count)

    def pool(self, features: Tensor) -> Tensor:
        return features.mean(dim=1)
