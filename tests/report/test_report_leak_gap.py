import numpy as np

from actionrec.experiments.leak_gap import gap
from actionrec.report.leak_gap import text


def answered(clips, seeds=1):
    return {f"{clip}.avi": (np.full(seeds, clip % 3 > 0), clip // 2) for clip in clips}


def names(lines):
    return [line.split("|")[1].strip() for line in lines if line.startswith("| ") and "model" not in line and "---" not in line]


def test_the_table_has_a_row_a_model():
    same = answered(range(30), seeds=3)
    printed = text([gap("gru", same, same), gap("lstm", same, same)])
    assert printed.startswith("30 clips from 15 sources, tested under both splits:")
    assert names(printed.replace(":--", "---").splitlines()) == ["gru", "lstm"]
    assert "All test clips" not in printed
    assert "Means over 3 seeds." in printed


def test_all_test_clips_are_shown_beside_the_common_ones_if_they_are_others():
    printed = text([gap("gru", answered(range(30)), answered(range(20, 50)))])
    assert printed.startswith("10 clips from 5 sources, tested under both splits:")
    assert "All test clips, 30 under the random split and 30 under the group split." in printed
    assert names(printed.replace(":--", "---").splitlines()) == ["gru", "gru"]


def test_without_common_clips_the_text_names_the_option_that_gives_them():
    printed = text([gap("gru", answered(range(10)), answered(range(10, 20)))])
    assert "Use --folds all" in printed
