"""Losses of a batch: cross-entropy with class weights, and that of mixed clips. B clips, K classes."""

from torch import Tensor
from torch.nn import functional

from actionrec.training.augmentation import partners


def mean_loss(logits: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
    """Mean cross-entropy of a batch. Unlike torch's `weight`, it divides by clips: else weights would cancel in a batch of 1."""
    if class_weights is None:
        return functional.cross_entropy(logits, labels)
    return _losses(logits, labels, class_weights).mean()


def mixed_loss(logits: Tensor, labels: Tensor, class_weights: Tensor | None, shares: Tensor) -> Tensor:
    """Mean cross-entropy of mixed clips: against a clip's own label by its share (B,), against its partner's by the rest.

    Each of the two labels has the weight of its class.
    """
    own, other = (_losses(logits, each, class_weights) for each in (labels, partners(labels)))
    return (shares * own + (1 - shares) * other).mean()


def _losses(logits: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
    """Cross-entropy of each clip, by the weight of its class: (B,)."""
    losses = functional.cross_entropy(logits, labels, reduction="none")
    return losses if class_weights is None else losses * class_weights[labels]
