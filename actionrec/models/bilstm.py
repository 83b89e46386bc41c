"""Bidirectional LSTM model (Graves and Schmidhuber, 2005).

Differs from the study that this project repeats: the study uses the states of both directions at the last time step, where the
backward direction has seen only one frame. Here, each direction's state is used after it has seen the whole clip. `read: last`
selects the study's variant.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from actionrec.models.layers import lstm

__all__ = ["BiLstm"]


class BiLstm(nn.Module):
    """Features (B, T, D) -> two LSTMs -> their final states, concatenated -> dropout -> linear -> logits (B, K).

    Args:
        read: `ends`, each direction after its last frame, or `last`, both at the clip's last frame.
    """

    def __init__(
        self,
        *,
        feature_dim: int,
        class_count: int,
        hidden_dim: int,
        read: Literal["ends", "last"] = "ends",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.read = read
        self.lstm = nn.LSTM(feature_dim, hidden_dim, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2 * hidden_dim, class_count)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, T, D) to logits (B, K)."""
        states = lstm.outputs(self.lstm, features)  # (B, T, 2 hidden_dim), forward, then backward
        width = self.lstm.hidden_size
        # The backward direction has seen the whole clip at its first frame.
        summary = states[:, -1] if self.read == "last" else torch.cat([states[:, -1, :width], states[:, 0, width:]], dim=1)
        return self.fc(self.dropout(summary))
