"""Accuracies from logits: fractions from 0 to 1. n clips, K classes."""

import numpy as np
from numpy.typing import NDArray

_BLOCK = 4_000_000  # logits that are converted to float64 at a time: 32 MB


def correct_at_k(logits: NDArray[np.float32], labels: NDArray[np.int64], k: int) -> NDArray[np.bool_]:
    """Check for each clip whether its class is among the k highest logits.

    Of equal logits, the class with the lower number ranks first, so equal logits do not make every class correct. NaN logits
    rank last.

    Args:
        logits: (n, K).
        labels: (n,), from 0 to K - 1.
        k: at least 1; with k >= K every clip is correct.

    Returns:
        (n,) booleans.
    """
    own = logits[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(logits.shape[1])[None, :] < labels[:, None]
    rank = (~(logits <= own) | ((logits == own) & earlier)).sum(axis=1)
    return np.asarray(rank < k)


def top_k(logits: NDArray[np.float32], labels: NDArray[np.int64], k: int) -> float:
    """Share of clips whose class is among the k highest logits."""
    return float(correct_at_k(logits, labels, k).mean())


def mean_class(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Top-1 within each class that has clips, averaged over those classes: every class has the same weight."""
    correct = correct_at_k(logits, labels, 1)
    return float(np.mean([correct[labels == label].mean() for label in np.unique(labels)]))


def macro_f1(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """F1 of each class that has clips, averaged over those classes; a class that is never answered correctly counts as 0."""
    counts = confusion(logits, labels)
    tested = counts.sum(axis=1) > 0
    return float(np.mean((2 * np.diag(counts) / (counts.sum(axis=1) + counts.sum(axis=0)).clip(min=1))[tested]))


def confusion(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count clips by true class (rows) and predicted class (columns): (K, K)."""
    classes = logits.shape[1]
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (labels, logits.argmax(axis=1)), 1)
    return counts


def cross_entropy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean of -log softmax at the true class, in nats; computed in blocks of clips, because it takes float64."""
    losses = np.empty(len(labels))
    clips = max(1, _BLOCK // logits.shape[1])
    for start in range(0, len(labels), clips):
        block = slice(start, start + clips)
        wide, own = logits[block].astype(np.float64), labels[block]
        highest = wide.max(axis=1)
        log_sum = highest + np.log(np.exp(wide - highest[:, None]).sum(axis=1))
        losses[block] = log_sum - wide[np.arange(len(own)), own]
    return float(losses.mean())
