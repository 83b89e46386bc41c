"""Ensembles: the mean of several models' probabilities, and the choice of the members.

n clips, K classes. Members are chosen on validation clips; the ensemble is measured on test clips, once.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from actionrec.evaluation import metrics
from actionrec.evaluation.calibration import softmax

_LEAST = 1e-30  # a probability of 0 becomes this: its logarithm is finite in float32


def average(logits: Sequence[NDArray[np.floating]]) -> NDArray[np.float32]:
    """Average the probabilities of models with equal weights, and return them as logits.

    Averaged in float64. The logits are log probabilities: softmax gives the averages back, and they can be used like a model's
    logits (top-k, cross-entropy, a temperature). Two averages whose logarithms differ by less than a part in 1e7 become equal.

    Args:
        logits: (n, K) of each of at least one model, for the same clips in the same order.

    Raises:
        ValueError: no model, or shapes that differ.
    """
    return as_logits(_mean([softmax(one) for one in _same_shape(list(logits))]))


def as_logits(probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
    """Logits whose softmax is these probabilities (n, K); probabilities below 1e-30 become 1e-30."""
    return np.log(np.maximum(probabilities.astype(np.float64), _LEAST)).astype(np.float32)


def best_subset(
    validation_probabilities: Mapping[str, NDArray[np.floating]], labels: NDArray[np.int64], sizes: Sequence[int] = (2, 3)
) -> tuple[str, ...]:
    """Choose the members of an ensemble on validation clips.

    Takes the members with the highest validation top-1 of the averaged probabilities; ties are decided by the lowest
    cross-entropy, then the fewest members, then the names. Their validation top-1 is the highest of many (120 pairs and triples
    of 9 models) and so too optimistic: report the ensemble's accuracy on test clips only.

    Args:
        validation_probabilities: (n, K) of each model, for the same clips in the same order.
        labels: (n,), from 0 to K - 1.
        sizes: how many members an ensemble may have.

    Returns:
        Names, sorted.

    Raises:
        ValueError: no clips, shapes that differ, or fewer models than any of the sizes.
    """
    names = sorted(validation_probabilities)
    _same_shape([validation_probabilities[name] for name in names])
    if not len(labels):
        raise ValueError("choosing an ensemble needs at least one clip")
    candidates = [members for size in sorted(set(sizes)) for members in combinations(names, size)]
    if not candidates or min(sizes) < 1:
        raise ValueError(f"cannot choose {list(sizes)} of {len(names)} models")

    def order(members: tuple[str, ...]) -> tuple[float, float, int, tuple[str, ...]]:
        logits = as_logits(_mean([validation_probabilities[name] for name in members]))
        # Rounded, so that the order of summation does not decide between equal ensembles.
        return (-metrics.top_k(logits, labels, 1), round(metrics.cross_entropy(logits, labels), 9), len(members), members)

    return min(candidates, key=order)


def _mean(probabilities: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = np.mean(np.stack([one.astype(np.float64) for one in probabilities]), axis=0)
    return mean


def _same_shape(arrays: list[NDArray[np.floating]]) -> list[NDArray[np.floating]]:
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1:
        raise ValueError(f"expected at least one model, all with the same clips and classes; got shapes {sorted(shapes)}")
    return arrays
