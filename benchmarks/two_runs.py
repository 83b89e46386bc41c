"""Top-1 of the same models in two runs on the same test clips, such as with other features: gain, 95 % interval and p.

    python -m benchmarks.two_runs BEFORE AFTER

Both are folders of projects after `dvc repro`. The joint paired test of docs/protocols.md, over all models
at once; the mean of all models is tested by itself.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actionrec.core import paths
from actionrec.core.text import percent
from actionrec.evaluation.predictions import Predictions, read_predictions
from actionrec.evaluation.significance_tests import PairedTest, paired_tests
from actionrec.io.files import read_json
from actionrec.report import p_value, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    arguments = parser.parse_args()
    before, after = (predictions_of(folder) for folder in (arguments.before, arguments.after))
    names = [name for name in before if name in after]
    for name in names:
        if not np.array_equal(before[name].test.clips, after[name].test.clips):
            parser.error(f"{name}: the runs were tested on different clips; use the same split in both")
    pairs = [(after[name].correct(), before[name].correct()) for name in names]
    clusters = before[names[0]].test.clusters
    tests = dict(zip(names, paired_tests(pairs, clusters), strict=True))
    rows = [row(name, pair, tests[name]) for name, pair in zip(names, pairs, strict=True)]
    rows.sort(key=lambda cells: -float(cells[2]))
    mean = (np.mean([first for first, _ in pairs], axis=0), np.mean([second for _, second in pairs], axis=0))
    rows.append(row("mean of all", mean, paired_tests([mean], clusters)[0]))
    print(table(["model", "before, top-1 %", "after, top-1 %", "gain, points", "95 % interval", "p"], rows, "lrrrrr"))


def row(name: str, pair: tuple[NDArray[np.float64], NDArray[np.float64]], test: PairedTest) -> list[str]:
    after, before = pair
    interval = f"{100 * test.interval.low:+.1f} to {100 * test.interval.high:+.1f}"
    return [name, percent(before.mean()), percent(after.mean()), f"{100 * test.difference:+.1f}", interval, p_value(test.p)]


def predictions_of(folder: Path) -> dict[str, Predictions]:
    """Each model's predictions in a project's folder."""
    classes = len(read_json(next((folder / paths.MODELS).glob("*/model.json")))["class_names"])
    files = sorted((folder / paths.PREDICTIONS).glob("*.npz"))
    return {file.stem: read_predictions(file, classes, "Run `dvc repro` there.") for file in files}


if __name__ == "__main__":
    main()
