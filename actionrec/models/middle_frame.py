"""Baseline that sees one frame: a linear layer on the features of a clip's middle frame."""

from torch import Tensor

from actionrec.models.layers.linear_probe import LinearProbe

__all__ = ["MiddleFrame"]


class MiddleFrame(LinearProbe):
    """Features (B, T, D) -> frame T // 2, counted from 0 (B, D) -> linear -> logits (B, K)."""

    def __init__(self, *, feature_dim: int, class_count: int) -> None:
        super().__init__(feature_dim, class_count)

    def pool(self, features: Tensor) -> Tensor:
        return features[:, features.shape[1] // 2]
