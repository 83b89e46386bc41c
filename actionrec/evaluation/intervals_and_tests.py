"""What the counts of right answers allow to say: intervals, paired tests, and the price of testing many pairs.

Clips that are cut from one source video are right or wrong together, so there is less to learn from n clips than n independent
ones would give. The functions with `cluster` in their names take whole sources as their units: an interval from a bootstrap of
units, and a paired test that exchanges two models on whole units. `wilson`, `mcnemar` and `better_than` take clips as
independent: they are for clips without siblings, and to show what the siblings cost. `holm` corrects whatever p-values it gets.

A unit is one number per cluster, the same for all its clips: `actionrec.data.clips.cluster_ids`. n clips, G units.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # which loads scipy.stats, a second's work, where it is first used
from numpy.typing import NDArray

CONFIDENCE = 0.95  # of every interval
SIGNIFICANCE = 0.05  # a corrected p-value below this is called a difference
RESAMPLES = 9_999  # of units; with the data themselves, 10,000

_TAIL = (1 - CONFIDENCE) / 2
_BATCH = 500  # resamples at a time: 200 MB at 50,000 units
# With fewer units on which two models differ, no way of exchanging them reaches a two-sided p of 0.05: 2 / 2 ** 5 is above it.
_FEWEST_TO_TELL = 6
_LEAST = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Interval:
    """A confidence interval: of a share, from 0 to 1, or of the difference of two shares, from -1 to 1."""

    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """Exact McNemar test of two models on the same clips."""

    only_first: int  # clips that the first model alone gets right
    only_second: int
    p: float  # two-sided


@dataclass(frozen=True)
class ClusterTest:
    """A paired test of two models on the same clips that takes whole units as the independent ones."""

    difference: float  # top-1 of the first less that of the second, over clips
    interval: Interval  # of the difference
    p: float  # two-sided


def wilson(correct: int, total: int) -> Interval:
    """95 % Wilson score interval of a share; it stays within 0 and 1 and works at 0 and at `total` right answers.

    >>> wilson(1300, 1337)
    Interval(low=0.962..., high=0.979...)

    Raises:
        ValueError: `total` is below 1, or `right` is not within 0 and `total`.
    """
    ends = scipy.stats.binomtest(correct, total).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
    # Rounding can leave the ends a hair outside the observed share at 0 and at `total`.
    return Interval(min(float(ends.low), correct / total), max(float(ends.high), correct / total))


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
    p = float(scipy.stats.binomtest(only_first, apart, 0.5).pvalue) if apart else 1.0
    return PairedTest(only_first, only_second, min(p, 1.0))


def cluster_interval(correct: NDArray[np.floating], clusters: NDArray[np.integer], seed: int = 0) -> Interval:
    """95 % interval of accuracy over clips, where clips of one unit may be right or wrong together.

    The wider, at each end, of two intervals, as each alone is too narrow somewhere:

    - a bootstrap that draws G units with replacement and takes their right answers over their clips. Its percentiles are moved
      outwards as Student's t is wider than the normal (Hesterberg 2015, "expanded percentile"), since G units show too little
      of their own spread.
    - Wilson's interval for as many independent clips as have the variance of this share between units (Korn and Graubard 1998,
      with their t), but for no more than there are. Where few units have a wrong answer (or few a right one), what they show of
      that variance is mostly chance; so it is averaged with the variance of units that are wholly right or wrong, which counts
      as one unit against those k: k / (k + 1) of the one, 1 / (k + 1) of the other.

    Where k is 0 (all right, all wrong), or with a single unit, Wilson's interval takes the units as its n: sum(size) ** 2 /
    sum(size ** 2), which is G where all have the same size. All right in 10 units gives 0.72 to 1.

    Coverage found in simulations of 1,000 data sets each (beta-binomial; correlation within units 0.3 and 0.6; accuracies 0.5,
    0.8, 0.9, 0.97; units of 4 to 7 clips, and of 1 to 15), from the lowest to the highest of these 16 settings, in percent:

    units                                       10        25        50       250
    this interval                           97-100    95-100    95-100     93-97
    the bootstrap's plain percentiles       81-100     84-95     82-95     92-96
    the bootstrap's BCa                     86-100     88-98     86-96     92-97
    Wilson's, at that variance              91-98      89-97     86-96     93-97

    On clips without siblings it is Wilson's interval or a little wider.

    Args:
        right: (n,) 1 where the model is right and 0 where it is wrong, or its mean over several seeds.
        units: (n,) the unit of each clip.

    Raises:
        ValueError: no clips, different lengths, or shares outside 0 to 1.
    """
    sums, sizes = _totals(correct, clusters)
    clips, count = float(sizes.sum()), len(sizes)
    share = float(sums.sum()) / clips
    informative = int(min((sums > 0).sum(), (sums < sizes).sum()))
    independent_units = clips**2 / float(np.square(sizes).sum())
    if informative == 0 or count == 1:
        return _score_interval(share, independent_units, float(scipy.stats.norm.isf(_TAIL)))

    between = count / (count - 1) * float(np.square(sums - share * sizes).sum()) / clips**2
    cost = max(between / (share * (1 - share)), 1 / clips)  # of a share's variance, in terms of one clip's
    weight = informative / (informative + 1)
    quantile = float(scipy.stats.t.isf(_TAIL, count - 1))
    score = _score_interval(share, 1 / (weight * cost + (1 - weight) / independent_units), quantile)
    tail = float(scipy.stats.norm.sf(quantile * np.sqrt(count / (count - 1))))
    ends = scipy.stats.bootstrap(
        (sums, sizes),
        lambda drawn, of, axis: drawn.sum(axis=axis) / of.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=_BATCH,
        confidence_level=1 - 2 * tail,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(max(0.0, min(float(ends.low), score.low)), min(1.0, max(float(ends.high), score.high)))


def cluster_difference(
    first: NDArray[np.floating], second: NDArray[np.floating], clusters: NDArray[np.integer], seed: int = 0
) -> ClusterTest:
    """Test whether two models are right equally often, where clips of one unit may be right or wrong together.

    Under "equally often", the two models' answers on a whole unit may be exchanged, which turns the sign of the unit's total of
    (first - second). p is twice the smaller of the two one-sided shares of the exchanges after which the sum of all totals is
    as high, or as low, as it was found. Where no more than 13 units have a total other than 0, all exchanges are gone through,
    and p is exact: McNemar's, if every unit is a single clip. Otherwise 9,999 are drawn, among which the data count as one more
    (1 is added above and below), so that p is never 0.

    The interval holds the differences that the same exchanges do not reject: percentiles of the difference over random halves
    of the units (Hartigan 1969). So it leaves out 0 just where p is at most 0.05. With fewer than 6 units on which the models
    differ no p that low is possible, and those units say too little of the others; the interval is then widened to hold the one
    that follows from `cluster_interval`s of the two kinds of disagreement (Zou and Donner 2008).

    Found in simulations of 1,000 to 1,500 data sets each, units of 4 to 7 or 1 to 15 clips, in percent. Differences found at
    the level 0.05 where there are none (two models of accuracy 0.6, 0.9 or 0.97), the most:

    units                                         6     10     15     25     50    250
    this test                                   1.1    3.1    3.7    4.1    4.7    5.5
    a bootstrap of units, centred on 0           14     11      8      7      6      6
    this test, the worst models found           1.5     16     21     14     11    6.4
    that bootstrap, the same models              35     35     27     17     12      7

    The worst models are right equally often, but one fails on whole units and the other on scattered clips, so that they must
    NOT be exchanged. With 5 units or fewer no difference can be shown. The interval covers the true difference (0, 2, 4 or 10
    points) in 93 to 100 %; with the worst models, where the test does not err.

    Args:
        first: (n,) 1 where the first model is right and 0 where it is wrong, or its mean over several seeds.
        second: (n,) the same clips in the same order.
        units: (n,) the unit of each clip.

    Returns:
        With no difference anywhere, p is 1 and the interval is as wide as so many units without one allow.

    Raises:
        ValueError: no clips, different lengths, or shares outside 0 to 1.
    """
    (firsts, sizes), (seconds, _) = _totals(first, clusters), _totals(second, clusters)
    totals = firsts - seconds
    clips = float(sizes.sum())
    difference = float(totals.sum()) / clips
    closest = 1e-9 * clips  # sums of means over seeds come to 0 but for rounding
    apart = np.abs(totals) > closest
    differing = int(apart.sum())
    if differing:
        (sums, halves), sampled = _halves(totals, sizes, apart, seed)
        count = len(sums) + sampled
        p = min(1.0, 2 * float(min((sums <= closest).sum(), (sums >= -closest).sum()) + sampled) / count)
        ratios = np.sort(sums[halves > 0] / halves[halves > 0])
        # An end is the outermost difference that more than 2.5 % of the halves lie beyond; empty halves lie beyond every one.
        place = int(_TAIL * count) - int((halves == 0).sum()) - sampled
        interval = Interval(-1.0, 1.0) if place < 0 else Interval(float(ratios[place]), float(ratios[-1 - place]))
    else:
        p, interval = 1.0, Interval(difference, difference)
    if differing < _FEWEST_TO_TELL or interval.high - interval.low < 1e-9:
        gain, loss = np.maximum(first.astype(float) - second, 0), np.maximum(second.astype(float) - first, 0)
        won, lost = cluster_interval(gain, clusters, seed), cluster_interval(loss, clusters, seed)
        below = np.hypot(gain.mean() - won.low, lost.high - loss.mean())
        above = np.hypot(won.high - gain.mean(), loss.mean() - lost.low)
        low, high = max(-1.0, difference - float(below)), min(1.0, difference + float(above))
        if p <= SIGNIFICANCE:  # units that are all alike: what the test has ruled out stays out
            low, high = (max(low, _LEAST), high) if difference > 0 else (low, min(high, -_LEAST))
        interval = Interval(min(interval.low, low), max(interval.high, high))
    return ClusterTest(difference, interval, p)


def _totals(correct: NDArray[np.floating], clusters: NDArray[np.integer]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Right answers and clips of each unit: (G,), (G,)."""
    if correct.shape != clusters.shape or correct.ndim != 1 or not len(correct):
        raise ValueError(f"wanted one share and one unit for each of at least one clip; got {correct.shape} and {clusters.shape}")
    if not ((correct >= 0) & (correct <= 1)).all():
        raise ValueError(f"shares of right answers must be from 0 to 1; got {correct.min()} to {correct.max()}")
    place = np.unique(clusters, return_inverse=True)[1]
    sums, sizes = np.bincount(place, weights=correct), np.bincount(place)
    return sums.astype(np.float64), sizes.astype(np.float64)


