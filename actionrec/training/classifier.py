"""The trained network: a sequence model behind the standardisation of its features.

Each of the D dimensions is brought to mean 0 and standard deviation 1 over the frames of the training clips. That helps every
backbone, and the attention models do not learn from raw features at all.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from actionrec.features.feature_store import Features

# Below this share of the typical deviation a dimension is taken for constant, and set to 0 rather than blown up.
_CONSTANT = 1e-4


class Standardise(nn.Module):
    """Features (B, T, D) -> the same shape, standardised with stored statistics; they are saved with a model's weights."""

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(feature_dim))
        self.register_buffer("scale", torch.ones(feature_dim))

    def forward(self, features: Tensor) -> Tensor:
        """Standardise features (B, T, D)."""
        return (features - self.mean) * self.scale

    def fit(self, features: Features, rows: NDArray[np.int64]) -> None:
        """Take the statistics of some clips.

        Args:
            features: (n, T, D).
            rows: the training clips among the n.
        """
        # In float64 and clip by clip: sums over 10 million frames lose digits in float32, and a copy of all would fill memory.
        # From a first frame on: a constant dimension then comes to exactly 0, not to the rounding of its mean.
        origin = features[rows[:1]][0, 0].astype(np.float64)
        total, squares = np.zeros_like(origin), np.zeros_like(origin)
        for row in rows:
            clip = features[row].astype(np.float64) - origin
            total += clip.sum(axis=0)
            squares += np.square(clip, out=clip).sum(axis=0)
        frames = len(rows) * features.shape[1]
        mean = total / frames
        deviation = np.sqrt(np.maximum(squares / frames - np.square(mean), 0))
        alive = deviation > _CONSTANT * np.median(deviation)
        scale = np.divide(1, deviation, out=np.zeros_like(deviation), where=alive)
        self.mean.copy_(torch.from_numpy(origin + mean))
        self.scale.copy_(torch.from_numpy(scale))


class Classifier(nn.Module):
    """Features (B, T, D) -> standardised -> sequence model -> logits (B, K)."""

    def __init__(self, feature_dim: int, model: nn.Module) -> None:
        super().__init__()
        self.standardise = Standardise(feature_dim)
        self.model = model

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, T, D) to logits (B, K)."""
        return self.model(self.standardise(features))
