"""Confidence intervals of accuracies: Wilson's, and an interval for clips in clusters.

Clips cut from one source video (a cluster) tend to be correct or wrong together, so n clips carry less information than n
independent ones. `cluster_interval` treats whole clusters as the independent units. `wilson` treats clips as independent: use it
for clips without siblings, and to show the effect of siblings.

A cluster is a number, the same for all its clips: `actionrec.data.clips.cluster_ids`. n clips, G clusters, S training runs.

`python -m benchmarks.coverage --table accuracy` (also `persons`, `seeds`) prints how often the intervals hold the true accuracy;
docs/protocols.md has the tables.
"""

from dataclasses import dataclass

import numpy as np
import scipy  # loads scipy.stats, which takes a second, on first use
from numpy.typing import NDArray

CONFIDENCE = 0.95  # of every interval
RESAMPLES = 9_999  # of clusters; with the data themselves, 10,000
LEVEL = 1 - CONFIDENCE
BATCH = 500  # resamples at a time: 200 MB for 50,000 clusters, and fewer at a time for more clusters
MOST_DRAWN_ONE_BY_ONE = 10_000  # clusters
_MOST_NUMBERS = 50_000 * BATCH


@dataclass(frozen=True)
class Interval:
    """A confidence interval: of a share, from 0 to 1, or of the difference of two shares, from -1 to 1."""

    low: float
    high: float


def wilson(correct: int, total: int) -> Interval:
    """95 % Wilson score interval of a share; within 0 and 1, also for 0 or `total` correct answers.

    >>> wilson(1300, 1337)
    Interval(low=0.962..., high=0.979...)

    Raises:
        ValueError: `total` is below 1, or `correct` is not within 0 and `total`.
    """
    ends = scipy.stats.binomtest(correct, total).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
    # Rounding can leave the ends slightly outside the observed share at 0 and at `total`.
    return Interval(min(float(ends.low), correct / total), max(float(ends.high), correct / total))


def cluster_interval(correct: NDArray[np.floating], clusters: NDArray[np.integer], seed: int = 0, level: float = LEVEL) -> Interval:
    """Interval of accuracy over clips in clusters; 95 % unless `level` says otherwise.

    At each end the wider of two intervals, because each alone is too narrow in some cases:

    - A bootstrap that draws G clusters with replacement and divides their correct answers by their clips. Its percentiles are
      widened as Student's t is wider than the normal (Hesterberg 2015, "expanded percentile"), because G clusters underestimate
      their own spread.
    - Wilson's interval for as many independent clips as give the share's variance between clusters (Korn and Graubard 1998, with
      their t), but at most n. If only k clusters have a wrong answer (or only k a correct one) and k is small, that variance is
      mostly chance; so it is averaged with the variance of clusters that are entirely correct or wrong, with the weights
      k / (k + 1) and 1 / (k + 1).

    If k is 0 (all correct or all wrong), or there is a single cluster, Wilson's interval with n = sum(size) ** 2 / sum(size ** 2),
    which is G for clusters of equal size. All correct in 10 clusters gives 0.72 to 1. Without siblings the result is Wilson's
    interval or slightly wider.

    With several training runs, the interval is about training by these settings, not about the runs that happened to be made. So
    it includes their variance: each bootstrap draw resamples the runs as well, and Wilson's interval adds the variance of their
    mean. The degrees of freedom of t are those of the summed variance (Satterthwaite 1946).

    Args:
        correct: (n,) 1 if the model is correct and 0 if it is wrong; or (S, n), for each of S training runs with different seeds.
        clusters: (n,) the cluster of each clip.
        level: the chance that the interval misses the accuracy.

    Raises:
        ValueError: no clips, different lengths, or shares outside 0 to 1.
    """
    runs = np.atleast_2d(correct)
    sums, sizes = totals_by_cluster(runs.mean(axis=0), clusters)
    clips, count = float(sizes.sum()), len(sizes)
    share = float(sums.sum()) / clips
    informative = int(min((sums > 0).sum(), (sums < sizes).sum()))
    independent = clips**2 / float(np.square(sizes).sum())
    if informative == 0 or count == 1:
        return _score_interval(share, independent, float(scipy.stats.norm.isf(level / 2)))

    between = count / (count - 1) * float(np.square(sums - share * sizes).sum()) / clips**2
    deviations = _run_deviations(runs)
    of_runs = float(np.square(deviations).mean()) / len(runs)
    freedom = count - 1.0 if not of_runs else (between + of_runs) ** 2 / (between**2 / (count - 1) + of_runs**2 / (len(runs) - 1))
    variance = max(between / (share * (1 - share)), 1 / clips)  # of the share, relative to the variance of one clip
    weight = informative / (informative + 1)
    quantile = float(scipy.stats.t.isf(level / 2, freedom))
    relative = weight * variance + (1 - weight) / independent + of_runs / (share * (1 - share))
    score = _score_interval(share, 1 / relative, quantile)
    tail = float(scipy.stats.norm.sf(quantile * np.sqrt(count / (count - 1))))
    low, high = _bootstrap_ends(sums, sizes, deviations, tail, seed)
    return Interval(max(0.0, min(low, score.low)), min(1.0, max(high, score.high)))


