"""Summary of a confusion matrix: all of it for some tens of classes, else the most confused pairs and the classes in them.

K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actionrec.evaluation.class_confusions import clustered_order, confused_pairs

MOST_CLASSES = 50
"""Of a whole matrix."""
_MOST_PAIRS = 30
_MOST_IN_PAIRS = 30  # classes of the matrix, if there are more than MOST_CLASSES


@dataclass
class ConfusedPair:
    """How often clips of one class get the label of another."""

    true: str
    predicted: str
    clips: int
    of: int
    """Test clips of the true class."""


@dataclass
class ConfusionSummary:
    """The confusion matrix of a model, or the part of it with the most confused classes."""

    model: str
    tests: int
    correct: int
    class_count: int
    """K"""
    classes: list[str]
    """Of the matrix's rows and columns; if some are left out, those that are confused with each other are side by side."""
    clips: list[int]
    """Test clips of each of them."""
    counts: list[list[int]]
    """[true][predicted]: clips."""
    pairs: list[ConfusedPair]
    """The most confused ones, the most frequent confusion first."""


def count_confusions(labels: NDArray[np.integer], predicted: NDArray[np.integer], class_count: int) -> NDArray[np.int64]:
    """Clips by true class (rows) and predicted class (columns): (K, K).

    Args:
        labels: (n,), from 0 to K - 1.
        predicted: (n,), likewise.
        class_count: K.
    """
    places = labels.astype(np.int64) * class_count + predicted
    return np.bincount(places, minlength=class_count * class_count).reshape(class_count, class_count).astype(np.int64)


def summarise(model: str, counts: NDArray[np.int64], class_names: Sequence[str]) -> ConfusionSummary:
    """Summarise a confusion matrix.

    Args:
        model: its name.
        counts: (K, K), as `count_confusions` gives it.
        class_names: K names.
    """
    clips = counts.sum(axis=1)
    places = confused_pairs(counts, _MOST_PAIRS)
    numbers = list(range(len(counts)))
    if len(numbers) > MOST_CLASSES:
        numbers = list(dict.fromkeys(number for place in places for number in place))[:_MOST_IN_PAIRS]
        numbers = [numbers[number] for number in clustered_order(counts[np.ix_(numbers, numbers)])] if numbers else []
    return ConfusionSummary(
        model=model,
        tests=int(counts.sum()),
        correct=int(np.trace(counts)),
        class_count=len(counts),
        classes=[class_names[number] for number in numbers],
        clips=clips[numbers].tolist(),
        counts=counts[np.ix_(numbers, numbers)].tolist(),
        pairs=[
            ConfusedPair(class_names[true], class_names[predicted], int(counts[true, predicted]), int(clips[true]))
            for true, predicted in places
        ],
    )
