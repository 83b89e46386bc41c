"""Simulated coverage, false alarms, power and regret of the comparison's statistics: the tables of docs/protocols.md.

    python -m benchmarks.coverage [--sets 1000] [--processes 2]

Each simulated data set has clips in clusters (source videos). A model's accuracy varies between clusters (beta-binomial), so clips
of one cluster are correct or wrong together. Resampling uses 1,999 draws instead of 9,999, which changes a rate by 0.2 points at
most. All numbers are percentages.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from actionrec.evaluation import intervals, significance_tests
from actionrec.evaluation.intervals import cluster_interval
from actionrec.evaluation.significance_tests import SIGNIFICANCE, better_than, holm, mcnemar, paired_tests
from actionrec.report import table

DRAWS = 1_999
SIZES = {"4-7": (4, 8), "1-15": (1, 16), "1": (1, 2)}
MARGIN = 0.02


def sources(count: int, sizes: str, random: np.random.Generator) -> NDArray[np.int64]:
    """(n,) the cluster of each clip."""
    return np.repeat(np.arange(count), random.integers(*SIZES[sizes], count))


def answers(accuracy: float, clusters: NDArray[np.int64], correlation: float, random: np.random.Generator) -> NDArray[np.float64]:
    """(n,) whether a model with this accuracy is correct; `correlation` between two clips of one cluster."""
    count = int(clusters.max()) + 1
    if correlation:
        size = 1 / correlation - 1
        shares = random.beta(accuracy * size, (1 - accuracy) * size, count)
    else:
        shares = np.full(count, accuracy)
    return (random.random(len(clusters)) < shares[clusters]).astype(np.float64)


def covered(accuracy: float, count: int, sizes: str, correlation: float, seed: int) -> list[float]:
    """Whether the interval of an accuracy holds it."""
    random = np.random.default_rng(seed)
    clusters = sources(count, sizes, random)
    interval = cluster_interval(answers(accuracy, clusters, correlation, random), clusters)
    return [interval.low <= accuracy <= interval.high]


def compared(
    accuracies: Sequence[float], pairs: Sequence[tuple[int, int]], count: int, sizes: str, correlation: float, seed: int
) -> list[float]:
    """One simulated table of comparisons.

    Returns:
        Whether any difference between equal models is found; the share of true differences found, jointly and by McNemar with Holm;
        and whether all intervals hold their true differences. NaN where there are no such pairs.
    """
    random = np.random.default_rng(seed)
    clusters = sources(count, sizes, random)
    correct = [answers(accuracy, clusters, correlation, random) for accuracy in accuracies]
    tests = paired_tests([(correct[a], correct[b]) for a, b in pairs], clusters)
    single = holm([mcnemar(correct[a] > 0, correct[b] > 0).p for a, b in pairs])
    truths = [accuracies[a] - accuracies[b] for a, b in pairs]
    found = np.array([test.is_real for test in tests])
    differ = np.array([truth != 0 for truth in truths])
    held = all(test.interval.low <= truth <= test.interval.high for test, truth in zip(tests, truths, strict=True))
    power = (found[differ].mean(), (np.array(single)[differ] < SIGNIFICANCE).mean()) if differ.any() else (np.nan, np.nan)
    return [found[~differ].any() if (~differ).any() else np.nan, *power, held]


def clumped(count: int, seed: int) -> list[float]:
    """The worst case: two equally accurate models, one of which fails on whole clusters and the other on scattered clips."""
    random = np.random.default_rng(seed)
    clusters = sources(count, "4-7", random)
    whole = (random.random(count) < 0.9)[clusters].astype(np.float64)
    scattered = answers(0.9, clusters, 0, random)
    return [paired_tests([(whole, scattered)], clusters)[0].is_real]


def guessing(classes: int, count: int, seed: int) -> list[float]:
    """Whether a model that answers whole clusters at random is called better than the majority class: by the binomial test, and by ours."""
    random = np.random.default_rng(seed)
    clusters = sources(count, "4-7", random)
    labels = np.arange(len(clusters)) % classes
    correct = (random.integers(0, classes, count)[clusters] == labels).astype(np.float64)
    correct = np.where(random.random(len(clusters)) < 0.5, correct, correct[random.permutation(len(clusters))])
    share = float(np.bincount(labels).max() / len(labels))
    binomial = better_than(int(correct.sum()), len(correct), share) < SIGNIFICANCE
    return [binomial, binomial and cluster_interval(correct, clusters).low > share]


def regret(accuracies: Sequence[float], count: int, sizes: str, seed: int) -> list[float]:
    """Points below the truly best model: of the cheapest model that is not shown to be worse, and of the advice with a margin.

    Args:
        accuracies: the true ones, from the cheapest model to the dearest.
    """
    random = np.random.default_rng(seed)
    clusters = sources(count, sizes, random)
    correct = [answers(accuracy, clusters, 0.3 if sizes != "1" else 0, random) for accuracy in accuracies]
    first = int(np.argmax([one.mean() for one in correct]))
    others = [other for other in range(len(accuracies)) if other != first]
    pairs = list(combinations(range(len(accuracies)), 2))
    tests = dict(zip(pairs, paired_tests([(correct[a], correct[b]) for a, b in pairs], clusters), strict=True))

    def most(other: int) -> float:
        """Upper end of the loss of `other` against the first."""
        interval = tests[min(first, other), max(first, other)].interval
        return interval.high if first < other else -interval.low

    tied = min([first, *(other for other in others if not tests[min(first, other), max(first, other)].is_real)])
    close = min([first, *(other for other in others if most(other) < MARGIN)])
    best = max(accuracies)
    return [best - accuracies[tied], best - accuracies[close]]


def rates(simulate: Callable[[int], list[float]], sets: int, processes: int) -> list[float]:
    """Mean of each value over simulated data sets, in percent; NaN values are left out."""
    with get_context("fork").Pool(processes) as pool:
        return (100 * np.nanmean(np.array(pool.map(simulate, range(sets), chunksize=25), dtype=float), axis=0)).tolist()


def show(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f"\n{title}\n\n{table(header, rows, 'l' + 'r' * (len(header) - 1))}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=1_000, help="simulated data sets per number")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    sets, processes = arguments.sets, arguments.processes
    intervals.RESAMPLES = significance_tests.RESAMPLES = DRAWS

    counts = (6, 10, 25, 50, 250)
    rows = []
    for count in counts:
        cases = [
            rates(partial(covered, accuracy, count, sizes, correlation), sets, processes)[0]
            for accuracy in (0.5, 0.8, 0.9, 0.97)
            for sizes in ("4-7", "1-15")
            for correlation in (0.3, 0.6)
        ]
        rows.append([str(count), f"{min(cases):.0f}", f"{max(cases):.0f}"])
    show("Coverage of the interval of an accuracy (16 cases each)", ["sources", "lowest", "highest"], rows)

    every_pair = list(combinations(range(7), 2))
    rows = []
    for count in counts[:-1]:
        for accuracy in (0.6, 0.9):
            values = rates(partial(compared, [accuracy] * 7, every_pair, count, "4-7", 0.3), sets, processes)
            rows.append([f"{count}", f"{accuracy}", f"{values[0]:.1f}", f"{values[3]:.1f}"])
    show("Seven equal models, all 21 pairs", ["sources", "accuracy", "any false alarm", "all intervals hold"], rows)

    rows = []
    for count, sizes in ((24, "1"), (24, "4-7"), (8, "4-7"), (50, "4-7")):
        six = rates(partial(compared, [0.95] * 6 + [0.6], every_pair, count, sizes, 0.3 * (sizes != "1")), sets, processes)
        against = [(model, 7) for model in range(7)]
        base = rates(partial(compared, [0.96] * 7 + [0.5], against, count, sizes, 0.3 * (sizes != "1")), sets, processes)
        rows.append([f"{count} of {sizes} clips", *(f"{value:.0f}" for value in (six[1], six[2], base[1], base[2]))])
    header = ["sources", "0.95 x 6 and 0.60", "McNemar, Holm", "0.96 x 7 against a baseline of 0.50", "McNemar, Holm"]
    show("Share of the true differences that are found", header, rows)

    rows = [[str(count), f"{rates(partial(clumped, count), sets, processes)[0]:.1f}"] for count in (10, 15, 25, 50)]
    show("Worst case: equal models, one fails on whole sources", ["sources", "false alarms"], rows)

    rows = []
    for classes in (2, 8, 50):
        for count in (10, 50):
            values = rates(partial(guessing, classes, count), sets, processes)
            rows.append([str(classes), str(count), *(f"{value:.1f}" for value in values)])
    show(
        "Models that guess, called better than the majority class",
        ["classes", "sources", "binomial test", "with the interval"],
        rows,
    )

    models = (0.6, 0.8, 0.85, 0.89, 0.91, 0.93, 0.95)
    rows = []
    for count, sizes in ((24, "1"), (8, "4-7"), (25, "4-7"), (250, "4-7")):
        values = rates(partial(regret, models, count, sizes), sets, processes)
        rows.append([f"{count} of {sizes} clips", *(f"{value:.1f}" for value in values)])
    title = f"Points lost by the advice; true accuracies from the cheapest to the dearest: {', '.join(map(str, models))}"
    show(title, ["sources", "cheapest not shown to be worse", f"within a margin of {MARGIN}"], rows)


if __name__ == "__main__":
    main()
