"""Simulated comparisons of models: whether an interval holds the truth, a test is right, and what the advice costs.

Each function simulates one data set and returns a list of values, mostly 1 or 0; their means over many data sets are the tables of
`benchmarks.coverage`. Clips are in clusters (source videos). A model's accuracy varies between clusters (beta-binomial), so clips
of one cluster are correct or wrong together. n clips, S training runs.
"""

from collections.abc import Sequence
from functools import cache
from itertools import combinations

import numpy as np
import scipy
from numpy.typing import NDArray

from actionrec.evaluation import significance_tests
from actionrec.evaluation.advice import advise
from actionrec.evaluation.intervals import Interval, bootstrap_shares, cluster_interval, totals_by_cluster
from actionrec.evaluation.leaderboard import LeaderboardRow, Pair, majority_level
from actionrec.evaluation.significance_tests import SIGNIFICANCE, better_than, holm, paired_tests

SIZES = {"4-7": (4, 8), "1-15": (1, 16), "1": (1, 2)}
"""Name -> the fewest clips of a cluster, and the most plus 1."""
CORRELATION = 0.3
"""Of two clips of one cluster, where a table does not vary it."""
OF_CLIP = 0.3
"""Share of the variance that a clip has in all training runs, where there are several."""
MARGIN = 0.02

Bools = NDArray[np.float64]
"""1 where an answer is correct, else 0."""


def sources(count: int, sizes: str, random: np.random.Generator) -> NDArray[np.int64]:
    """(n,) the cluster of each clip."""
    return np.repeat(np.arange(count), random.integers(*SIZES[sizes], count))


def answers(accuracy: float, clusters: NDArray[np.int64], correlation: float, random: np.random.Generator) -> Bools:
    """(n,) whether a model with this accuracy is correct; `correlation` between two clips of one cluster."""
    count = int(clusters.max()) + 1
    if correlation:
        size = 1 / correlation - 1
        shares = random.beta(accuracy * size, (1 - accuracy) * size, count)
    else:
        shares = np.full(count, accuracy)
    return (random.random(len(clusters)) < shares[clusters]).astype(np.float64)


def answers_of_runs(accuracy: float, clusters: NDArray[np.int64], runs: int, of_run: float, random: np.random.Generator) -> Bools:
    """(S, n) whether each training run of one recipe is correct; their expected accuracy is `accuracy`.

    An answer is correct if a normal variable is below a threshold. A part of its variance is the cluster's, a part the clip's, a
    part the run's, and the rest is independent.

    Args:
        of_run: the run's part.
    """
    shape, count = (runs, len(clusters)), int(clusters.max()) + 1
    of_source, of_clip, rest = CORRELATION, OF_CLIP, 1 - CORRELATION - OF_CLIP - of_run
    score = np.sqrt(of_source) * random.normal(size=count)[clusters] + np.sqrt(of_clip) * random.normal(size=shape[1])
    score = score + np.sqrt(of_run) * random.normal(size=(runs, 1)) + np.sqrt(rest) * random.normal(size=shape)
    return (score < scipy.stats.norm.ppf(accuracy)).astype(np.float64)


