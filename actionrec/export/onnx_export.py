"""ONNX export of a bundle: from frames or features to probabilities, with metadata on its use; checked against torch.

B clips, T frames a clip, D features a frame, K classes.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray

from actionrec.export.onnx_graph import FEATURES, FRAMES, PROBABILITIES, ExportError, Form, Pieces
from actionrec.features.settings import described_streams
from actionrec.inference.predictor import Predictor
from actionrec.io import machine
from actionrec.io.files import whole_file
from actionrec.video.frame_settings import ONE_FRAME, Fit

FORMAT = "1"
"""Version of metadata, inputs and outputs; increased when a program for the previous version would fail."""

TOLERANCE = 1e-3
"""Allowed difference of a probability between an exported model and torch, both in fp32; rounding causes at most 1e-5."""

_PLACES = "evenly spaced from the clip's first frame to its last, rounded down; repeated where it has fewer"
_SNIPPET_PLACES = (
    "snippets start at evenly spaced frames, rounded down, from the clip's first frame to the last that leaves a whole snippet; "
    "frames of a snippet are (clip's rate / rate) apart, or neighbours without a rate, rounded to the nearest frame, halves down; "
    "the clip's last frame repeats where it is too short"
)
_SQUASHED = "not cropped; bilinear, or by area where the longer side is at least twice the size"
_CROPPED = "{}, then the centre of size x size; bilinear, or by area where a side shrinks to half or less"

Result = TypeVar("Result")


@dataclass(frozen=True)
class Answered:
    """Clips with the features and probabilities that torch computes, in batches of one."""

    frames: Sequence[NDArray[np.uint8]]
    """(1, T, 3, H, W)."""
    features: Sequence[NDArray[np.float32]]
    """(1, T, D)."""
    probabilities: Sequence[NDArray[np.float32]]
    """(K,)."""

    def inputs(self, form: Form) -> Sequence[NDArray[Any]]:
        """The inputs of an exported model."""
        return self.frames if form == "whole" else self.features


@dataclass(frozen=True)
class Check:
    """Comparison of an exported model's answers with torch's for n clips."""

    clips: int
    difference: float
    """The largest absolute difference of a probability."""
    same: int
    """Clips with the same most probable class."""


def answer(pieces: Pieces, clips: Iterable[NDArray[np.uint8]]) -> Answered:
    """Run a bundle in torch on frames (T, H, W, 3)."""
    frames = [as_frames(clip) for clip in clips]
    with torch.inference_mode():
        features = [pieces.backbone(torch.from_numpy(one)) for one in frames]
        probabilities = [pieces.head(one)[0].numpy() for one in features]
    return Answered(frames, [one.numpy() for one in features], probabilities)


def metadata(predictor: Predictor, form: Form, weights_sha256: str, precision: str = "fp32") -> dict[str, str]:
    """The metadata of an exported model: text, or JSON for lists and mappings.

    Args:
        weights_sha256: of the bundle's model.safetensors.
        precision: of the exported backbone's arithmetic.
    """
    features, sampling = predictor.bundle.features, predictor.sampling
    *steps, height, width, colours = sampling.shape
    inputs = {
        "whole": f"{FRAMES} (B, {', '.join(map(str, steps))}, {colours}, {height}, {width}) uint8",
        "head": f"{FEATURES} (B, {sampling.count}, {predictor.bundle.architecture.feature_dim}) float32",
    }
    values: dict[str, Any] = {
        "format": f"actionrec {FORMAT}",
        "form": form,
        "input": inputs[form],
        "output": f"{PROBABILITIES} (B, {len(predictor.class_names)}) float32",
        "model": predictor.bundle.architecture.model,
        "model_sha256": weights_sha256,
        "class_names": list(predictor.class_names),
        "temperature": predictor.temperature,  # already in the graph
        "calibration": predictor.bundle.calibration_note,
        "threshold": predictor.threshold,
        "threshold_meaning": "an answer is unsure below this top probability; 0: no threshold",
        "window_seconds": predictor.default_window,
        "precision": precision,
        "backbone": features["backbone"],
        "backbone_weights": features["weights"],
        "backbone_weights_sha256": features["weights_sha256"],
        "trained_precision": features["precision"],  # of the features that the head was trained on
        **_streams(predictor.streams),
        "sampling": {
            "count": sampling.count,
            "places": _PLACES if sampling.snippet == ONE_FRAME else _SNIPPET_PLACES,
            **({} if sampling.snippet == ONE_FRAME else {"snippet": asdict(sampling.snippet)}),
        },
        "preprocessing": {
            "size": sampling.resolution,
            **_resizing(sampling.fit),
            "format": sampling.format,
            "quality": sampling.quality,
            "jpeg_sampling": "4:4:4",
            "colours": "RGB",
            "values": "uint8, 0 to 255",
            **{key: features["preprocessing"][key] for key in ("mean", "std", "scale")},
            "normalised_by": "the graph",
        },
    }
    return {key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for key, value in values.items()}


def _resizing(fit: Fit) -> dict[str, Any]:
    """Metadata on how a frame becomes a square."""
    if fit == "squash":
        return {"resize": _SQUASHED}
    how = "short side to 8/7 of size" if fit == "crop" else "to the height and width in fit"
    return {"resize": _CROPPED.format(how), "fit": fit}


def _streams(streams: Sequence[str]) -> dict[str, Any]:
    """Metadata on streams, whose features are side by side in this order; none for rgb alone."""
    if not (entry := described_streams(streams)):
        return {}
    difference = "the next frame minus the frame, round(255 * clip(difference / 128 + 0.5, 0, 1)); the last one repeats"
    return {**entry, "streams_meaning": f"rgb: the frame; diff: {difference}; computed by the graph from frames"}


def write(path: Path, graph: onnx.ModelProto, about: Mapping[str, str], check: Callable[[Path], Result]) -> Result:
    """Write an exported model, completely or not at all; the same model gives the same bytes.

    Args:
        about: its metadata.
        check: called with the draft; raises an exception to discard it.

    Returns:
        The result of the check.
    """
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    for node in model.graph.node:
        node.doc_string = ""  # would contain paths of this machine
        del node.metadata_props[:]
    onnx.helper.set_model_props(model, dict(sorted(about.items())))
    onnx.checker.check_model(model)
    with whole_file(path) as draft:
        draft.write_bytes(model.SerializeToString(deterministic=True))
        return check(draft)


def session(path: Path) -> onnxruntime.InferenceSession:
    """Load an exported model to run on all CPU cores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = machine.workers()
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(model: onnxruntime.InferenceSession, inputs: NDArray[Any]) -> NDArray[np.float32]:
    """Probabilities (B, K) of frames or features."""
    (probabilities,) = model.run([PROBABILITIES], {model.get_inputs()[0].name: inputs})
    return np.asarray(probabilities, dtype=np.float32)


