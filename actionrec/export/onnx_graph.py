"""ONNX graphs of a bundle: one from frames to features, one from features to calibrated probabilities.

B clips, T frames a clip, D features a frame, K classes. The whole model is both graphs joined. Both are in fp32, whatever
`features.precision` is, and accept any batch size; T and the frames' size are the bundle's.
"""

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import onnx
import torch
from onnxscript import opset20
from torch import Tensor, nn

from actionrec.core.errors import ActionrecError
from actionrec.features.backbones import Backbone
from actionrec.features.streams import pictures
from actionrec.inference.predictor import Predictor
from actionrec.training.classifier import Classifier

FRAMES, FEATURES, PROBABILITIES = "frames", "features", "probabilities"
"""Names of inputs and outputs."""

OPSET = 20
op: Any = opset20

_LARGEST = 2**31 - 2**20  # bytes of one ONNX file, which is a protobuf message

Form = Literal["whole", "head"]


class ExportError(ActionrecError):
    """A model cannot be exported, or the exported model gives other answers."""


class FeaturesOf(nn.Module):
    """Frames (B, T, 3, H, W), or snippets (B, T, L, 3, H, W), uint8, RGB -> features (B, T, D), float32.

    Streams and normalisation are included.
    """

    def __init__(self, backbone: Backbone, streams: Sequence[str]) -> None:
        super().__init__()
        self.backbone, self.streams = backbone, streams

    def forward(self, frames: Tensor) -> Tensor:
        """Map frames (B, T, 3, H, W), or snippets (B, T, L, 3, H, W), to features (B, T, D)."""
        # ONNX Runtime cannot subtract 16-bit numbers.
        streams = [pictures(frames, stream, torch.int32) for stream in self.streams]
        # All in one batch: the graph then has the backbone once. A step's pictures are neighbours, and so are their features.
        batch = streams[0] if len(streams) == 1 else torch.stack(streams, dim=2).flatten(1, 2)
        features = self.backbone(batch.flatten(0, -4).permute(0, 2, 3, 1))
        if frames.dim() == 6 and self.backbone.snippet_length == 1:  # an image network; a snippet's features are their mean
            features = features.unflatten(0, (-1, frames.shape[2])).mean(dim=1)
        return features.reshape(-1, frames.shape[1], len(streams) * features.shape[1])


class ProbabilitiesOf(nn.Module):
    """Features (B, T, D), float32 -> probabilities (B, K), calibrated."""

    def __init__(self, network: Classifier, temperature: float) -> None:
        super().__init__()
        self.network, self.temperature = network, temperature

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, T, D) to probabilities (B, K)."""
        return torch.softmax(self.network(features) / self.temperature, dim=1)


@dataclass(frozen=True)
class Pieces:
    """A bundle as torch modules on the CPU, and as the two graphs of exported models."""

    backbone: FeaturesOf
    head: ProbabilitiesOf
    frames_graph: onnx.ModelProto
    """frames -> features."""
    features_graph: onnx.ModelProto
    """features -> probabilities."""

    def graph(self, form: Form) -> onnx.ModelProto:
        """An exported model, without metadata."""
        return joined(self.frames_graph, self.features_graph) if form == "whole" else self.features_graph


def trace(predictor: Predictor) -> Pieces:
    """Export the graphs of a bundle; the same bundle gives the same graphs.

    Raises:
        ExportError: the backbone cannot be exported to ONNX, or is too large for one file.
    """
    backbone = FeaturesOf(predictor.backbone.cpu(), predictor.streams).eval()
    head = ProbabilitiesOf(predictor.network.cpu(), predictor.temperature).eval()
    size = sum(tensor.nbytes for module in (backbone, head) for tensor in module.state_dict().values())
    if size > _LARGEST:
        raise ExportError(
            f"{predictor.bundle.features['backbone']} and {predictor.name} have {size / 2**30:.1f} GiB of weights; an ONNX file "
            "holds at most 2 GiB. Export a model with a smaller backbone."
        )
    *steps, height, width, colours = predictor.sampling.shape
    frames = torch.zeros(2, *steps, colours, height, width, dtype=torch.uint8)
    features = torch.zeros(2, predictor.sampling.count, predictor.bundle.architecture.feature_dim)
    try:
        return Pieces(backbone, head, _graph(backbone, frames, FRAMES, FEATURES), _graph(head, features, FEATURES, PROBABILITIES))
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise ExportError(
            f"{predictor.bundle.features['backbone']} with {predictor.name} cannot be exported to ONNX ({reason})."
        ) from None


def _graph(module: nn.Module, example: Tensor, input_name: str, output_name: str) -> onnx.ModelProto:
    """Trace a module whose first dimension is a batch of any size."""
    with torch.no_grad(), warnings.catch_warnings():  # with gradients, recurrent layers use another code path on a CPU
        warnings.simplefilter("ignore")
        for verbose in ("onnxscript", "onnx_ir"):  # log a line for each constant
            logging.getLogger(verbose).setLevel(logging.WARNING)
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[input_name],
            output_names=[output_name],
            dynamic_shapes=({0: "batch"},),
            custom_translation_table=_TRANSLATED,
            verbose=False,
        )
    assert program is not None  # None only if the program is written to a file
    return program.model_proto


def _roll(tensor: Any, shifts: Sequence[int], dims: Sequence[int] = ()) -> Any:
    """torch.roll, also without dimensions for a tensor with one; the exporter only supports it with dimensions."""
    for shift, axis in zip(shifts, dims or (0,), strict=True):
        first, split, last, where = (op.Constant(value_ints=[number]) for number in (0, -shift, 2**63 - 1, axis))
        if shift:
            tensor = op.Concat(op.Slice(tensor, split, last, where), op.Slice(tensor, first, split, where), axis=axis)
    return tensor


def _attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """scaled_dot_product_attention with any number of leading dimensions; the exporter only supports two. Arguments as in torch."""
    if is_causal or enable_gqa:
        raise NotImplementedError("causal attention and grouped queries are not supported")
    *batch, rows, columns = range(len(query.shape))
    scaled = op.Mul(query, op.Constant(value_float=query.shape[-1] ** -0.5 if scale is None else scale))
    scores = op.MatMul(scaled, op.Transpose(key, perm=[*batch, columns, rows]))
    return op.MatMul(op.Softmax(scores if attn_mask is None else op.Add(scores, attn_mask), axis=-1), value)


_TRANSLATED: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.roll.default: _roll,
    torch.ops.aten.scaled_dot_product_attention.default: _attention,
}
"""Operations of the Swin Transformer that the exporter does not support."""


def joined(first: onnx.ModelProto, second: onnx.ModelProto) -> onnx.ModelProto:
    """Join frames -> features and features -> probabilities to frames -> probabilities."""
    prefixed = onnx.compose.add_prefix(first, "backbone/", rename_inputs=False, rename_outputs=False)
    return onnx.compose.merge_models(
        prefixed,
        onnx.compose.add_prefix(second, "head/", rename_inputs=False, rename_outputs=False),
        io_map=[(FEATURES, FEATURES)],
        producer_name=first.producer_name,
        producer_version=first.producer_version,
    )