def holds(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


def accuracy_covered(accuracy: float, count: int, sizes: str, correlation: float, random: np.random.Generator) -> list[float]:
    """Whether intervals of an accuracy hold it: ours, the bootstrap's percentiles, and Wilson's at the clusters' variance."""
    clusters = sources(count, sizes, random)
    correct = answers(accuracy, clusters, correlation, random)
    sums, sizes_of = totals_by_cluster(correct, clusters)
    low, high = np.quantile(bootstrap_shares(sums, sizes_of, np.random.default_rng(0)), [0.025, 0.975])
    share, clips = float(correct.mean()), len(correct)
    between = count / (count - 1) * float(np.square(sums - share * sizes_of).sum()) / clips**2
    independent = min(share * (1 - share) / between, clips) if between else clips
    others = Interval(low, high), _wilson(share, independent)
    return [holds(one, accuracy) for one in (cluster_interval(correct, clusters), *others)]


def _wilson(share: float, size: float) -> Interval:
    squared = float(scipy.stats.norm.ppf(0.975)) ** 2 / size
    middle, half = (share + squared / 2) / (1 + squared), np.sqrt(squared * (share * (1 - share) + squared / 4)) / (1 + squared)
    return Interval(middle - float(half), middle + float(half))


def persons_covered(accuracy: float, count: int, classes: int, correlation: float, random: np.random.Generator) -> list[float]:
    """Whether intervals hold an accuracy if each person has clips in all classes: over persons, and over class and person."""
    cells = np.repeat(np.arange(count * classes), random.integers(1, 4, count * classes))  # person and class of each clip
    persons = cells // classes
    correct = answers(accuracy, persons, correlation, random)
    return [holds(cluster_interval(correct, persons), accuracy), holds(cluster_interval(correct, cells), accuracy)]


def runs_covered(accuracy: float, count: int, runs: int, of_run: float, random: np.random.Generator) -> list[float]:
    """Whether intervals of a recipe's accuracy hold it: over clusters and runs, and over clusters alone."""
    clusters = sources(count, "4-7", random)
    correct = answers_of_runs(accuracy, clusters, runs, of_run, random)
    both, alone = cluster_interval(correct, clusters), cluster_interval(correct.mean(axis=0), clusters)
    return [holds(both, accuracy), holds(alone, accuracy)]


def equal_recipes(accuracy: float, count: int, runs: int, of_run: float, random: np.random.Generator) -> list[float]:
    """Whether any of the 21 differences between seven equal recipes is found: over clusters and runs, and over clusters alone."""
    clusters = sources(count, "4-7", random)
    correct = [answers_of_runs(accuracy, clusters, runs, of_run, random) for _ in range(7)]
    pairs = list(combinations(correct, 2))
    both = paired_tests(pairs, clusters)
    alone = paired_tests([(first.mean(axis=0), second.mean(axis=0)) for first, second in pairs], clusters)
    return [any(test.is_real for test in tests) for tests in (both, alone)]


def compared(
    accuracies: Sequence[float],
    pairs: Sequence[tuple[int, int]],
    count: int,
    sizes: str,
    correlation: float,
    random: np.random.Generator,
) -> list[float]:
    """One table of comparisons.

    Returns:
        Whether all intervals hold their true differences. Then, of the joint test and of McNemar's with Holm's correction: whether
        any difference between equal models is found, and the share of the true differences that are found. NaN without such pairs.
    """
    clusters = sources(count, sizes, random)
    correct = [answers(accuracy, clusters, correlation, random) for accuracy in accuracies]
    tests = paired_tests([(correct[a], correct[b]) for a, b in pairs], clusters)
    truths = [accuracies[a] - accuracies[b] for a, b in pairs]
    differ = np.array([truth != 0 for truth in truths])
    held = all(holds(test.interval, truth) for test, truth in zip(tests, truths, strict=True))
    p = [_mcnemar(int((correct[a] > correct[b]).sum()), int((correct[b] > correct[a]).sum())) for a, b in pairs]
    values: list[float] = [held]
    for found in (np.array([test.is_real for test in tests]), np.array(holm(p)) < SIGNIFICANCE):
        values += [np.nan if differ.all() else found[~differ].any(), found[differ].mean() if differ.any() else np.nan]
    return values


@cache
def _mcnemar(only_first: int, only_second: int) -> float:
    """The p of `significance_tests.mcnemar`, by its counts."""
    differing = only_first + only_second
    return significance_tests.mcnemar(np.arange(differing) < only_first, np.arange(differing) >= only_first).p


def clumped(accuracy: float, count: int, random: np.random.Generator) -> list[float]:
    """Whether equal models are found to differ in the worst case: one fails on whole clusters, the other on single clips."""
    clusters = np.repeat(np.arange(count), 10)
    whole = (random.random(count) < accuracy)[clusters].astype(np.float64)
    scattered = answers(accuracy, clusters, 0, random)
    return [paired_tests([(whole, scattered)], clusters)[0].is_real]


def guessing(classes: int, count: int, random: np.random.Generator) -> list[float]:
    """Whether models that guess are called better than the majority class.

    All clips of a cluster are of one class and get one answer, as if a model recognised only the source.

    Returns:
        The share of seven models, and whether any of them after Holm's correction: by the binomial test; if the interval also lies
        above the majority class.
    """
    clusters = sources(count, "4-7", random)
    labels = (np.arange(count) % classes)[clusters]
    share = float(np.bincount(labels).max() / len(labels))
    p, above, level = [], [], majority_level(7)
    for _ in range(7):
        correct = (random.integers(0, classes, count)[clusters] == labels).astype(np.float64)
        p.append(_better(int(correct.sum()), len(labels), share))
        above.append(p[-1] < SIGNIFICANCE and cluster_interval(correct, clusters, level=level).low > share)
    single, corrected, both = np.array(p) < SIGNIFICANCE, np.array(holm(p)) < SIGNIFICANCE, np.array(above)
    return [single.mean(), corrected.any(), (single & both).mean(), (corrected & both).any()]


_better = cache(better_than)


def points_lost(accuracies: Sequence[float], count: int, sizes: str, random: np.random.Generator) -> list[float]:
    """Accuracy lost against the best: by the cheapest model not shown to be worse than the first; by `advise`; by the first.

    Validation clips like the test clips break ties of rank.

    Args:
        accuracies: the true ones, from the cheapest model to the most expensive.
    """
    correlation = CORRELATION if sizes != "1" else 0.0
    clusters, validation = sources(count, sizes, random), sources(count, sizes, random)
    correct = [answers(accuracy, clusters, correlation, random) for accuracy in accuracies]
    val_top1 = [answers(accuracy, validation, correlation, random).mean() for accuracy in accuracies]
    order = sorted(range(len(accuracies)), key=lambda model: (-correct[model].mean(), -val_top1[model], model))
    rows = [_row(str(model), rank, float(correct[model].mean()), 2**model) for rank, model in enumerate(order, start=1)]
    names = list(combinations(order, 2))
    tests = paired_tests([(correct[a], correct[b]) for a, b in names], clusters)
    pairs = [Pair(str(a), str(b), test, 0, 0, 1.0) for (a, b), test in zip(names, tests, strict=True)]
    tied = min([order[0], *(int(pair.b) for pair in pairs if pair.a == str(order[0]) and not pair.apart)])
    advised = int(advise(rows, pairs, MARGIN, count).deploy)
    return [max(accuracies) - accuracies[model] for model in (tied, advised, order[0])]


def _row(name: str, rank: int, top1: float, flops: int) -> LeaderboardRow:
    """A row of which `advise` uses these values; the model has learned."""
    whole = Interval(1.0, 1.0)
    return LeaderboardRow(
        name=name,
        rank=rank,
        order_blind=False,
        top1=top1,
        std=None,
        fold_top1=(),
        interval=whole,
        wilson=whole,
        top5=1.0,
        top5_interval=whole,
        mean_class=top1,
        macro_f1=top1,
        val_top1=None,
        val_loss=None,
        parameters=1,
        flops=flops,
        total_params=1,
        total_flops=flops,
        best_epoch=1,
        epochs=1,
        majority_accuracy=0.0,
        p_majority=0.0,
        majority_low=1.0,
    )
