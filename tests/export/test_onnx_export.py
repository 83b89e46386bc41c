import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import small_networks
import torch
from bundles import CALIBRATION, CLASSES, VIDEO, tiny_bundle

from actionrec.export import onnx_export, onnx_graph
from actionrec.export.onnx_graph import ExportError
from actionrec.inference.predictor import load
from actionrec.io.files import sha256_of
from actionrec.models import MODELS

ROOT = Path(__file__).parents[2]
T, SIZE, D = 8, 64, small_networks.WIDTH


@pytest.fixture(scope="module", autouse=True)
def small_backbones():
    with small_networks.known():
        yield


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    """Of each model, one."""
    return cache(
        lambda name: load(tiny_bundle(tmp_path_factory.mktemp("models") / name, name, backbone="small_image"), device="cpu")
    )


@pytest.fixture(scope="module")
def pieces(predictor):
    """Of each model; the backbone, which all share, is traced once."""
    graph, of_backbone = onnx_graph._graph, []

    def traced_once(module, example, name, output):
        if name == onnx_graph.FRAMES and of_backbone:
            return of_backbone[0]
        made = graph(module, example, name, output)
        if name == onnx_graph.FRAMES:
            of_backbone.append(made)
        return made

    @cache
    def traced(name):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(onnx_graph, "_graph", traced_once)
            return onnx_graph.trace(predictor(name))

    return traced


def noise(clips):
    return np.random.default_rng(0).integers(0, 256, (clips, T, 3, SIZE, SIZE), dtype=np.uint8)


def write(path, predictor, pieces, form):
    onnx_export.write(path, pieces.graph(form), onnx_export.metadata(predictor, form, "ab"), lambda draft: None)
    return path


@pytest.mark.parametrize("name", MODELS)
def test_frames_in_a_batch_of_any_size_get_torchs_probabilities(name, predictor, pieces, tmp_path):
    model = onnx_export.session(write(tmp_path / "whole.onnx", predictor(name), pieces(name), "whole"))
    for clips in (1, 3):
        frames = noise(clips)
        with torch.inference_mode():
            expected = pieces(name).head(pieces(name).backbone(torch.from_numpy(frames))).numpy()
        got = onnx_export.run(model, frames)
        assert got.shape == (clips, len(CLASSES))
        np.testing.assert_allclose(got, expected, atol=1e-5)
        np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-5)
    prediction = predictor(name).answer(predictor(name).extractor(np.ascontiguousarray(frames[0].transpose(0, 2, 3, 1))))
    np.testing.assert_allclose(got[0], prediction.probabilities, atol=2e-3)


@pytest.fixture(scope="module", params=[("rgb", "diff"), ("diff",)], ids="+".join)
def on_streams(request, tmp_path_factory):
    """A model on streams, and its pieces."""
    folder = tmp_path_factory.mktemp("streams") / "mean_pool"
    predictor = load(tiny_bundle(folder, "mean_pool", backbone="small_image", streams=request.param), device="cpu")
    return predictor, onnx_graph.trace(predictor)


def test_the_whole_model_makes_the_streams_itself(on_streams, tmp_path):
    predictor, pieces = on_streams
    model = onnx_export.session(write(tmp_path / "whole.onnx", predictor, pieces, "whole"))
    for clips in (1, 3):
        frames = noise(clips)
        with torch.inference_mode():
            features = pieces.backbone(torch.from_numpy(frames))
            expected = pieces.head(features).numpy()
        assert features.shape == (clips, T, D * len(predictor.streams))
        np.testing.assert_allclose(onnx_export.run(model, frames), expected, atol=1e-5)
        for clip, own in zip(frames, features.numpy(), strict=True):
            extracted = predictor.extractor(np.ascontiguousarray(clip.transpose(0, 2, 3, 1)))
            np.testing.assert_allclose(own, extracted, rtol=2e-3, atol=2e-3)
    head = onnx_export.session(write(tmp_path / "head.onnx", predictor, pieces, "head"))
    np.testing.assert_allclose(onnx_export.run(head, features.numpy()), expected, atol=1e-5)


