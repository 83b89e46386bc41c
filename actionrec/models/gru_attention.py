"""GRU with attention pooling: a learned query weighs the states of all time steps (Yang et al., 2016, Hierarchical Attention
Networks).

A model of this project, not of the study that it repeats.
"""

import torch
from torch import Tensor, nn

__all__ = ["GruAttention"]


class GruAttention(nn.Module):
    """Features (B, T, D) -> GRU -> weighted mean of its states -> dropout -> linear -> logits (B, K).

    Args:
        attention_dim: width of the projection that the query is compared with.
    """

    def __init__(
        self, *, feature_dim: int, class_count: int, hidden_dim: int, attention_dim: int = 128, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if attention_dim < 1:
            raise ValueError(f"attention_dim must be at least 1; got {attention_dim}")
        self.gru = nn.GRU(feature_dim, hidden_dim, batch_first=True)
        self.project = nn.Linear(hidden_dim, attention_dim)
        self.query = nn.Linear(attention_dim, 1, bias=False)  # a bias would add the same to every score
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(hidden_dim, class_count)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, T, D) to logits (B, K)."""
        states, _ = self.gru(features)  # (B, T, hidden_dim)
        summary = (self._weights(states)[:, :, None] * states).sum(dim=1)
        return self.fc(self.dropout(summary))

    def attention_over_time(self, features: Tensor) -> Tensor:
        """Weight of each time step in the mean: features (B, T, D) to (B, T); each row sums to 1. Shown by `predict --explain`."""
        states, _ = self.gru(features)
        return self._weights(states)

    def _weights(self, states: Tensor) -> Tensor:
        """(B, T, hidden_dim) to (B, T)."""
        scores = self.query(torch.tanh(self.project(states))).squeeze(2)
        return scores.float().softmax(dim=1)
