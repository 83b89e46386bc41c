"""Perturbations of frame order: shuffled, reversed, or one frame repeated. They show whether a model uses the order.

B clips, T frames, D features a frame. Every function takes features (B, T, D) of any type, and the clips' ids, and returns the
same shape and type on the same device; what it does to a clip does not depend on the clips beside it. Frames are moved whole:
no number changes.
"""

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Perturbation = Callable[[Tensor, Sequence[str], int], Tensor]


def shuffled(features: Tensor, clips: Sequence[str], seed: int) -> Tensor:
    """Put each clip's frames in a random order of its own, which its id and the seed decide: not its place, nor its batch.

    A clip that draws its own order, one of T!, stays unchanged.

    Args:
        features: (B, T, D).
        clips: B ids.

    Raises:
        ValueError: more or fewer ids than clips.
    """
    if len(clips) != len(features):
        raise ValueError(f"clips: one id per clip is needed; got {len(clips)}, expected {len(features)}")
    orders = [torch.randperm(features.shape[1], generator=_generator(clip, seed)) for clip in clips]
    order = torch.stack(orders) if orders else torch.empty(0, features.shape[1], dtype=torch.long)
    return features.gather(1, order.to(features.device)[:, :, None].expand_as(features))


def reversed_in_time(features: Tensor, clips: Sequence[str] = (), seed: int = 0) -> Tensor:
    """Play each clip backwards; neither ids nor seed matter."""
    return features.flip(1)


def one_frame_repeated(features: Tensor, clips: Sequence[str] = (), seed: int = 0) -> Tensor:
    """Show each clip's middle frame, frame T // 2 from 0, T times: a still picture; neither ids nor seed matter."""
    middle = features.shape[1] // 2
    return features[:, middle : middle + 1].expand_as(features).clone()


# Name (in metrics and tables) -> what is done to the features.
PERTURBATIONS: dict[str, Perturbation] = {
    "shuffled": shuffled,
    "reversed": reversed_in_time,
    "one_frame": one_frame_repeated,
}


def _generator(clip: str, seed: int) -> torch.Generator:
    """A random stream for one clip and seed; Python's own hash of a text differs between processes."""
    digest = hashlib.sha256(f"{seed} {clip}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))
