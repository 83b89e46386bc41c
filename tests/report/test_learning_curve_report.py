import json
import re
from dataclasses import replace

import pytest

from actionrec.evaluation.intervals import Interval
from actionrec.evaluation.significance_tests import PairedTest
from actionrec.experiments.learning_curve import PARTS, Curve, CurvePoint
from actionrec.report.learning_curve import POINTS_HEADER, answer, as_json, point_rows, text


def gain(difference, low, high, p):
    return PairedTest(difference, Interval(low, high), p, 0.1)


def curve(test=None, seeds=(0,)):
    points = tuple(
        CurvePoint(part, 10 * place, 5 * place, 0.5 + place / 10, tuple(0.5 + place / 10 for _ in seeds), Interval(0.4, 0.95))
        for place, part in enumerate(PARTS, start=1)
    )
    return Curve("gru", seeds, 120, 40, 0.25, points, test or gain(0.05, 0.01, 0.09, 0.02))


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        (
            gain(0.05, 0.01, 0.09, 0.02),
            "**More clips would probably help**: the last quarter of the training sources changed top-1 by +5.0 points (95 % "
            "interval +1.0 to +9.0).",
        ),
        (
            gain(0.005, -0.01, 0.019, 0.4),
            "**More clips like these would hardly help**: the last quarter of the training sources changed top-1 by +0.5 points "
            "(95 % interval -1.0 to +1.9), less than the 2.0 points of `compare.margin`.",
        ),
        (
            gain(-0.05, -0.09, -0.01, 0.02),
            "**More clips like these would hardly help**: the last quarter of the training sources changed top-1 by -5.0 points "
            "(95 % interval -9.0 to -1.0), less than the 2.0 points of `compare.margin`.",
        ),
        (
            gain(0.03, -0.02, 0.08, 0.3),
            "**Whether more clips would help is not shown**: the last quarter of the training sources changed top-1 by +3.0 points "
            "(95 % interval -2.0 to +8.0). More test sources would narrow the interval.",
        ),
    ],
)
def test_the_answer_is_one_sentence_with_the_gain_and_its_interval(test, expected):
    assert answer(curve(test), 0.02) == expected


def test_the_report_has_the_answer_the_protocol_and_a_row_per_subset():
    written = text(curve(), "mine, group split, fold 0 of 5", 0.02)
    assert written.startswith("# Learning curve of gru\n\n**More clips would probably help**: ")
    assert "Protocol: mine, group split, fold 0 of 5." in written
    for place, part in enumerate(PARTS, start=1):
        assert re.search(rf"\| {part} +\| +{10 * place} \| +{5 * place} \| +{50 + 10 * place}\.0 \| +40\.0–95\.0 \|", written)
    assert "120 test clips from 40 sources, the same in every row; one training run each." in written


def test_with_several_seeds_their_range_is_shown():
    one = curve(seeds=(0, 1))
    points = (replace(one.points[0], by_seed=(0.55, 0.65)), *one.points[1:])
    written = text(replace(one, points=points), "", 0.02)
    assert re.search(r"\| 1/4 .*\| +55\.0–65\.0 \|", written)
    assert "mean of 2 training runs each" in written


def test_the_spreadsheet_has_a_row_per_subset_and_seed():
    rows = [dict(zip(POINTS_HEADER, row, strict=True)) for row in point_rows(curve(seeds=(3, 4)))]
    assert [(row["part"], row["seed"]) for row in rows] == [(part, seed) for part in PARTS for seed in (3, 4)]
    assert (rows[0]["top1_percent"], rows[0]["training_clips"], rows[-1]["training_sources"]) == ("60.00", 10, 20)


def test_json_has_the_answer_and_fractions():
    known = json.loads(as_json(curve(), 0.02))
    assert known["answer"].startswith("More clips would probably help: ")
    assert [point["top1"] for point in known["points"]] == pytest.approx([0.6, 0.7, 0.8, 0.9])
    assert known["gain"]["interval"] == {"low": 0.01, "high": 0.09}
