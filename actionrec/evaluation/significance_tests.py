"""Significance tests of models on the same clips: McNemar's, a paired test of clusters, and Holm's correction.

`cluster_difference` exchanges two models on whole clusters, because clips cut from one source video tend to be correct or wrong
together. `mcnemar` and `better_than` treat clips as independent. `holm` corrects any p-values.

A cluster is a number, the same for all its clips: `actionrec.data.clips.cluster_ids`. n clips, G clusters.

Simulations of `cluster_difference`, 1,000 to 1,500 data sets each, clusters of 4 to 7 or 1 to 15 clips: differences found at the
level 0.05 between models that are equally accurate (0.6, 0.9 or 0.97), the highest of these cases, in percent:

clusters                                      6     10     15     25     50    250
this test                                   1.1    3.1    3.7    4.1    4.7    5.5
a bootstrap of clusters, centred on 0        14     11      8      7      6      6
this test, the worst models found           1.5     16     21     14     11    6.4
that bootstrap, the same models              35     35     27     17     12      7

The worst models are equally accurate, but one fails on whole clusters and the other on scattered clips, so exchanging them is not
justified. With 5 clusters or fewer no difference can be shown. The interval covers the true difference (0, 2, 4 or 10 points) in
93 to 100 %; with the worst models, as often as the test is correct.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # loads scipy.stats, which takes a second, on first use
from numpy.typing import NDArray

from actionrec.evaluation.intervals import BATCH, RESAMPLES, TAIL, Interval, cluster_interval, totals_by_cluster

SIGNIFICANCE = 0.05  # a corrected p-value below this is reported as a difference

# With fewer clusters on which two models differ, the two-sided p cannot reach 0.05: 2 / 2 ** 5 is above it.
_FEWEST_DIFFERING = 6
_SMALLEST = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class PairedTest:
    """Exact McNemar test of two models on the same clips."""

    only_first: int  # clips that only the first model answers correctly
    only_second: int
    p: float  # two-sided


@dataclass(frozen=True)
class ClusterTest:
    """Paired test of two models on the same clips, with whole clusters as the independent units."""

    difference: float  # top-1 of the first minus that of the second, over clips
    interval: Interval  # of the difference
    p: float  # two-sided


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> PairedTest:
    """Test whether two models are correct equally often, from the clips on which exactly one of them is correct.

    Under the null hypothesis, each such clip is a fair coin toss; the exact binomial test needs no minimum of clips.

    Args:
        first: (n,) whether the first model is correct, clip by clip.
        second: (n,) the same clips in the same order.

    Raises:
        ValueError: the two have different lengths.
    """
    if first.shape != second.shape:
        raise ValueError(f"a paired test needs the same clips: {first.shape} against {second.shape}")
    only_first = int((first & ~second).sum())
    only_second = int((second & ~first).sum())
    differing = only_first + only_second
    p = float(scipy.stats.binomtest(only_first, differing, 0.5).pvalue) if differing else 1.0
    return PairedTest(only_first, only_second, min(p, 1.0))


def cluster_difference(
    first: NDArray[np.floating], second: NDArray[np.floating], clusters: NDArray[np.integer], seed: int = 0
) -> ClusterTest:
    """Test whether two models are correct equally often on clips in clusters.

    Under the null hypothesis, the two models' answers on a whole cluster may be exchanged, which turns the sign of the cluster's
    total of (first - second). p is twice the smaller of the two one-sided shares of exchanges after which the sum of all totals
    is as high, or as low, as observed. If at most 13 clusters have a total other than 0, all exchanges are enumerated and p is
    exact (McNemar's, if every cluster is one clip). Otherwise 9,999 are drawn, and the data count as one more, so p is never 0.

    The interval holds the differences that the same exchanges do not reject: percentiles of the difference over random halves
    of the clusters (Hartigan 1969). So it excludes 0 exactly when p is at most 0.05. If the models differ on fewer than 6
    clusters, p cannot be that low and those clusters say too little about the others; see `_widened`.

    Args:
        first: (n,) 1 if the first model is correct and 0 if it is wrong, or the mean over several seeds.
        second: (n,) the same clips in the same order.
        clusters: (n,) the cluster of each clip.

    Returns:
        Without any difference p is 1, and the interval is as wide as the number of clusters allows.

    Raises:
        ValueError: no clips, different lengths, or shares outside 0 to 1.
    """
    (firsts, sizes), (seconds, _) = totals_by_cluster(first, clusters), totals_by_cluster(second, clusters)
    totals = firsts - seconds
    clips = float(sizes.sum())
    difference = float(totals.sum()) / clips
    tolerance = 1e-9 * clips  # sums of means over seeds are 0 except for rounding
    differs = np.abs(totals) > tolerance
    differing = int(differs.sum())
    if differing:
        (sums, halves), sampled = _halves(totals, sizes, differs, seed)
        count = len(sums) + sampled
        p = min(1.0, 2 * float(min((sums <= tolerance).sum(), (sums >= -tolerance).sum()) + sampled) / count)
        ratios = np.sort(sums[halves > 0] / halves[halves > 0])
        # An end is the outermost difference that more than 2.5 % of the halves exceed; empty halves exceed every difference.
        place = int(TAIL * count) - int((halves == 0).sum()) - sampled
        interval = Interval(-1.0, 1.0) if place < 0 else Interval(float(ratios[place]), float(ratios[-1 - place]))
    else:
        p, interval = 1.0, Interval(difference, difference)
    if differing < _FEWEST_DIFFERING or interval.high - interval.low < 1e-9:
        gain, loss = np.maximum(first.astype(float) - second, 0), np.maximum(second.astype(float) - first, 0)
        interval = _widened(interval, difference, p, (gain, loss), clusters, seed)
    return ClusterTest(difference, interval, p)


def _widened(
    interval: Interval,
    difference: float,
    p: float,
    disagreements: tuple[NDArray[np.floating], NDArray[np.floating]],
    clusters: NDArray[np.integer],
    seed: int,
) -> Interval:
    """Widen an interval to hold the one that follows from `cluster_interval`s of both disagreements (Zou and Donner 2008).

    Args:
        disagreements: (n,) and (n,), by how much the first model is better on a clip, and the second.
    """
    gain, loss = disagreements
    won, lost = cluster_interval(gain, clusters, seed), cluster_interval(loss, clusters, seed)
    below = np.hypot(gain.mean() - won.low, lost.high - loss.mean())
    above = np.hypot(won.high - gain.mean(), loss.mean() - lost.low)
    low, high = max(-1.0, difference - float(below)), min(1.0, difference + float(above))
    if p <= SIGNIFICANCE:  # clusters that are all alike: 0, which the test rejects, stays outside
        low, high = (max(low, _SMALLEST), high) if difference > 0 else (low, min(high, -_SMALLEST))
    return Interval(min(interval.low, low), max(interval.high, high))


def _halves(
    totals: NDArray[np.float64], sizes: NDArray[np.float64], differs: NDArray[np.bool_], seed: int
) -> tuple[NDArray[np.float64], int]:
    """Sums of `totals` and of `sizes` over random sets that contain each cluster with probability 1/2.

    Exchanging the models on such a set reduces the sum of all totals by twice the set's total, so the sum is at least as high as
    observed exactly when the set's total is at most 0. If few clusters differ, all their sets are enumerated, because the other
    totals are 0; the other clusters are in a set by chance, or are enumerated as well if there are few clusters in all.

    Returns:
        (2, sets), and 1 if the sets are a sample (in which the data themselves count as one more), 0 if they are complete.
    """
    count, pairs = len(totals), np.stack([totals, sizes], axis=1)
    listed = np.arange(count) if 2**count <= RESAMPLES + 1 else np.flatnonzero(differs)
    rng = np.random.default_rng(seed)
    if 2 ** len(listed) > RESAMPLES + 1:
        batches = [min(BATCH, RESAMPLES - start) for start in range(0, RESAMPLES, BATCH)]
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
    """One-sided exact binomial p-value: the chance of `correct` or more of `total`, if each is correct with chance `share`."""
    return min(float(scipy.stats.binomtest(correct, total, share, alternative="greater").pvalue), 1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct the p-values of several tests (Holm 1979); returned in the order given.

    The smallest of m is multiplied by m, the next by m - 1, and so on; each is at least the one before it and at most 1. This
    keeps the chance of any false positive below the level, whatever the dependence between the tests.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected = [1.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - place)))
        corrected[index] = highest
    return corrected