def as_frames(clip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert a clip (T, H, W, 3) or (T, L, H, W, 3) to the input of a whole model: (1, T, 3, H, W) or (1, T, L, 3, H, W)."""
    return np.ascontiguousarray(np.moveaxis(clip, -1, -3)[None])


def compare(answers: Sequence[NDArray[np.floating]], expected: Sequence[NDArray[np.floating]]) -> Check:
    """Compare the probabilities of clips, (K,) each."""
    pairs = list(zip(answers, expected, strict=True))
    differences = [float(np.abs(got - reference).max()) for got, reference in pairs]
    same = [int(got.argmax()) == int(reference.argmax()) for got, reference in pairs]
    return Check(len(differences), max(differences), sum(same))


def check(path: Path, inputs: Sequence[NDArray[Any]], expected: Sequence[NDArray[np.float32]]) -> Check:
    """Run an exported model on clips, one at a time, and compare it with torch.

    Args:
        inputs: of the model, in batches of one.
        expected: torch's probabilities (K,) for each.

    Raises:
        ExportError: a probability differs by more than TOLERANCE, or a most probable class differs.
    """
    model = session(path)
    result = compare([run(model, one)[0] for one in inputs], expected)
    if not result.difference <= TOLERANCE or result.same < result.clips:  # `not <=`, so that NaN fails
        raise ExportError(
            f"the exported model gives other answers in onnxruntime {onnxruntime.__version__} than in torch {torch.__version__}, "
            f"so it was not written: the largest difference of a probability is {result.difference:.2g} (allowed: {TOLERANCE:g}), "
            f"and the most probable class is the same for {result.same} of {result.clips} clips. Use the versions in "
            "requirements.txt."
        )
    return result