def _run_deviations(runs: NDArray[np.floating]) -> NDArray[np.float64]:
    """(S,) accuracy of each run minus the mean; scaled so that their mean square is the runs' variance, not (S - 1) / S of it."""
    if len(runs) == 1:
        return np.zeros(1)
    accuracies = runs.mean(axis=1)
    return (accuracies - accuracies.mean()) * np.sqrt(len(runs) / (len(runs) - 1))


def _bootstrap_ends(
    sums: NDArray[np.float64], sizes: NDArray[np.float64], deviations: NDArray[np.float64], tail: float, seed: int
) -> tuple[float, float]:
    """Quantiles `tail` and 1 - `tail` of the accuracy over clusters drawn with replacement, and over runs if there are several."""
    rng = np.random.default_rng(seed)
    shares = bootstrap_shares(sums, sizes, rng)
    if len(deviations) > 1:
        shares += rng.choice(deviations, (len(shares), len(deviations))).mean(axis=1)
    outside = (1 - (1 - 2 * tail)) / 2  # rounded as scipy.stats.bootstrap rounds it
    low, high = scipy.stats.quantile(shares, np.array([outside, 1 - outside]))
    return float(low), float(high)


def bootstrap_shares(sums: NDArray[np.float64], sizes: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """(RESAMPLES,) accuracy over G clusters drawn with replacement; the same draws as of `scipy.stats.bootstrap`.

    More than MOST_DRAWN_ONE_BY_ONE clusters are drawn by kind, which is far faster: clusters of the same size with as many correct
    answers are alike, so a resample is the number of times that each kind is drawn. The distribution is the same.
    """
    if len(sums) > MOST_DRAWN_ONE_BY_ONE:
        return _shares_by_kind(sums, sizes, rng)
    shares = []
    for batch in batches(RESAMPLES, len(sums)):
        drawn = rng.integers(0, len(sums), (batch, len(sums)))
        shares.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    return np.concatenate(shares)


def batches(resamples: int, columns: int) -> list[int]:
    """How many of the resamples to draw at a time, so that memory stays bounded.

    Args:
        columns: numbers that are drawn for one resample.
    """
    batch = max(1, min(BATCH, _MOST_NUMBERS // columns))
    return [min(batch, resamples - start) for start in range(0, resamples, batch)]


def _shares_by_kind(sums: NDArray[np.float64], sizes: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    kinds, counts = np.unique(np.column_stack([sums, sizes]), axis=0, return_counts=True)  # (kinds, 2)
    drawn = [rng.multinomial(len(sums), counts / len(sums), batch) @ kinds for batch in batches(RESAMPLES, len(kinds))]
    totals = np.concatenate(drawn)
    shares: NDArray[np.float64] = totals[:, 0] / totals[:, 1]
    return shares


def totals_by_cluster(
    correct: NDArray[np.floating], clusters: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Correct answers and clips of each cluster: (G,), (G,).

    Raises:
        ValueError: no clips, different lengths, or shares outside 0 to 1.
    """
    if correct.shape != clusters.shape or correct.ndim != 1 or not len(correct):
        raise ValueError(f"expected a share and a cluster for each of at least one clip; got {correct.shape} and {clusters.shape}")
    if not ((correct >= 0) & (correct <= 1)).all():
        raise ValueError(f"shares of correct answers must be from 0 to 1; got {correct.min()} to {correct.max()}")
    place = np.unique(clusters, return_inverse=True)[1]
    sums, sizes = np.bincount(place, weights=correct), np.bincount(place)
    return sums.astype(np.float64), sizes.astype(np.float64)


def _score_interval(share: float, size: float, quantile: float) -> Interval:
    """Wilson's interval for a share of `size` independent clips, which may be a fraction."""
    squared = quantile**2 / size
    middle = (share + squared / 2) / (1 + squared)
    half = np.sqrt(squared) * np.sqrt(share * (1 - share) + squared / 4) / (1 + squared)
    return Interval(max(0.0, min(middle - float(half), share)), min(1.0, max(middle + float(half), share)))
