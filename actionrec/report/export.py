"""Output of `actionrec export`, and the records beside an 8-bit model."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from actionrec.export.onnx_export import TOLERANCE, Check
from actionrec.export.onnx_int8 import QuantisationReport
from actionrec.report import percent, table
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


def text(found: Export) -> str:
    """A heading, the files, and how much `predict` differs from them."""
    rows = [
        [clean(one.path.name), f"{one.bytes / 1e6:.1f}", one.input, f"{one.check.difference:.1e}", _same(one.check)]
        for one in found.written
    ]
    return "\n\n".join(
        [
            f"{clean(found.model)} as ONNX, checked against torch on {found.checked_on} (allowed difference: {TOLERANCE:g})",
            table(["file", "MB", "input", "largest difference", "same top-1"], rows, "lrlrl"),
            f"`predict` computes features in {found.precision} and differs by up to {found.predict.difference:.1e}; "
            f"same top-1 for {_same(found.predict)}.\n",
        ]
    )


def _same(check: Check) -> str:
    return f"{check.same} of {check.clips}"


def as_json(found: Export, cost: QuantisationReport | None) -> str:
    """The same as JSON, with the cost of 8 bits."""
    written = [{**asdict(one), "path": str(one.path)} for one in found.written]
    record = {**asdict(found), "written": written, "int8": cost and asdict(cost)}
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def cost_text(found: QuantisationReport) -> str:
    """Accuracy and speed of the 8-bit model, compared with 32 bits."""
    rows = [
        ["fp32", percent(found.top1), f"{1000 * found.seconds:.0f}"],
        ["int8", percent(found.top1_int8), f"{1000 * found.seconds_int8:.0f}"],
    ]
    return "\n\n".join(
        [
            f"In 8 bits, calibrated on {found.calibrated:,} training clips; on {found.clips:,} test clips:",
            table(["backbone", "top-1 %", "ms per clip"], rows, "lrr"),
            f"Same top-1 for {found.same:,} of {found.clips:,}; probabilities differ by at most {found.difference:.3f}; "
            f"{found.seconds / found.seconds_int8:.2f} times as fast here.\n",
        ]
    )


def accuracy(found: QuantisationReport) -> dict[str, Any]:
    """Results that do not change from run to run."""
    return {
        "calibrated_on": found.calibrated,
        "test_clips": found.clips,
        "top1_fp32": found.top1,
        "top1_int8": found.top1_int8,
        "same_top1": found.same,
        "largest_difference": found.difference,
    }


def timing(found: QuantisationReport, device: str) -> dict[str, Any]:
    """Timings, which change from run to run."""
    return {
        "device": device,
        "test_clips": found.clips,
        "ms_fp32": 1000 * found.seconds,
        "ms_int8": 1000 * found.seconds_int8,
        "times_faster": found.seconds / found.seconds_int8,
    }