def _score_interval(share: float, size: float, quantile: float) -> Interval:
    """Wilson's interval for a share of `size` independent clips, which need not be whole."""
    squared = quantile**2 / size
    middle = (share + squared / 2) / (1 + squared)
    half = np.sqrt(squared) * np.sqrt(share * (1 - share) + squared / 4) / (1 + squared)
    return Interval(max(0.0, min(middle - float(half), share)), min(1.0, max(middle + float(half), share)))


def _halves(
    totals: NDArray[np.float64], sizes: NDArray[np.float64], apart: NDArray[np.bool_], seed: int
) -> tuple[NDArray[np.float64], int]:
    """Sums of `totals` and of `sizes` over sets in which each unit is with chance 1/2.

    Exchanging the models on such a set takes twice its total off the sum of all totals: the sum is then at least as high as it
    was just where the set's total is at most 0. Where few units are `apart`, all their sets are gone through, as the others'
    totals are 0; the others are in a set by chance, or in every way as well where all units are few.

    Returns:
        (2, sets), and 1 where the sets are a sample (in which the data themselves count as one more), 0 where they are all.
    """
    count, pairs = len(totals), np.stack([totals, sizes], axis=1)
    listed = np.arange(count) if 2**count <= RESAMPLES + 1 else np.flatnonzero(apart)
    rng = np.random.default_rng(seed)
    if 2 ** len(listed) > RESAMPLES + 1:
        batches = [min(_BATCH, RESAMPLES - start) for start in range(0, RESAMPLES, _BATCH)]
        return np.concatenate([rng.integers(0, 2, (batch, count), dtype=np.int8) @ pairs for batch in batches]).T, 1
    every = ((np.arange(2 ** len(listed))[:, None] >> np.arange(len(listed))) & 1).astype(np.int8)
    rounds = 1 if len(listed) == count else -(-(RESAMPLES + 1) // len(every))
    sums = []
    for _ in range(rounds):
        sets = rng.integers(0, 2, (len(every), count), dtype=np.int8)
        sets[:, listed] = every
        sums.append(sets @ pairs)
    return np.concatenate(sums).T, 0


def better_than(correct: int, total: int, share: float) -> float:
    """One-sided exact binomial p-value: how likely `right` or more of `total` are, if each is right with chance `share`."""
    return min(float(scipy.stats.binomtest(correct, total, share, alternative="greater").pvalue), 1.0)


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
