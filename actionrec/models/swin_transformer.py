"""Swin Transformer model (arXiv 2103.14030) over time: attention within windows of frames, shifted in every other block,
relative position bias, and merging of neighbouring frames between the stages.

Differs from the study that this project repeats, whose "Swin" is one post-norm block with full attention: no windows, no shift, no
positions. The sizes are chosen to match its parameter count within 0.01 %.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["SwinTransformer"]


class SwinTransformer(nn.Module):
    """Features (B, T, D) -> linear, norm -> stages of window attention -> norm -> mean over time -> linear -> (B, K).

    Args:
        dim: width of the first stage; each merging doubles it.
        depths: blocks in each stage.
        num_heads: attention heads in each stage.
        window: frames that attend to each other.
        bias_std: standard deviation of the initial relative position biases. With the paper's 0.02, all positions start nearly
            equal. That works for a million images, but from a few hundred clips the model does not learn the order of frames.
    """

    def __init__(
        self,
        *,
        feature_dim: int,
        class_count: int,
        dim: int = 112,
        depths: Sequence[int] = (2, 6),
        num_heads: Sequence[int] = (4, 8),
        window: int = 8,
        mlp_ratio: int = 4,
        bias_std: float = 2.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if min(dim, window, mlp_ratio, *depths, *num_heads) < 1:
            raise ValueError("dim, window, mlp_ratio and each of depths and num_heads must be at least 1")
        if bias_std < 0:
            raise ValueError(f"bias_std must be at least 0; got {bias_std}")
        if len(depths) != len(num_heads) or not depths:
            raise ValueError(f"depths and num_heads need one number per stage each; got {list(depths)} and {list(num_heads)}")
        self.embed = nn.Linear(feature_dim, dim)
        self.embed_norm = nn.LayerNorm(dim)
        stages: list[nn.Module] = []
        for stage, (depth, heads) in enumerate(zip(depths, num_heads, strict=True)):
            if stage:
                stages.append(FrameMerging(dim))
                dim *= 2
            stages += [
                SwinBlock(dim, heads, window, window // 2 if block % 2 else 0, mlp_ratio, bias_std, dropout)
                for block in range(depth)
            ]
        self.stages = nn.Sequential(*stages)
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(dim, class_count)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, T, D) to logits (B, K)."""
        embedded = self.embed_norm(self.embed(features))  # (B, T, dim)
        encoded = self.norm(self.stages(embedded))  # (B, T / 2 ** (stages - 1), widest)
        return self.fc(self.dropout(encoded.mean(dim=1)))


class SwinBlock(nn.Module):
    """x (B, T, C) -> x + window attention(norm(x)) -> x + MLP(norm(x)), the same shape."""

    def __init__(self, dim: int, heads: int, window: int, shift: int, mlp_ratio: int, bias_std: float, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = WindowAttention(dim, heads, window, shift, bias_std)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, mlp_ratio * dim), nn.GELU(), nn.Linear(mlp_ratio * dim, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: Tensor) -> Tensor:
        frames = frames + self.dropout(self.attention(self.attention_norm(frames)))
        return frames + self.dropout(self.mlp(self.mlp_norm(frames)))


class WindowAttention(nn.Module):
    """Attention among the frames of a window, with a learned bias for each relative position and head: (B, T, C) -> (B, T, C).

    A shifted block starts its windows `shift` frames later: the first frames are rolled to the end, into the last window, and a
    mask keeps the two ends of the clip from attending to each other. A clip whose length is not a multiple of the window is
    padded, and the mask excludes the padding. A clip that fits into one window is not shifted.
    """

    def __init__(self, dim: int, heads: int, window: int, shift: int, bias_std: float) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"a stage's width must be a multiple of its heads; got {dim} and {heads}")
        self.heads, self.window, self.shift = heads, window, shift
        self.qkv = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)
        self.position_bias = nn.Parameter(torch.zeros(2 * window - 1, heads))
        if not self.position_bias.is_meta:  # there, torch would import its Python kernels, which takes seconds
            nn.init.normal_(self.position_bias, std=bias_std)
        steps = np.arange(window)
        self.relative: Tensor
        self.register_buffer("relative", torch.from_numpy(steps[:, None] - steps[None, :] + window - 1), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        batch, length, dim = frames.shape
        query, key, value, mask = self._windows(frames)
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        joined = self.project(attended.transpose(2, 3).reshape(batch, -1, dim))
        return joined.roll(self._rolled(length), dims=1)[:, :length]

    def weights(self, frames: Tensor) -> Tensor:
        """How much each frame (row) attends to each (column), averaged over heads: (B, T, C) -> (B, T, T); rows sum to 1."""
        length = frames.shape[1]
        query, key, _, mask = self._windows(frames)
        scores = query @ key.transpose(3, 4) / query.shape[4] ** 0.5 + mask
        within = scores.softmax(dim=4).mean(dim=2)  # (B, windows, window, window)
        whole = torch.stack([torch.block_diag(*clip) for clip in within])
        shift = self._rolled(length)
        return whole.roll((shift, shift), dims=(1, 2))[:, :length, :length]

    def _rolled(self, length: int) -> int:
        """Frames by which a clip is rolled before it is cut into windows."""
        return self.shift if length > self.window else 0

    def _windows(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Query, key and value, each (B, windows, heads, window, C / heads), and the mask to be added to their products."""
        length = frames.shape[1]
        padded, shift = -length % self.window, self._rolled(length)
        frames = functional.pad(frames, (0, 0, 0, padded)).roll(-shift, dims=1)
        windows = frames.unflatten(1, (-1, self.window))
        qkv = self.qkv(windows).unflatten(3, (3, self.heads, -1)).permute(3, 0, 1, 4, 2, 5)
        query, key, value = qkv.unbind(0)
        # As an embedding: the deterministic gradient of an index cannot be part of a CUDA graph.
        bias = functional.embedding(self.relative, self.position_bias).permute(2, 0, 1)  # (heads, window, window)
        mask = (bias + self._mask(length, padded, shift, frames.device)).to(query.dtype)
        return query, key, value, mask

    def _mask(self, length: int, padded: int, shift: int, device: torch.device) -> Tensor:
        """0 where two frames of a window may attend to each other and -inf elsewhere: (windows, 1, window, window)."""
        total = length + padded
        region = torch.zeros(total, dtype=torch.long, device=device)  # 0: the clip, 1: padding
        region[length:] = 1
        region = region.roll(-shift)
        if shift:
            region[-shift:] = 2  # frames rolled from the clip's start
        region = region.reshape(-1, self.window)
        apart = region[:, None, :, None] != region[:, None, None, :]
        return torch.zeros_like(apart, dtype=torch.float32).masked_fill(apart, float("-inf"))


class FrameMerging(nn.Module):
    """Merge each pair of neighbouring frames into one of twice the width: (B, T, C) -> (B, ceil(T / 2), 2 C).

    The last frame of a clip of odd length is merged with itself.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * dim)
        self.reduce = nn.Linear(2 * dim, 2 * dim, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        if frames.shape[1] % 2:
            frames = torch.cat([frames, frames[:, -1:]], dim=1)
        return self.reduce(self.norm(frames.unflatten(1, (-1, 2)).flatten(2)))
