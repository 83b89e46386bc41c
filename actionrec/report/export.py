"""Output of `actionrec export`, and the records beside an 8-bit model."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from actionrec.core.text import percent
from actionrec.export.onnx_export import TOLERANCE, Check
from actionrec.export.onnx_int8 import QuantisationReport
from actionrec.report import table
from actionrec.report.wording import clean


@dataclass(frozen=True)
class Written:
    """An exported file, and how its outputs compare with torch's."""

    path: Path
    input: str
    """Name, shape and type."""
    bytes: int
    sha256: str
    check: Check


@dataclass(frozen=True)
class Export:
    """All files of one export."""

    model: str
    checked_on: str
    written: Sequence[Written]
    predict: Check
    """The exported graph in torch, compared with `predict`, whose features have the bundle's precision."""
    precision: str
    """Of the bundle's features."""


def text(export: Export) -> str:
    """A heading, the files, and how much `predict` differs from them."""
    rows = [
        [clean(one.path.name), f"{one.bytes / 1e6:.1f}", one.input, f"{one.check.difference:.1e}", _same(one.check)]
        for one in export.written
    ]
    return "\n\n".join(
        [
            f"{clean(export.model)} as ONNX, checked against torch on {export.checked_on} (allowed difference: {TOLERANCE:g})",
            table(["file", "MB", "input", "largest difference", "same top-1"], rows, "lrlrl"),
            f"`predict` computes features in {export.precision} and differs by up to {export.predict.difference:.1e}; "
            f"same top-1 for {_same(export.predict)}.\n",
        ]
    )


def _same(check: Check) -> str:
    return f"{check.same} of {check.clips}"


def as_json(export: Export, cost: QuantisationReport | None) -> str:
    """The same as JSON, with the cost of 8 bits."""
    written = [{**asdict(one), "path": str(one.path)} for one in export.written]
    record = {**asdict(export), "written": written, "int8": cost and asdict(cost)}
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def cost_text(report: QuantisationReport) -> str:
    """Accuracy and speed of the 8-bit model, compared with 32 bits."""
    rows = [
        ["fp32", percent(report.top1), f"{1000 * report.seconds:.0f}"],
        ["int8", percent(report.top1_int8), f"{1000 * report.seconds_int8:.0f}"],
    ]
    return "\n\n".join(
        [
            f"In 8 bits, calibrated on {report.calibrated:,} training clips; on {report.clips:,} test clips:",
            table(["backbone", "top-1 %", "ms per clip"], rows, "lrr"),
            f"Same top-1 for {report.same:,} of {report.clips:,}; probabilities differ by at most {report.difference:.3f}; "
            f"{report.seconds / report.seconds_int8:.2f} times as fast here.\n",
        ]
    )


def accuracy(report: QuantisationReport) -> dict[str, Any]:
    """Results that do not change from run to run."""
    return {
        "calibrated_on": report.calibrated,
        "test_clips": report.clips,
        "top1_fp32": report.top1,
        "top1_int8": report.top1_int8,
        "same_top1": report.same,
        "largest_difference": report.difference,
    }


def timing(report: QuantisationReport, device: str) -> dict[str, Any]:
    """Timings, which change from run to run."""
    return {
        "device": device,
        "test_clips": report.clips,
        "ms_fp32": 1000 * report.seconds,
        "ms_int8": 1000 * report.seconds_int8,
        "times_faster": report.seconds / report.seconds_int8,
    }
