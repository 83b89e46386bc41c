"""Accuracies from logits: fractions from 0 to 1. n clips, K classes."""

import numpy as np
from numpy.typing import NDArray

from actionrec.evaluation.logits import Logits, TopLogits, answers, blocks, class_count


def correct_at_k(logits: Logits, labels: NDArray[np.int64], k: int) -> NDArray[np.bool_]:
    """Check for each clip whether its class is among the k highest logits.

    Of equal logits, the class with the lower number ranks first, so equal logits do not make every class correct. NaN logits
    rank last.

    Args:
        logits: (n, K).
        labels: (n,), from 0 to K - 1.
        k: at least 1; with k >= K every clip is correct.

    Returns:
        (n,) booleans.

    Raises:
        ValueError: the logits are the highest ones only, and too few to tell.
    """
    if isinstance(logits, TopLogits):
        if k >= logits.class_count:
            return np.ones(len(labels), dtype=np.bool_)
        if k >= (kept := logits.classes.shape[1]):
            raise ValueError(f"of each clip, {kept} classes are kept: too few to tell whether its own is among the {k} highest")
        return np.asarray((logits.rank(labels) < k) & ~np.isnan(logits.own(labels)))
    own = logits[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(logits.shape[1])[None, :] < labels[:, None]
    rank = (~(logits <= own) | ((logits == own) & earlier)).sum(axis=1)
    return np.asarray(rank < k)


def top_k(logits: Logits, labels: NDArray[np.int64], k: int) -> float:
    """Share of clips whose class is among the k highest logits."""
    return float(correct_at_k(logits, labels, k).mean())


def mean_class(logits: Logits, labels: NDArray[np.int64]) -> float:
    """Top-1 within each class that has clips, averaged over those classes: every class has the same weight."""
    correct = correct_at_k(logits, labels, 1)
    return float(np.mean([correct[labels == label].mean() for label in np.unique(labels)]))


def macro_f1(logits: Logits, labels: NDArray[np.int64]) -> float:
    """F1 of each class that has clips, averaged over those classes; a class that is never answered correctly counts as 0."""
    counts = confusion(logits, labels)
    tested = counts.sum(axis=1) > 0
    return float(np.mean((2 * np.diag(counts) / (counts.sum(axis=1) + counts.sum(axis=0)).clip(min=1))[tested]))


def confusion(logits: Logits, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count clips by true class (rows) and predicted class (columns): (K, K)."""
    classes = class_count(logits)
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (labels, answers(logits)), 1)
    return counts


def cross_entropy(logits: Logits, labels: NDArray[np.int64], temperature: float = 1.0) -> float:
    """Mean of -log softmax(logits / temperature) at the true class, in nats; in blocks of clips, because it takes float64."""
    if isinstance(logits, TopLogits):
        return float((logits.log_sum(temperature) - logits.own(labels).astype(np.float64) / temperature).mean())
    losses = np.empty(len(labels))
    for block in blocks(len(labels), logits.shape[1]):
        wide, own = logits[block].astype(np.float64) / temperature, labels[block]
        highest = wide.max(axis=1)
        log_sum = highest + np.log(np.exp(wide - highest[:, None]).sum(axis=1))
        losses[block] = log_sum - wide[np.arange(len(own)), own]
    return float(losses.mean())