@pytest.mark.parametrize("backbone", ["small_video", "small_image"])
def test_the_whole_model_takes_snippets(backbone, tmp_path):
    bundle = tiny_bundle(tmp_path / "mean_pool", "mean_pool", backbone=backbone, frames=VIDEO, streams=("rgb", "diff"))
    predictor = load(bundle, device="cpu")
    pieces = onnx_graph.trace(predictor)
    model = onnx_export.session(write(tmp_path / "whole.onnx", predictor, pieces, "whole"))
    for count in (1, 2):
        clips = np.random.default_rng(count).integers(0, 256, (count, *predictor.sampling.shape), dtype=np.uint8)
        frames = np.concatenate([onnx_export.as_frames(clip) for clip in clips])
        assert frames.shape == (count, 3, 4, 3, 32, 32)
        got = onnx_export.run(model, frames)
        for clip, probabilities in zip(clips, got, strict=True):
            expected = predictor.answer(predictor.extractor(clip)).probabilities
            np.testing.assert_allclose(probabilities, expected, atol=2e-3)
    about = onnx_export.metadata(predictor, "whole", "ab")
    assert about["input"] == "frames (B, 3, 4, 3, 32, 32) uint8"
    assert json.loads(about["sampling"])["snippet"] == VIDEO["snippet"]
    resized = "short side to 8/7 of size, then the centre of size x size; bilinear, or by area where a side shrinks to half or less"
    preprocessing = json.loads(about["preprocessing"])
    assert (preprocessing["fit"], preprocessing["resize"]) == ("crop", resized)


def test_metadata_name_the_streams_unless_they_are_rgb_alone(on_streams, predictor):
    about = onnx_export.metadata(on_streams[0], "head", "ab")
    assert json.loads(about["streams"]) == list(on_streams[0].streams)
    assert about["input"] == f"features (B, {T}, {D * len(on_streams[0].streams)}) float32"
    assert about["streams_meaning"] == (
        "rgb: the frame; diff: the next frame minus the frame, round(255 * clip(difference / 128 + 0.5, 0, 1)); the last one "
        "repeats; computed by the graph from frames"
    )
    assert set(about) - set(onnx_export.metadata(predictor("gru"), "head", "ab")) == {"streams", "streams_meaning"}


@pytest.mark.parametrize("name", MODELS)
def test_features_in_a_batch_of_any_size_get_torchs_probabilities(name, predictor, pieces, tmp_path):
    model = onnx_export.session(write(tmp_path / "head.onnx", predictor(name), pieces(name), "head"))
    for clips in (1, 3, 17):
        features = np.random.default_rng(clips).normal(size=(clips, T, D)).astype(np.float32)
        with torch.inference_mode():
            expected = torch.softmax(
                predictor(name).network(torch.from_numpy(features)) / CALIBRATION["temperature"], dim=1
            ).numpy()
        assert np.ptp(expected) > 1e-3
        np.testing.assert_allclose(onnx_export.run(model, features), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "kind", "count"), [("gru", "GRU", 1), ("lstm", "LSTM", 1), ("stacked_lstm", "LSTM", 2), ("bilstm", "LSTM", 1)]
)
def test_recurrent_layers_are_nodes_of_their_own(name, kind, count, pieces):
    kinds = [node.op_type for node in pieces(name).features_graph.graph.node]
    assert kinds.count(kind) == count
    assert not {"Loop", "Tanh"} & set(kinds)  # unrolled


@pytest.mark.parametrize(
    ("form", "given"),
    [
        ("whole", ("frames", ["batch", T, 3, SIZE, SIZE], onnx.TensorProto.UINT8)),
        ("head", ("features", ["batch", T, D], onnx.TensorProto.FLOAT)),
    ],
)
def test_inputs_and_outputs_have_names_and_shapes(form, given, predictor, pieces, tmp_path):
    graph = onnx.load(write(tmp_path / "model.onnx", predictor("gru"), pieces("gru"), form)).graph

    def described(value):
        shape = [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        return value.name, shape, value.type.tensor_type.elem_type

    assert [described(one) for one in graph.input] == [given]
    assert [described(one) for one in graph.output] == [("probabilities", ["batch", len(CLASSES)], onnx.TensorProto.FLOAT)]


def test_the_file_says_how_to_use_it(predictor, pieces, tmp_path):
    path = write(tmp_path / "whole.onnx", predictor("gru"), pieces("gru"), "whole")
    about = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).get_modelmeta().custom_metadata_map
    assert json.loads(about["class_names"]) == CLASSES
    assert json.loads(about["sampling"])["count"] == T
    assert {"size": SIZE, "format": "raw", "colours": "RGB"}.items() <= json.loads(about["preprocessing"]).items()
    assert json.loads(about["preprocessing"])["mean"] == [0.485, 0.456, 0.406]
    assert float(about["temperature"]) == CALIBRATION["temperature"]
    assert float(about["threshold"]) == CALIBRATION["threshold"]
    assert float(about["window_seconds"]) == 4.0
    assert {key: about[key] for key in ("format", "form", "model", "backbone", "backbone_weights", "precision")} == {
        "format": "actionrec 1",
        "form": "whole",
        "model": "gru",
        "backbone": "small_image",
        "backbone_weights": "random",
        "precision": "fp32",
    }
    assert about["backbone_weights_sha256"] == predictor("gru").bundle.features["weights_sha256"]


