"""Ensembles: the mean of several models' probabilities, and the choice of the members.

n clips, K classes. Members are chosen on validation clips; the ensemble is measured on test clips, once. If only the highest logits
are kept, a class that a model does not rank among its first k - 1 has an equal share of what these classes have together there.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from actionrec.evaluation.calibration import softmax
from actionrec.evaluation.logits import Logits, TopLogits, blocks, class_count, joined

_LEAST = 1e-30  # a probability of 0 becomes this: its logarithm is finite in float32


def average(logits: Sequence[Logits], labels: NDArray[np.int64]) -> Logits:
    """Average the probabilities of models with equal weights, and return them as logits.

    Averaged in float64, in blocks of clips. The logits are log probabilities: softmax gives the averages back, and they can be
    used like a model's logits (top-k, cross-entropy, a temperature). Two averages whose logarithms differ by less than a part in
    1e7 become equal.

    Args:
        logits: (n, K) of each of at least one model, for the same clips in the same order.
        labels: (n,) the clips' classes, from 0 to K - 1.

    Raises:
        ValueError: no model, or shapes that differ.
    """
    shape = _same_shape(logits)
    first, parts = logits[0], []
    for block in blocks(*shape):
        mean = as_logits(np.mean([_shares(one[block]) for one in logits], axis=0))
        parts.append(TopLogits.of(mean, labels[block]) if isinstance(first, TopLogits) else mean)
    return joined([first[:0], *parts])


def as_logits(shares: NDArray[np.floating]) -> NDArray[np.float32]:
    """Logits whose softmax is these probabilities (n, K); probabilities below 1e-30 become 1e-30."""
    return np.log(np.maximum(shares.astype(np.float64), _LEAST)).astype(np.float32)


def best_subset(logits: Mapping[str, Logits], labels: NDArray[np.int64], sizes: Sequence[int] = (2, 3)) -> tuple[str, ...]:
    """Choose the members of an ensemble on validation clips.

    Takes the members with the highest validation top-1 of the averaged probabilities; ties are decided by the lowest
    cross-entropy, then the fewest members, then the names. Their validation top-1 is the highest of many (120 pairs and triples
    of 9 models) and so too optimistic: report the ensemble's accuracy on test clips only.

    Args:
        logits: (n, K) of each model, for the same validation clips in the same order.
        labels: (n,), from 0 to K - 1.
        sizes: how many members an ensemble may have.

    Returns:
        Names, sorted.

    Raises:
        ValueError: no clips, shapes that differ, or fewer models than any of the sizes.
    """
    names = sorted(logits)
    shape = _same_shape([logits[name] for name in names])
    if not len(labels):
        raise ValueError("choosing an ensemble needs at least one clip")
    candidates = [members for size in sorted(set(sizes)) for members in combinations(names, size)]
    if not candidates or min(sizes) < 1:
        raise ValueError(f"cannot choose {list(sizes)} of {len(names)} models")

    correct, losses = np.zeros(len(candidates), dtype=np.int64), np.zeros((len(candidates), len(labels)))
    for block in blocks(*shape):
        own = labels[block]
        shares = {name: _shares(logits[name][block]) for name in names}
        for place, members in enumerate(candidates):
            mean = np.mean([shares[name] for name in members], axis=0)
            # In float32, so that the order of summation does not decide between equal classes.
            correct[place] += (mean.astype(np.float32).argmax(axis=1) == own).sum()
            losses[place, block] = -np.log(np.maximum(mean[np.arange(len(own)), own], _LEAST))

    def order(place: int) -> tuple[int, float, int, tuple[str, ...]]:
        # Rounded, so that the order of summation does not decide between equal ensembles.
        return -int(correct[place]), round(float(losses[place].mean()), 9), len(candidates[place]), candidates[place]

    return candidates[min(range(len(candidates)), key=order)]


def _shares(logits: Logits) -> NDArray[np.float64]:
    """Probabilities (n, K), which do not depend on the clips' labels."""
    return logits.probabilities(with_label=False) if isinstance(logits, TopLogits) else softmax(logits)


def _same_shape(tables: Sequence[Logits]) -> tuple[int, int]:
    """Clips and classes of all tables."""
    shapes = {(len(one), class_count(one)) for one in tables}
    if len(shapes) != 1:
        raise ValueError(f"expected at least one model, all with the same clips and classes; got shapes {sorted(shapes)}")
    return shapes.pop()
