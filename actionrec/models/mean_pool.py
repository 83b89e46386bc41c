"""Baseline that ignores the order of frames: a linear layer on the mean of a clip's features over time."""

from torch import Tensor, nn

__all__ = ["MeanPool"]


class MeanPool(nn.Module):
    """Features (B, T, D) -> mean over T -> dropout -> linear -> logits (B, K)."""

    order_blind = True  # the order of frames cannot change its answer

    def __init__(self, *, feature_dim: int, class_count: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(feature_dim, class_count)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, T, D) to logits (B, K)."""
        return self.fc(self.dropout(features.mean(dim=1)))
