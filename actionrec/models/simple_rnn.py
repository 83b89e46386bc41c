"""Simple RNN model (Elman, 1990) with tanh, which classifies the hidden state of the last time step."""

from torch import Tensor, nn

__all__ = ["SimpleRnn"]


class SimpleRnn(nn.Module):
    """Features (B, T, D) -> tanh RNN -> last state -> dropout -> linear -> logits (B, K)."""

    def __init__(self, *, feature_dim: int, class_count: int, hidden_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.rnn = nn.RNN(feature_dim, hidden_dim, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(hidden_dim, class_count)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, T, D) to logits (B, K)."""
        states, _ = self.rnn(features)  # (B, T, hidden_dim)
        return self.fc(self.dropout(states[:, -1]))
