"""Simulated coverage, false alarms, power and regret of the comparison's statistics: the tables of docs/protocols.md.

    python -m benchmarks.coverage [--table NAME] [--sets 500] [--processes 2] [--check docs/protocols.md]

Prints Markdown and nothing else; progress goes to stderr. All figures are percentages of simulated data sets, or points. The same
arguments give the same figures for any number of processes, and a table alone the same as among all. Intervals of an accuracy use
999 draws and tests 1,999 instead of 9,999, which changes a figure less than another seed does. `--check` also fails if a table in
a file has other figures. All tables take 18 minutes of processor time.
"""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import combinations, product
from multiprocessing import get_context
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from actionrec.core.process_lifetime import binding_workers
from actionrec.core.progress import progress
from actionrec.evaluation import intervals, significance_tests
from actionrec.report import table as markdown
from benchmarks import simulations
from benchmarks.simulations import CORRELATION, MARGIN

DRAWS_OF_INTERVALS = 999
DRAWS_OF_TESTS = 1_999
CHUNK = 50  # simulated data sets per task
COUNTS = (6, 10, 25, 50)
REGRET_MODELS = {
    "0.80, six 0.95": [0.8] + [0.95] * 6,
    "0.60, 0.80, 0.85, 0.89, 0.91, 0.93, 0.95": [0.6, 0.8, 0.85, 0.89, 0.91, 0.93, 0.95],
}
PAIRS = list(combinations(range(7), 2))

Simulation = Callable[[np.random.Generator], list[float]]


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    labels: tuple[str, ...]
    cases: Sequence[Simulation]
    """Each gives values; the row has their means over simulated data sets."""


