"""Stacked LSTM model, which classifies the last layer's hidden state of the last time step."""

from torch import Tensor, nn

from actionrec.models.layers import lstm

__all__ = ["StackedLstm"]


class StackedLstm(nn.Module):
    """Features (B, T, D) -> `num_layers` LSTMs -> last hidden state -> dropout -> linear -> logits (B, K).

    Dropout is also applied between the layers, as in torch's own LSTM.
    """

    def __init__(self, *, feature_dim: int, class_count: int, hidden_dim: int, num_layers: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        self.lstm = nn.LSTM(feature_dim, hidden_dim, num_layers=num_layers, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(hidden_dim, class_count)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, T, D) to logits (B, K)."""
        states = lstm.outputs(self.lstm, features, self.dropout.p)  # (B, T, hidden_dim), of the last layer
        return self.fc(self.dropout(states[:, -1]))
