"""Augmentation of features in training: jitter in time, dropped frames and mixup. n clips, B in a batch, T time steps, D features.

All draws of a clip come from the seed, the epoch and the clip's row among the features. They depend neither on the clips that share
its batch nor on the device, so a resumed run repeats them. A generator fills arrays row by row, so clips after a row, or fewer of
them, do not change it. Each kind of draw has a generator of its own, so one setting does not change the draws of another.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_JITTER, _DROP, _MIX = range(3)  # numbers of the generators
_BLOCK = 4096  # clips drawn at a time: their random numbers take more memory than the steps that come of them


def time_steps(clips: int, frames: int, *, time_jitter: int, drop_frames: float, seed: int, epoch: int) -> NDArray[np.int32]:
    """The steps whose features replace those of each step in one epoch, in order: (n, T). Frames are dropped after the jitter.

    Args:
        clips: n.
        frames: T.
        time_jitter: see `jittered`.
        drop_frames: see `kept`.
    """
    jitter, drop = _generator(seed, epoch, _JITTER), _generator(seed, epoch, _DROP)
    steps = np.empty((clips, frames), dtype=np.int32)
    for start in range(0, clips, _BLOCK):
        block = steps[start : start + _BLOCK]
        moved = jittered(len(block), frames, time_jitter, jitter)
        block[:] = np.take_along_axis(moved, kept(len(block), frames, drop_frames, drop), axis=1)
    return steps


def jittered(clips: int, frames: int, most: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Steps that are each drawn evenly from up to `most` steps before to as many after, within the clip, and sorted: (n, T).

    After sorting, too, each is at most `most` steps from its place.
    """
    most = min(most, frames - 1)
    offsets = np.floor(random.random((clips, frames)) * (2 * most + 1)).astype(np.int64) - most
    return np.sort(np.clip(np.arange(frames) + offsets, 0, frames - 1), axis=1)


def kept(clips: int, frames: int, drop: float, random: np.random.Generator) -> NDArray[np.int64]:
    """Steps, of which each is dropped with probability `drop` and then replaced by the last kept one before it: (n, T).

    Dropped steps before the first kept one are replaced by that one. The step with the highest draw is always kept.
    """
    draws = random.random((clips, frames))
    is_kept = draws >= drop
    is_kept[np.arange(clips), draws.argmax(axis=1)] = True
    latest = np.maximum.accumulate(np.where(is_kept, np.arange(frames), -1), axis=1)
    return np.where(latest < 0, is_kept.argmax(axis=1)[:, None], latest)


def own_shares(clips: int, alpha: float, *, seed: int, epoch: int) -> NDArray[np.float32]:
    """The share of each clip in its mixture with its partner, in one epoch: (n,), from 0.5 to 1.

    It is the larger of s and 1 - s for s from Beta(alpha, alpha), so each clip is the greater part of one mixture in an epoch. One
    share per clip, not per batch: a clip's draw must not depend on its batch, and gradients vary less.
    """
    shares = _generator(seed, epoch, _MIX).beta(alpha, alpha, clips)
    return np.maximum(shares, 1 - shares).astype(np.float32)


def take_steps(features: Tensor, steps: Tensor) -> Tensor:
    """Replace the features of each time step by those of another one: (B, T, D) by steps (B, T)."""
    clips = torch.arange(len(features), device=features.device)
    return features[clips[:, None], steps.long()]


def mixed(features: Tensor, shares: Tensor) -> Tensor:
    """Mixup (arXiv 1710.09412): each clip (B, T, D) by its share (B,), and its partner by the rest."""
    return partners(features).lerp_(features, shares[:, None, None])


def partners(batch: Tensor) -> Tensor:
    """The clip that each clip of a batch is mixed with: the one before it. Their order is random, as it comes from the epoch's."""
    return batch.roll(1, dims=0)


def _generator(seed: int, epoch: int, number: int) -> np.random.Generator:
    return np.random.default_rng((seed % 2**64, epoch, number))  # entropy must not be negative; a seed may be
