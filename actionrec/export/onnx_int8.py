"""Int8 quantisation of an exported model's backbone, and the effect on accuracy and speed.

The backbone does 99 % of the arithmetic. Its weights get a scale per channel and its activations a scale per tensor, taken from
training clips (static quantisation). The head stays in fp32, because its share is too small to matter.
"""

import statistics
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime import quantization  # type: ignore[import-untyped]
from onnxruntime.quantization import shape_inference  # type: ignore[import-untyped]

from actionrec.evaluation import metrics
from actionrec.export import onnx_export, onnx_graph
from actionrec.export.onnx_graph import FRAMES, Pieces

QUANTISED = ("Conv", "Gemm", "MatMul", "Add", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool")
"""Types of quantised nodes: convolutions, matrix products, and the operations between them. Norms and softmax stay in fp32."""


@dataclass(frozen=True)
class QuantisationReport:
    """Comparison of an 8-bit model with the fp32 model on n labelled clips, both in onnxruntime."""

    calibrated: int
    """Number of training clips that the scales were taken from."""
    clips: int
    top1: float
    """Of the fp32 model, from 0 to 1."""
    top1_int8: float
    same: int
    """Clips with the same most probable class."""
    difference: float
    """The largest absolute difference of a probability."""
    seconds: float
    """Median time of one clip in fp32, from frames to probabilities; the two models run alternately."""
    seconds_int8: float


class _CalibrationClips(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Clips in the quantiser's format, with a count."""

    def __init__(self, clips: Iterable[NDArray[np.uint8]]) -> None:
        self._clips, self.count = iter(clips), 0

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        clip = next(self._clips, None)
        if clip is None:
            return None
        self.count += 1
        return {FRAMES: onnx_export.as_frames(clip)}


def quantise(pieces: Pieces, clips: Iterable[NDArray[np.uint8]]) -> tuple[onnx.ModelProto, int]:
    """Build the whole model with an 8-bit backbone; the same clips give the same model.

    Args:
        clips: frames (T, H, W, 3) of training clips, whose ranges determine the scales.

    Returns:
        The graph, and the number of clips.
    """
    calibration_clips = _CalibrationClips(clips)
    with tempfile.TemporaryDirectory() as name:
        plain, prepared, quantised = (Path(name) / file for file in ("plain.onnx", "prepared.onnx", "int8.onnx"))
        onnx.save(pieces.frames_graph, plain)
        # All shapes of an image network are known, so symbolic inference is not needed.
        shape_inference.quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            quantised,
            calibration_clips,
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            per_channel=True,
            # Weights in 7 bits, because on x86 processors without VNNI the sum of two products overflows 16 bits.
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )
        return onnx_graph.joined(onnx.load(quantised), pieces.features_graph), calibration_clips.count


def measure(int8: Path, whole: Path, clips: Iterable[tuple[NDArray[np.uint8], int]], calibrated: int) -> QuantisationReport:
    """Run an 8-bit model and the fp32 model on labelled clips, alternately.

    Args:
        clips: frames (T, H, W, 3), and the index of the true class.
        calibrated: see QuantisationReport.
    """
    models = [onnx_export.session(path) for path in (whole, int8)]
    seconds: list[list[float]] = [[], []]
    answers: list[list[NDArray[np.float32]]] = [[], []]
    labels: list[int] = []
    for clip, label in clips:
        frames = onnx_export.as_frames(clip)
        if not labels:
            for model in models:
                onnx_export.run(model, frames)  # warm-up, which allocates memory
        for model, model_seconds, model_answers in zip(models, seconds, answers, strict=True):
            start = time.perf_counter()
            model_answers.append(onnx_export.run(model, frames)[0])
            model_seconds.append(time.perf_counter() - start)
        labels.append(label)
    check = onnx_export.compare(answers[1], answers[0])
    top1, top1_int8 = (metrics.top_k(np.stack(one), np.array(labels), 1) for one in answers)
    plain, fast = (statistics.median(one) for one in seconds)
    return QuantisationReport(calibrated, check.clips, top1, top1_int8, check.same, check.difference, plain, fast)
