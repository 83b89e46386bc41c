"""Transformer encoder model over frames (arXiv 1706.03762), pre-norm by default (arXiv 2002.04745), averaged over time.

The study that this project repeats trains post-norm layers with Adam at 1e-3, without warm-up or clipping; its accuracy stays at
chance level. Its settings are `norm_first: false`, the learning rate of `train`, `warmup_epochs: 0` and `clip_norm: 0`.
"""

import math

import torch
from torch import Tensor, nn

__all__ = ["Transformer"]


class Transformer(nn.Module):
    """Features (B, T, D) -> linear -> + sinusoidal positions -> encoder -> mean over time -> dropout -> linear -> (B, K)."""

    def __init__(
        self,
        *,
        feature_dim: int,
        class_count: int,
        d_model: int = 512,
        num_heads: int = 8,
        num_layers: int = 4,
        ff_dim: int = 2048,
        norm_first: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if min(d_model, num_heads, num_layers, ff_dim) < 1:
            raise ValueError("d_model, num_heads, num_layers and ff_dim must be at least 1")
        if d_model % num_heads or d_model % 2:
            raise ValueError(f"d_model must be even and a multiple of num_heads; got {d_model} and {num_heads}")
        self.d_model = d_model
        self.embed = nn.Linear(feature_dim, d_model)
        self.embed_dropout = nn.Dropout(dropout)
        layer = nn.TransformerEncoderLayer(d_model, num_heads, ff_dim, dropout=dropout, batch_first=True, norm_first=norm_first)
        # Pre-norm layers leave their last sum unnormalised. This norm has no parameters, so that the parameter count
        # equals the study's.
        final_norm = nn.LayerNorm(d_model, elementwise_affine=False) if norm_first else None
        self.encoder = nn.TransformerEncoder(layer, num_layers, norm=final_norm, enable_nested_tensor=False)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(d_model, class_count)
        # TransformerEncoder starts all layers with the same weights; initialise each one separately.
        for parameter in self.encoder.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, T, D) to logits (B, K)."""
        embedded = self.embed(features)  # (B, T, d_model)
        embedded = embedded + sinusoidal_positions(features.shape[1], self.d_model, features.device).to(embedded)
        encoded = self.encoder(self.embed_dropout(embedded))
        return self.fc(self.dropout(encoded.mean(dim=1)))


def sinusoidal_positions(frame_count: int, width: int, device: torch.device | None = None) -> Tensor:
    """Sines in the even columns, cosines in the odd ones, wavelengths from 2 pi to 10,000 * 2 pi frames: (T, width).

    Computed on the device: a copy from the CPU would wait for the GPU, and cannot be part of a CUDA graph.
    """
    position = torch.arange(frame_count, dtype=torch.float32, device=device)[:, None]
    frequency = torch.exp(torch.arange(0, width, 2, dtype=torch.float32, device=device) * (-math.log(10_000.0) / width))
    return torch.stack([torch.sin(position * frequency), torch.cos(position * frequency)], dim=2).flatten(1)
