"""Section `finetune` of params.yaml. This module does not import torch, so that a stage that has nothing to tune ends at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

HEAD_FACTOR = 10
"""The head starts from nothing, so it learns this many times as fast as the backbone."""


@dataclass(frozen=True)
class FinetuneSettings:
    """Section `finetune`."""

    epochs: int
    """0: the backbone is not tuned."""
    stages: int
    """Last stages of the backbone that learn; see `actionrec.finetuning.last_stages`."""
    segments: int
    """Segments that a clip is divided into; each training step takes one frame or snippet of each, at random."""
    batch_size: int
    """Clips per step."""
    learning_rate: float
    """AdamW's learning rate of the backbone, which falls to 0 along a cosine; that of the head is HEAD_FACTOR times as high."""
    weight_decay: float
    """Of AdamW, which subtracts it times the learning rate from the weights."""
    dropout: float
    """Share of the features that the head ignores in training."""
    crop: float
    """Smallest share of a frame's area in a random crop, which is resized to the whole frame; 1: no crop."""
    flip: bool
    """Whether half of the clips are mirrored."""
    flip_pairs: Sequence[Sequence[str]]
    """Pairs of classes that a mirror turns into each other, such as `[turn_left, turn_right]`."""
    colour: float
    """Largest change of brightness, contrast and saturation, as a share; 0: none."""
    precision: Literal["fp32", "bf16"]
    """Precision of the network's arithmetic. bf16 is faster on devices that support it; the others use fp32."""

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise ValueError(f"epochs must be at least 0; got {self.epochs}")
        for name in ("stages", "segments", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0; got {self.learning_rate}")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay must be at least 0; got {self.weight_decay}")
        for name, low, high in (("dropout", 0.0, 0.99), ("crop", 0.01, 1.0), ("colour", 0.0, 1.0)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be from {low:g} to {high:g}; got {getattr(self, name)}")
        classes = [name for pair in self.flip_pairs for name in pair]
        if any(len(pair) != 2 for pair in self.flip_pairs) or len(set(classes)) < len(classes):
            raise ValueError(
                f"flip_pairs must be pairs of class names, each name once; got {[list(pair) for pair in self.flip_pairs]}"
            )
        if self.flip_pairs and not self.flip:
            raise ValueError("flip_pairs has no effect without flip; set flip to true, or flip_pairs to []")