def test_another_process_writes_the_same_bytes_and_none_of_this_machine(tmp_path, predictor, pieces):
    tiny_bundle(tmp_path / "gru", "gru", backbone="small_image")
    code = (
        "import sys, pathlib; sys.path[:0] = ['tests', 'tests/export']; from test_onnx_export import *\n"
        "with small_networks.known(): made = load(pathlib.Path(sys.argv[1]), device='cpu')\n"
        "pieces = onnx_graph.trace(made)\n"
        "[write(pathlib.Path(f'{sys.argv[2]}-{form}.onnx'), made, pieces, form) for form in ('whole', 'head')]"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-c", code, str(tmp_path / "gru"), str(tmp_path / "other")]
    subprocess.run(command, check=True, cwd=ROOT, env=environment, capture_output=True)
    for form in ("whole", "head"):
        contents = (tmp_path / f"other-{form}.onnx").read_bytes()
        assert contents == write(tmp_path / "here.onnx", predictor("gru"), pieces("gru"), form).read_bytes()
        for trace in (str(ROOT), str(tmp_path), "site-packages", ".py"):
            assert trace.encode() not in contents


def answered(pieces, clips=2):
    return onnx_export.answer(pieces, noise(clips).transpose(0, 1, 3, 4, 2))


def test_the_check_tells_difference_and_same_answers(predictor, pieces, tmp_path):
    path = write(tmp_path / "head.onnx", predictor("gru"), pieces("gru"), "head")
    known = answered(pieces("gru"))
    found = onnx_export.check(path, known.inputs("head"), known.probabilities)
    assert (found.clips, found.same) == (2, 2)
    assert 0 <= found.difference < 1e-5


@pytest.mark.parametrize("wrong", [lambda one: one + 0.01, lambda one: one * np.float32(np.nan), lambda one: one[::-1]])
def test_a_model_with_other_answers_raises_an_error_and_leaves_no_file(wrong, predictor, pieces, tmp_path):
    known = answered(pieces("gru"))
    expected = [wrong(one).copy() for one in known.probabilities]
    with pytest.raises(ExportError, match=r"gives other answers in onnxruntime .* so it was not written: the largest difference"):
        onnx_export.write(
            tmp_path / "gru.onnx",
            pieces("gru").graph("whole"),
            {},
            lambda draft: onnx_export.check(draft, known.inputs("whole"), expected),
        )
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_leaves_the_old_file(predictor, pieces, tmp_path):
    path = write(tmp_path / "gru.onnx", predictor("gru"), pieces("gru"), "head")
    before = sha256_of(path)

    def refuse(_):
        raise ExportError("no")

    with pytest.raises(ExportError):
        onnx_export.write(path, pieces("gru").graph("whole"), {}, refuse)
    assert sha256_of(path) == before
    assert [file.name for file in tmp_path.iterdir()] == ["gru.onnx"]


def test_more_weights_than_a_file_holds_raise_an_error(predictor, monkeypatch):
    monkeypatch.setattr(onnx_graph, "_LARGEST", 1000)
    with pytest.raises(ExportError, match=r"^small_image and gru have 0\.0 GiB of weights; an ONNX file holds at most 2 GiB\."):
        onnx_graph.trace(predictor("gru"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "backbone", ["small_mobilenet", "small_efficientnet", "small_convnext", "small_densenet", "small_swin", "small_googlenet"]
)
def test_backbones_of_all_kinds(backbone, tmp_path):
    made = load(tiny_bundle(tmp_path / "mean_pool", "mean_pool", backbone=backbone), device="cpu")
    pieces = onnx_graph.trace(made)
    known = answered(pieces, clips=3)
    path = write(tmp_path / "whole.onnx", made, pieces, "whole")
    found = onnx_export.check(path, known.inputs("whole"), known.probabilities)
    assert found.difference < 1e-4
    together = onnx_export.run(onnx_export.session(path), np.concatenate(known.frames))
    np.testing.assert_allclose(together, np.stack(known.probabilities), atol=1e-4)
