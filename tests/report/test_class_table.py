"""Tables with a row per class, and the files that have all classes of those that are cut."""

from types import SimpleNamespace

import numpy as np
import pytest

from actionrec.evaluation.intervals import Interval
from actionrec.report import evaluation, table
from actionrec.report.class_table import MOST_CLASSES, class_table

HEADER = ["class", "clips"]


def rows(classes):
    return [[f"class {place:03}", str(place)] for place in range(classes)]


@pytest.mark.parametrize("classes", [0, 1, MOST_CLASSES])
def test_a_table_of_some_classes_is_whole(classes):
    assert class_table(HEADER, rows(classes), "lr", "All are in a.csv.") == table(HEADER, rows(classes), "lr")


@pytest.mark.parametrize(("classes", "left_out"), [(MOST_CLASSES + 1, "21"), (700, "660"), (1240, "1,200")])
def test_a_longer_table_has_both_ends_and_says_where_all_classes_are(classes, left_out):
    body, note = class_table(HEADER, rows(classes), "lr", "All are in a.csv.").split("\n\n")
    lines = body.splitlines()
    assert len({len(line) for line in lines}) == 1
    names = [line.split("|")[1].strip() for line in lines[2:]]
    assert names == [*(f"class {n:03}" for n in range(20)), "…", *(f"class {n:03}" for n in range(classes - 20, classes))]
    assert note == f"The first 20 and the last 20 of {classes:,} classes; {left_out} are left out. All are in a.csv."


def test_evaluate_cuts_its_table_and_prints_all_classes_as_csv():
    found = SimpleNamespace(
        model="gru",
        clips=["a"] * 700,
        failed={},
        interval=Interval(0.1, 0.2),
        calibrated=None,
        threshold=0.0,
        summary=lambda: dict.fromkeys(("sources", "top1", "top5", "mean_class", "loss", "ece"), 0.15),
        per_class=lambda: [(f"class {place:03}", 1, place / 699) for place in np.arange(700)],
    )
    text = evaluation.text(found, "test clips")
    assert "class 019" in text
    assert "class 020" not in text
    assert text.endswith("660 are left out. `--csv` prints all of them.\n")
    complete = evaluation.class_rows(found)
    assert len(complete) == 700
    assert (complete[0], complete[-1]) == (["class 000", 1, "0.0000"], ["class 699", 1, "1.0000"])
    assert len(complete[0]) == len(evaluation.CLASSES_HEADER)