@dataclass(frozen=True)
class Table:
    """A table of simulated figures."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[Row]
    cells: Callable[[NDArray[np.float64]], list[str]]
    """From percentages (cases, values) to the cells after the labels."""
    unit: str = "%"


def lowest_to_highest(values: NDArray[np.float64]) -> list[str]:
    return [f"{low:.0f}-{high:.0f}" for low, high in zip(values.min(axis=0), values.max(axis=0), strict=True)]


def one_decimal(values: NDArray[np.float64]) -> list[str]:
    return [f"{value:.1f}" for value in values.flatten()]


def highest(values: NDArray[np.float64]) -> list[str]:
    return [f"{value:.1f}" for value in values.max(axis=0)]


def false_alarms(values: NDArray[np.float64]) -> list[str]:
    """Of `simulations.compared`, with equal models."""
    return [f"{value:.1f}" for value in values[0, [1, 3, 0]]]


def power(values: NDArray[np.float64]) -> list[str]:
    """Of `simulations.compared`, with two designs."""
    return [f"{value:.0f}" for value in values[:, [2, 4]].flatten()]


def accuracy() -> Table:
    cases = list(product((0.5, 0.8, 0.9, 0.97), ("4-7", "1-15"), (0.3, 0.6)))
    return Table(
        "Coverage of the 95 % interval of an accuracy, lowest to highest of 16 cases: accuracies 0.5, 0.8, 0.9, 0.97; sources of "
        "4 to 7 and of 1 to 15 clips; correlation within sources 0.3 and 0.6",
        ("sources", "`cluster_interval`", "bootstrap alone, percentiles", "Wilson's alone, at the sources' variance"),
        [
            Row(
                (str(count),),
                [partial(simulations.accuracy_covered, share, count, sizes, within) for share, sizes, within in cases],
            )
            for count in (*COUNTS, 250)
        ],
        lowest_to_highest,
    )


def persons() -> Table:
    cases = list(product((0.5, 0.8), (2, 5), (0.3, 0.6)))
    return Table(
        "Coverage where each person has 1 to 3 clips in every class, lowest to highest of 8 cases: accuracies 0.5 and 0.8, 2 and 5 "
        "classes, correlation within persons 0.3 and 0.6",
        ("persons", "a person is a source", "a person in a class is a source"),
        [
            Row(
                (str(count),),
                [partial(simulations.persons_covered, share, count, classes, within) for share, classes, within in cases],
            )
            for count in COUNTS
        ],
        lowest_to_highest,
    )


def seeds() -> Table:
    cases = list(product((0.8, 0.9), (0.005, 0.02)))
    return Table(
        "Coverage of the interval of a recipe's accuracy, lowest to highest of 4 cases: accuracies 0.8 and 0.9, runs with a "
        "standard deviation of 2 and 4 points (at 0.8); sources of 4 to 7 clips",
        ("seeds", "sources", "over sources and seeds", "over sources alone"),
        [
            Row((str(runs), str(count)), [partial(simulations.runs_covered, share, count, runs, of_run) for share, of_run in cases])
            for runs, count in product((2, 3, 5), (*COUNTS, 250))
        ],
        lowest_to_highest,
    )


def recipes() -> Table:
    return Table(
        "Seven equal recipes, several seeds, all 21 pairs: any false alarm; training runs differ by about 4 points",
        ("seeds", "sources", "over sources and seeds", "over sources alone"),
        [
            Row((str(runs), str(count)), [partial(simulations.equal_recipes, 0.8, count, runs, 0.02)])
            for runs, count in product((2, 3, 5), (10, 25, 50, 250))
        ],
        one_decimal,
    )


def equal() -> Table:
    return Table(
        "Seven equal models, all 21 pairs; sources of 4 to 7 clips",
        ("sources", "accuracy", "any false alarm", "by McNemar, Holm", "all intervals hold"),
        [
            Row((str(count), str(share)), [partial(simulations.compared, [share] * 7, PAIRS, count, "4-7", CORRELATION)])
            for count, share in product(COUNTS, (0.6, 0.9))
        ],
        false_alarms,
    )


def found() -> Table:
    six, seven, against = [0.95] * 6 + [0.6], [0.96] * 7 + [0.5], [(model, 7) for model in range(7)]
    rows = []
    for count, sizes in ((24, "1"), (8, "4-7"), (24, "4-7"), (50, "4-7")):
        design = (count, sizes, CORRELATION if sizes != "1" else 0.0)
        cases = [partial(simulations.compared, six, PAIRS, *design), partial(simulations.compared, seven, against, *design)]
        rows.append(Row((str(count), sizes), cases))
    return Table(
        "Share of the true differences that are found: six models with 0.95 and one with 0.60, all pairs; seven models with 0.96 "
        "against a baseline with 0.50",
        ("sources", "clips each", "six and one", "by McNemar, Holm", "seven and a baseline", "by McNemar, Holm"),
        rows,
        power,
    )


def worst() -> Table:
    return Table(
        "False alarms in the worst case: two equal models, one fails on whole sources of 10 clips and the other on single clips; "
        "highest of accuracies 0.8, 0.9, 0.95 and 0.97",
        ("sources", "false alarms"),
        [
            Row((str(count),), [partial(simulations.clumped, share, count) for share in (0.8, 0.9, 0.95, 0.97)])
            for count in (*COUNTS, 250)
        ],
        highest,
    )


def majority() -> Table:
    return Table(
        "Models that guess, called better than the majority class: highest of 2, 8 and 50 classes",
        ("sources", "binomial test: a model", "any of seven", "interval as well: a model", "any of seven"),
        [Row((str(count),), [partial(simulations.guessing, classes, count) for classes in (2, 8, 50)]) for count in (10, 50, 250)],
        highest,
    )


def regret() -> Table:
    designs = ((24, "1"), (8, "4-7"), (25, "4-7"), (250, "4-7"))
    return Table(
        "Accuracy that a rule loses against the truly best model; seven models, the cheapest first",
        (
            "true accuracies",
            "sources",
            "clips each",
            "cheapest not shown to be worse",
            f"the advice, margin {MARGIN:.0%}",
            "ranked first",
        ),
        [
            Row((name, str(count), sizes), [partial(simulations.points_lost, shares, count, sizes)])
            for (name, shares), (count, sizes) in product(REGRET_MODELS.items(), designs)
        ],
        one_decimal,
        "points",
    )


TABLES: dict[str, Callable[[], Table]] = {
    make.__name__: make for make in (accuracy, persons, seeds, majority, equal, found, worst, recipes, regret)
}

Chunk = tuple[str, int, int, range]
"""Table, row, case, and numbers of the simulated data sets."""


def chunks(name: str, sets: int) -> Iterator[Chunk]:
    """The tasks of a table, in order."""
    for row, one in enumerate(TABLES[name]().rows):
        for case in range(len(one.cases)):
            for start in range(0, sets, CHUNK):
                yield name, row, case, range(start, min(start + CHUNK, sets))


def simulate(chunk: Chunk) -> list[list[float]]:
    """The values of each simulated data set of a chunk."""
    name, row, case, numbers = chunk
    simulation = TABLES[name]().rows[row].cases[case]
    return [simulation(np.random.default_rng([crc32(name.encode()), row, case, number])) for number in numbers]


def filled(name: str, sets: int, results: Iterator[list[list[float]]]) -> str:
    """A table in Markdown, after a comment that says how to print it.

    Args:
        results: of `chunks`, in order; takes as many as the table needs.
    """
    table, rows = TABLES[name](), []
    for row in table.rows:
        by_case = [[value for _ in range(0, sets, CHUNK) for value in next(results)] for _ in row.cases]
        means = 100 * np.array(by_case, dtype=float).mean(axis=1)  # (cases, values)
        rows.append([*row.labels, *table.cells(means)])
    comment = f"<!-- python -m benchmarks.coverage --table {name} -->"
    return f"{comment}\n**{table.title}** ({table.unit}):\n\n{markdown(table.header, rows, 'r' * len(table.header))}\n"


def use_few_draws() -> None:
    """Resample less: the figures need less than a single result."""
    intervals.RESAMPLES, significance_tests.RESAMPLES = DRAWS_OF_INTERVALS, DRAWS_OF_TESTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=TABLES, action="append", help="only this table; can be repeated")
    parser.add_argument("--sets", type=int, default=500, help="simulated data sets per figure")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--check", type=Path, help="fail if a table differs from the one in this file")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # progress, if stderr is not a terminal
    names = arguments.table or list(TABLES)
    tasks = [chunk for name in names for chunk in chunks(name, arguments.sets)]
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # of the processes below
    pool = ProcessPoolExecutor(arguments.processes, get_context("spawn"), use_few_draws)
    with binding_workers(), pool, progress("Simulating", len(tasks), "task") as advance:
        results = counted(pool.map(simulate, tasks), advance)
        printed = []
        for name in names:
            printed.append(filled(name, arguments.sets, results))
            print(printed[-1], flush=True)
    if arguments.check:
        text = arguments.check.read_text(encoding="utf-8")
        differing = [name for name, table in zip(names, printed, strict=True) if table not in text]
        if differing:
            sys.exit(
                f"{arguments.check}: other figures than these: {', '.join(differing)}. Replace its tables by the printed ones."
            )


def counted(results: Iterable[list[list[float]]], advance: Callable[[int], None]) -> Iterator[list[list[float]]]:
    for result in results:
        advance(1)
        yield result


if __name__ == "__main__":
    main()
