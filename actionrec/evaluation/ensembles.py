"""Several models' answers as one: the mean of their probabilities, and which of them to put together.

n clips, K classes. Members are chosen on validation clips; test clips are for judging the choice, once.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from actionrec.evaluation import metrics
from actionrec.evaluation.calibration import softmax

_LEAST = 1e-30  # a probability of 0 becomes this: its logarithm is finite in float32


def average(logits: Sequence[NDArray[np.floating]]) -> NDArray[np.float32]:
    """Average the probabilities of models, each model counting alike, and return them as logits.

    Averaged in float64. The logits are log probabilities: softmax gives the averages back, and whatever reads a model's logits
    (top-k, cross-entropy, a temperature) reads these. Two averages closer than 1e-7 of their logarithm become equal.

    Args:
        logits: (n, K) of each of at least one model, for the same clips in the same order.

    Raises:
        ValueError: no model, or shapes that differ.
    """
    return as_logits(_mean([softmax(one) for one in _same_shape(list(logits))]))


def as_logits(probabilities: NDArray[np.floating]) -> NDArray[np.float32]:
    """Logits of which softmax makes these probabilities (n, K); those below 1e-30, 0 among them, become 1e-30."""
    return np.log(np.maximum(probabilities.astype(np.float64), _LEAST)).astype(np.float32)


def best_subset(
    validation_probabilities: Mapping[str, NDArray[np.floating]], labels: NDArray[np.int64], sizes: Sequence[int] = (2, 3)
) -> tuple[str, ...]:
    """Choose the members of an ensemble on validation clips.

    The highest validation top-1 of the averaged probabilities; of those the lowest cross-entropy; of those the fewest members;
    of those the first by name. Its validation top-1 is the highest of many (56 pairs and triples of 7 models) and so too high
    an estimate: quote the ensemble's accuracy on test clips only.

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
        raise ValueError("an ensemble cannot be chosen on no clips")
    candidates = [members for size in sorted(set(sizes)) for members in combinations(names, size)]
    if not candidates or min(sizes) < 1:
        raise ValueError(f"wanted ensembles of {list(sizes)} models; got {len(names)} models")

    def order(members: tuple[str, ...]) -> tuple[float, float, int, tuple[str, ...]]:
        logits = as_logits(_mean([validation_probabilities[name] for name in members]))
        # Rounded: the order of a sum must not decide between two that are equal.
        return (-metrics.top_k(logits, labels, 1), round(metrics.cross_entropy(logits, labels), 9), len(members), members)

    return min(candidates, key=order)


def _mean(probabilities: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = np.mean(np.stack([one.astype(np.float64) for one in probabilities]), axis=0)
    return mean


def _same_shape(arrays: list[NDArray[np.floating]]) -> list[NDArray[np.floating]]:
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1:
        raise ValueError(f"wanted the same clips and classes from at least one model; got shapes {sorted(shapes)}")
    return arrays
