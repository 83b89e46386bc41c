"""A learning curve for people and spreadsheets: whether more clips would help, the table, and how to read it."""

import json
from collections.abc import Iterator
from dataclasses import asdict

from actionrec.core.text import percent
from actionrec.experiments.learning_curve import Curve
from actionrec.report import escape_markdown, table
from actionrec.report.wording import clean, points, span

REPORT = "report.md"
POINTS = "curve.csv"
PLOT = "curve.png"
POINTS_HEADER = ("model", "part", "training_clips", "training_sources", "seed", "top1_percent")


def text(curve: Curve, phrase: str, margin: float) -> str:
    """The answer, the table and notes.

    Args:
        phrase: the protocol in one line.
        margin: `compare.margin`, below which a gain does not matter.
    """
    several = len(curve.seeds) > 1
    rows = [
        [
            point.part,
            f"{point.clips:,}",
            f"{point.sources:,}",
            percent(point.top1),
            span(point.interval),
            *([f"{percent(min(point.by_seed))}–{percent(max(point.by_seed))}"] if several else []),
        ]
        for point in curve.points
    ]
    header = ["training sources", "clips", "sources", "top-1 %", "95 % interval", *(["over the seeds"] if several else [])]
    runs = f"mean of {len(curve.seeds)} training runs" if several else "one training run"
    note = (
        f"{curve.test_clips:,} test clips from {curve.test_sources:,} sources, the same in every row; {runs} each. A source is one "
        "video or person. Each row has the sources of the row above and more. Every training takes the same number of steps. "
        "Intervals are for other test clips; another choice of training sources would change the curve as well. Curves usually "
        "flatten, so as many sources again should not be expected to add more than the last quarter did."
    )
    protocol = f"Protocol: {escape_markdown(phrase)}."
    body = table(header, rows, "lrrrr" + "r" * several)
    return f"# Learning curve of {clean(curve.model)}\n\n{answer(curve, margin)}\n\n{protocol}\n\n{body}\n\n{note}\n"


def answer(curve: Curve, margin: float) -> str:
    """Whether more clips would help."""
    gain = curve.gain
    low, high = points(gain.interval.low), points(gain.interval.high)
    change = f"the last quarter of the training sources changed top-1 by {points(gain.difference)} points"
    if gain.is_real and gain.difference > 0:
        return f"**More clips would probably help**: {change} (95 % interval {low} to {high})."
    if gain.interval.high < margin:
        return (
            f"**More clips like these would hardly help**: {change} (95 % interval {low} to {high}), less than the "
            f"{points(margin)[1:]} points of `compare.margin`."
        )
    return (
        f"**Whether more clips would help is not shown**: {change} (95 % interval {low} to {high}). More test sources would narrow "
        "the interval."
    )


def point_rows(curve: Curve) -> Iterator[list[str | int]]:
    """Rows under POINTS_HEADER, one per subset and seed."""
    for point in curve.points:
        for seed, top1 in zip(curve.seeds, point.by_seed, strict=True):
            yield [curve.model, point.part, point.clips, point.sources, seed, f"{100 * top1:.2f}"]


def as_json(curve: Curve, margin: float) -> str:
    """The curve and the answer as JSON, with accuracies as fractions."""
    document = {"answer": answer(curve, margin).replace("**", ""), **asdict(curve)}
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
