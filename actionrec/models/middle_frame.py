"""Baseline that sees one frame: a linear layer on the features of a clip's middle frame."""

from torch import Tensor, nn

__all__ = ["MiddleFrame"]


class MiddleFrame(nn.Module):
    """Features (B, T, D) -> frame T // 2, counted from 0 -> dropout -> linear -> logits (B, K)."""

    order_blind = True  # it never sees two frames

    def __init__(self, *, feature_dim: int, class_count: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(feature_dim, class_count)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, T, D) to logits (B, K)."""
        return self.fc(self.dropout(features[:, features.shape[1] // 2]))
