"""An exported model whose backbone computes in 8 bits, and what that costs and gains.

The backbone has 99 % of the arithmetic. Its weights get a scale a channel, what flows between its layers a scale a tensor, taken
from training clips (static quantisation). The head stays in fp32: its share is too small to gain from.
"""

import statistics
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime import quantization  # type: ignore[import-untyped]
from onnxruntime.quantization import shape_inference  # type: ignore[import-untyped]

from actionrec.core import paths
from actionrec.core.errors import DataError
from actionrec.evaluation import metrics
from actionrec.export import onnx_export, onnx_graph
from actionrec.export.onnx_graph import FRAMES, Pieces

QUANTISED = ("Conv", "Gemm", "MatMul", "Add", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool")
"""Kinds of nodes: convolutions and products, and what stands between them. Norms and softmax stay in fp32."""


@dataclass(frozen=True)
class QuantisationReport:
    """An 8-bit model beside the one in fp32, on n labelled clips, both by onnxruntime."""

    calibrated: int
    """Training clips that the scales were taken from."""
    clips: int
    top1: float
    """In fp32, a share from 0 to 1."""
    top1_int8: float
    same: int
    """Clips with the same most probable class."""
    difference: float
    """The largest absolute difference of a probability."""
    seconds: float
    """A clip in fp32, from frames on; the median, one clip at a time, both models in turns."""
    seconds_int8: float


class _Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Clips in the form in which the quantiser wants them, and how many there were."""

    def __init__(self, clips: Iterable[NDArray[np.uint8]]) -> None:
        self._clips, self.count = iter(clips), 0

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        clip = next(self._clips, None)
        if clip is None:
            return None
        self.count += 1
        return {FRAMES: onnx_export.as_frames(clip)}


def quantise(pieces: Pieces, clips: Iterable[NDArray[np.uint8]]) -> tuple[onnx.ModelProto, int]:
    """Make the whole model with an 8-bit backbone; the same clips give the same model.

    Args:
        clips: frames (T, H, W, 3) of training clips, whose ranges become the scales.

    Returns:
        The graph, and how many clips there were.

    Raises:
        DataError: there were none.
    """
    some = iter(clips)
    if (first := next(some, None)) is None:
        raise _none("calibrate")
    shown = _Calibration(chain([first], some))
    with tempfile.TemporaryDirectory() as name:
        plain, prepared, made = (Path(name) / file for file in ("plain.onnx", "prepared.onnx", "int8.onnx"))
        onnx.save(pieces.frames_graph, plain)
        # The shapes of a network of pictures need no solver of symbols.
        shape_inference.quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            made,
            shown,
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            per_channel=True,
            # Weights in 7 bits: without VNNI, sums of two products overflow 16 bits on x86, and the file may go there.
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )
        return onnx_graph.joined(onnx.load(made), pieces.features_graph), shown.count


def measure(int8: Path, whole: Path, clips: Iterable[tuple[NDArray[np.uint8], int]], calibrated: int) -> QuantisationReport:
    """Run an 8-bit model and the one in fp32 on labelled clips, in turns.

    Args:
        clips: frames (T, H, W, 3), and the place of the true class.
        calibrated: see QuantisationReport.

    Raises:
        DataError: there were none.
    """
    models = [onnx_export.session(path) for path in (whole, int8)]
    seconds: list[list[float]] = [[], []]
    answers: list[list[NDArray[np.float32]]] = [[], []]
    labels: list[int] = []
    for clip, label in clips:
        frames = onnx_export.as_frames(clip)
        if not labels:
            for model in models:
                onnx_export.run(model, frames)  # the first run prepares memory, and is not counted
        for model, taken, told in zip(models, seconds, answers, strict=True):
            start = time.perf_counter()
            told.append(onnx_export.run(model, frames)[0])
            taken.append(time.perf_counter() - start)
        labels.append(label)
    if not labels:
        raise _none("measure")
    found = onnx_export.compare(answers[1], answers[0])
    top1, top1_int8 = (metrics.top_k(np.stack(told), np.array(labels), 1) for told in answers)
    plain, fast = (statistics.median(taken) for taken in seconds)
    return QuantisationReport(calibrated, found.clips, top1, top1_int8, found.same, found.difference, plain, fast)


def _none(what: str) -> DataError:
    return DataError(
        f"there is no clip to {what} on: {paths.FRAMES} has lost the files with their frames. "
        "Run `dvc repro extract_frames` to make them again."
    )
