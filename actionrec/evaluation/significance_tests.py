"""Significance tests of models on the same clips: a joint test of several differences, McNemar's test, and a binomial test.

`paired_tests` is the test behind every verdict. It swaps two models on whole clusters, because clips cut from one source video tend
to be correct or wrong together, and corrects for the number of comparisons in a table. `mcnemar` and `better_than` treat clips as
independent; McNemar's is shown for information only.

A cluster is a number, the same for all its clips: `actionrec.data.clips.cluster_ids`. n clips, G clusters, m comparisons.

`python -m benchmarks.coverage` prints how often the test is wrong, how often it finds a difference, and how often its intervals
hold the true one; docs/protocols.md has the tables. Its known weakness: it swaps two models, which assumes that equally accurate
models fail in the same way. If one fails on whole clusters and the other on single clips, it is wrong too often (`--table worst`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # loads scipy.stats, which takes a second, on first use
from numpy.typing import NDArray

from actionrec.evaluation.intervals import RESAMPLES, Interval, batches, cluster_interval, totals_by_cluster

SIGNIFICANCE = 0.05  # a corrected p-value below this is reported as a difference

# With fewer clusters on which two models differ, the two-sided p cannot reach 0.05: 2 / 2 ** 5 is above it.
FEWEST_DIFFERING = 6
_SMALLEST = 1e-9  # an end of an interval that excludes 0
_POWER_QUANTILE = 0.84  # of the normal distribution, for 80 % power

Correct = NDArray[np.floating]
"""(n,) 1 if the answer for a clip is correct and 0 if not; or (S, n), for each of S training runs with different seeds."""


@dataclass(frozen=True)
class McNemar:
    """Exact McNemar test of two models on the same clips."""

    only_first: int  # clips that only the first model answers correctly
    only_second: int
    p: float  # two-sided


@dataclass(frozen=True)
class PairedTest:
    """Test of one of several differences in top-1."""

    difference: float
    """Top-1 of the first minus that of the second, over clips."""
    interval: Interval
    """Of the difference. Simultaneous: all intervals of a table hold their true differences with 95 % confidence."""
    p: float
    """Two-sided, corrected for all comparisons of the table. Below 0.05 exactly if the interval excludes 0."""
    detectable: float
    """The smallest difference that the test finds with 80 % power, if models differ on clusters as these two do. At least 0."""

    @property
    def is_real(self) -> bool:
        """Whether the test finds a difference."""
        return self.p < SIGNIFICANCE

    @property
    def verdict(self) -> str:
        return "not shown" if not self.is_real else "better" if self.difference > 0 else "worse"


def paired_tests(pairs: Sequence[tuple[Correct, Correct]], clusters: NDArray[np.integer], seed: int = 0) -> list[PairedTest]:
    """Test several pairs of models on the same clips, jointly: step-down max-T (Westfall and Young 1993).

    Under the null hypothesis, the two models of a pair may be swapped on a whole cluster, which changes the sign of the cluster's
    total of (first - second). Signs are drawn once per cluster and applied to all pairs, so their dependence is kept. The
    statistic of a pair is the absolute sum of its totals, divided by their root sum of squares. The corrected p of a pair is the
    share of draws in which the largest statistic among this pair and those with a smaller observed statistic is as large as the
    observed one. Up to 13 clusters all signs are enumerated. Otherwise 9,999 are drawn, and the data count as one more, so p is
    never 0.

    With several training runs, each draw also resamples the runs, so a verdict is about training by these settings, not about the
    runs that happened to be made.

    Intervals are made of random halves of the clusters (Hartigan 1969), at the level that gives the largest statistic of the table
    a chance of 5 %. If two models differ on fewer than 6 clusters, those say too little about the others; see `_from_few`.

    Args:
        pairs: the two models of each comparison.
        clusters: (n,) the cluster of each clip.

    Raises:
        ValueError: no clips, different lengths, or shares outside 0 to 1.
    """
    if not pairs:
        return []
    sides = [(np.atleast_2d(first), np.atleast_2d(second)) for first, second in pairs]
    by_cluster = [[totals_by_cluster(side.mean(axis=0), clusters) for side in pair] for pair in sides]
    sizes = by_cluster[0][0][1]
    totals = np.stack([first[0] - second[0] for first, second in by_cluster], axis=1)  # (G, m)
    clips = float(sizes.sum())
    totals[np.abs(totals) < 1e-9 * clips] = 0  # means over runs are 0 except for rounding
    runs = np.stack([first.sum(axis=1) - second.sum(axis=1) for first, second in sides], axis=1)  # (S, m)
    sums, sampled = _random_sums(np.column_stack([totals, sizes]), runs, seed)  # (draws, m + 1)
    draws = len(sums) + sampled

    scale = np.sqrt(np.square(totals).sum(axis=0))
    scale[scale == 0] = np.inf  # no difference on any cluster: the statistic is 0
    observed = np.abs(totals.sum(axis=0)) / scale
    drawn = np.abs(sums[:, :-1]) / scale
    p = _step_down(observed, drawn, sampled)
    critical = np.sort(np.append(drawn.max(axis=1), [np.inf] * sampled))[::-1][int(SIGNIFICANCE * draws)]
    levels = ((drawn > critical + 1e-9).sum(axis=0) + sampled) / draws

    tests = []
    for column, (first, second) in enumerate(sides):
        difference = float(totals[:, column].sum()) / clips
        # Swapping a set of clusters changes the sum by twice the set's total, so a draw's set has these sums:
        half_totals, half_sizes = (sums[:, column] + totals[:, column].sum()) / 2, (sums[:, -1] + clips) / 2
        interval = _from_halves(half_totals, half_sizes, levels[column] / 2, sampled)
        differing = (totals[:, column] != 0).sum()
        if differing < FEWEST_DIFFERING or interval.high - interval.low < 1e-9:
            interval = _from_few(first, second, clusters, SIGNIFICANCE / len(pairs), seed)
        spread = 0.0 if np.isinf(scale[column]) else float(scale[column]) / clips
        tests.append(
            PairedTest(
                difference,
                _agreeing(interval, difference, p[column]),
                p[column],
                (float(critical) + _POWER_QUANTILE) * spread if np.isfinite(critical) else 1.0,
            )
        )
    return tests


def _random_sums(columns: NDArray[np.float64], runs: NDArray[np.float64], seed: int) -> tuple[NDArray[np.float64], int]:
    """Sums of columns (G, m + 1) with a random sign for each row, and with training runs drawn with replacement.

    Args:
        runs: (S, m) each run's sum of each difference. The drawn runs' deviation from the mean is added to the sums.

    Returns:
        (draws, m + 1), and 1 if the draws are a sample (in which the data themselves count as one more), 0 if they are complete.
    """
    count, run_count = len(columns), len(runs)
    if run_count == 1 and 2**count <= RESAMPLES + 1:
        signs = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        return signs @ columns, 0
    rng = np.random.default_rng(seed)
    signs_of = ((1 - 2 * rng.integers(0, 2, (batch, count), dtype=np.int8)) for batch in batches(RESAMPLES, count))
    sums = np.concatenate([signs @ columns for signs in signs_of])
    if run_count > 1:
        # Without the factor, the variance of S runs would be too small by (S - 1) / S.
        deviations = (runs - runs.mean(axis=0)) * np.sqrt(run_count / (run_count - 1))
        sums[:, :-1] += deviations[rng.integers(0, run_count, (RESAMPLES, run_count))].mean(axis=1)
    return sums, 1


def _step_down(observed: NDArray[np.float64], drawn: NDArray[np.float64], sampled: int) -> list[float]:
    """Corrected p-values: (m,) observed statistics against (draws, m) drawn ones."""
    corrected, highest = [1.0] * len(observed), 0.0
    order = np.argsort(-observed, kind="stable")
    for place, column in enumerate(order):
        largest = drawn[:, order[place:]].max(axis=1)
        share = float((largest >= observed[column] - 1e-9).sum() + sampled) / (len(drawn) + sampled)
        highest = max(highest, share)
        corrected[column] = highest
    return corrected


def _from_halves(totals: NDArray[np.float64], sizes: NDArray[np.float64], tail: float, sampled: int) -> Interval:
    """The interval between the outermost differences that more than a share `tail` of the halves exceed.

    Args:
        totals: (draws,) of the differences over each random half of the clusters.
        sizes: (draws,) clips in each half; empty halves exceed every difference.
    """
    ratios = np.sort(totals[sizes > 0] / sizes[sizes > 0])
    place = int(tail * (len(totals) + sampled)) - int((sizes <= 0).sum()) - sampled
    return Interval(-1.0, 1.0) if place < 0 else Interval(float(ratios[place]), float(ratios[-1 - place]))


def _from_few(first: Correct, second: Correct, clusters: NDArray[np.integer], level: float, seed: int) -> Interval:
    """The interval that follows from the `cluster_interval`s of both disagreements (Zou and Donner 2008)."""
    change = first - second
    gain, loss = np.maximum(change, 0), np.maximum(-change, 0)
    won, lost = (cluster_interval(one, clusters, seed, level) for one in (gain, loss))
    difference = float(gain.mean() - loss.mean())
    below = np.hypot(gain.mean() - won.low, lost.high - loss.mean())
    above = np.hypot(won.high - gain.mean(), loss.mean() - lost.low)
    return Interval(max(-1.0, difference - float(below)), min(1.0, difference + float(above)))


def _agreeing(interval: Interval, difference: float, p: float) -> Interval:
    """The interval, changed as little as needed to exclude 0 exactly if p is below 0.05.

    Step-down p-values can be below 0.05 where the interval, which takes a single step, just includes 0.
    """
    low, high = min(interval.low, difference), max(interval.high, difference)
    if p >= SIGNIFICANCE:
        return Interval(min(low, 0.0), max(high, 0.0))
    return Interval(max(low, _SMALLEST), high) if difference > 0 else Interval(low, min(high, -_SMALLEST))


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemar:
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
    return McNemar(only_first, only_second, min(p, 1.0))


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
