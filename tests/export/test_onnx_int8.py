import numpy as np
import onnx
import pytest
from bundles import clips as draw
from bundles import tiny_bundle

from actionrec.export import onnx_export, onnx_graph, onnx_int8
from actionrec.inference.predictor import load


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A bundle's pieces, clips, its model in fp32 and the one in 8 bits as files."""
    folder = tmp_path_factory.mktemp("int8")
    predictor = load(tiny_bundle(folder / "gru", "gru"), device="cpu")
    pieces = onnx_graph.trace(predictor)
    clips = [predictor.sample(path).frames for path in draw(folder / "clips", count=2)][:4]
    graph, count = onnx_int8.quantise(pieces, clips)
    assert count == 4
    for name, one in (("whole", pieces.graph("whole")), ("int8", graph)):
        onnx_export.write(folder / f"{name}.onnx", one, {"precision": name}, lambda draft: None)
    return pieces, clips, folder / "whole.onnx", folder / "int8.onnx"


def test_the_backbone_is_in_8_bits_and_the_head_is_not(exported):
    model = onnx.load(exported[3])
    kinds = {}
    for node in model.graph.node:
        kinds.setdefault(node.name.split("/")[0], []).append(node.op_type)
    assert kinds["backbone"].count("DequantizeLinear") > 20
    assert not {"QuantizeLinear", "DequantizeLinear"} & set(kinds["head"])
    assert sum(tensor.data_type == onnx.TensorProto.INT8 for tensor in model.graph.initializer) >= 20  # resnet18's convolutions
    scales = [tensor.dims for tensor in model.graph.initializer if tensor.name.endswith("_scale")]
    assert [512] in [list(shape) for shape in scales]  # a scale for each channel
    assert exported[3].stat().st_size < 0.3 * exported[2].stat().st_size


def test_inputs_outputs_and_a_batch_of_any_size_stay(exported):
    _, clips, whole, int8 = exported
    frames = np.concatenate([onnx_export.as_frames(clip) for clip in clips])
    plain, fast = (onnx_export.run(onnx_export.session(path), frames) for path in (whole, int8))
    assert plain.shape == fast.shape == (4, 3)
    np.testing.assert_allclose(fast, plain, atol=0.2)
    assert not np.array_equal(fast, plain)


def test_the_same_clips_give_the_same_bytes(exported, tmp_path):
    pieces, clips, _, int8 = exported
    graph, _ = onnx_int8.quantise(pieces, clips)
    onnx_export.write(tmp_path / "again.onnx", graph, {"precision": "int8"}, lambda draft: None)
    assert (tmp_path / "again.onnx").read_bytes() == int8.read_bytes()


def test_cost_is_counted_on_labelled_clips(exported):
    pieces, clips, whole, int8 = exported
    answers = [int(one.argmax()) for one in onnx_export.answer(pieces, clips).probabilities]
    labels = [answers[0], answers[1], answers[2], (answers[3] + 1) % 3]  # three are correct
    found = onnx_int8.measure(int8, whole, zip(clips, labels, strict=True), calibrated=4)
    assert (found.calibrated, found.clips, found.top1) == (4, 4, 0.75)
    assert 0 < found.difference < 0.2
    assert 0 <= found.top1_int8 <= 1
    assert found.seconds > 0
    assert found.seconds_int8 > 0


def test_a_model_beside_itself_costs_nothing(exported):
    _, clips, whole, _ = exported
    found = onnx_int8.measure(whole, whole, [(clip, 0) for clip in clips], calibrated=0)
    assert (found.difference, found.same, found.top1) == (0, 4, found.top1_int8)
