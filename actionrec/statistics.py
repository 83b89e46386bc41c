"""What the counts of right answers allow to say: intervals, paired tests, and the price of testing many pairs.

Every function here takes clips as independent. Clips that are cut from one source video are not quite, so these intervals are
somewhat too narrow and these p-values somewhat too small; the report says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

CONFIDENCE = 0.95  # of every interval
SIGNIFICANCE = 0.05  # a corrected p-value below this is called a difference


@dataclass(frozen=True)
class Interval:
    """A confidence interval of a share, both ends from 0 to 1."""

    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """Exact McNemar test of two models on the same clips."""

    only_first: int  # clips that the first model alone gets right
    only_second: int
    p: float  # two-sided


def wilson(right: int, total: int) -> Interval:
    """95 % Wilson score interval of a share; it stays within 0 and 1 and works at 0 and at `total` right answers.

    >>> wilson(1300, 1337)
    Interval(low=0.962..., high=0.979...)

    Raises:
        ValueError: `total` is below 1, or `right` is not within 0 and `total`.
    """
    ends = binomtest(right, total).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
    # Rounding can leave the ends a hair outside the observed share at 0 and at `total`.
    return Interval(min(float(ends.low), right / total), max(float(ends.high), right / total))


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> PairedTest:
    """Test whether two models are right equally often, from the clips on which just one of them is right.

    Under "equally often", such a clip falls to either model like a fair coin; the exact binomial needs no minimum of clips.

    Args:
        first: (n,) whether the first model is right, clip by clip.
        second: (n,) the same clips in the same order.

    Raises:
        ValueError: the two have different lengths.
    """
    if first.shape != second.shape:
        raise ValueError(f"a paired test needs the same clips: {first.shape} against {second.shape}")
    only_first = int((first & ~second).sum())
    only_second = int((second & ~first).sum())
    apart = only_first + only_second
    p = float(binomtest(only_first, apart, 0.5).pvalue) if apart else 1.0
    return PairedTest(only_first, only_second, min(p, 1.0))


def better_than(right: int, total: int, share: float) -> float:
    """One-sided exact binomial p-value: how likely `right` or more of `total` are, if each is right with chance `share`."""
    return min(float(binomtest(right, total, share, alternative="greater").pvalue), 1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for having made several tests (Holm 1979), in the order given.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none may fall below the one before it, none exceeds 1.
    The chance of even one false alarm among them all then stays below the level, whatever the tests' dependence.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected = [1.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - place)))
        corrected[index] = highest
    return corrected
