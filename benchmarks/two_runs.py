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
from actionrec.evaluation.prediction_files import read_predictions
from actionrec.evaluation.predictions import Predictions
from actionrec.evaluation.significance_tests import PairedTest, paired_tests
from actionrec.io.files import read_json
from actionrec.report import table
from actionrec.report.wording import DIFFERENCE_HEADER, difference_cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    arguments = parser.parse_args()
    before, after = (predictions_of(folder) for folder in (arguments.before, arguments.after))
    names = [name for name in before if name in after]
    if not names:
        parser.error(f"no model was trained in both {arguments.before} and {arguments.after}; run `dvc repro` in each")
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
    print(table(["model", "before, top-1 %", "after, top-1 %", *DIFFERENCE_HEADER], rows, "lrr" + "r" * len(DIFFERENCE_HEADER)))


def row(name: str, pair: tuple[NDArray[np.float64], NDArray[np.float64]], test: PairedTest) -> list[str]:
    after, before = pair
    return [name, percent(before.mean()), percent(after.mean()), *difference_cells(test)]


def predictions_of(folder: Path) -> dict[str, Predictions]:
    """Each model's predictions in a project's folder."""
    found = {}
    for file in sorted((folder / paths.PREDICTIONS).glob("*.npz")):
        classes = len(read_json(folder / paths.model_folder(file.stem) / "model.json")["class_names"])
        found[file.stem] = read_predictions(file, classes, "Run `dvc repro` there.")
    return found


if __name__ == "__main__":
    main()
