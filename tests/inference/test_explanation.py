"""Which frames mattered, and where in them."""

import copy
import dataclasses
import io
from functools import cache
from types import SimpleNamespace

import bundles
import numpy as np
import pytest
import small_networks
import torch
from PIL import Image

from actionrec.evaluation import calibration
from actionrec.features import torchvision_models
from actionrec.features.backbones import Backbone
from actionrec.inference import explanation, predictor
from actionrec.models import MODELS
from actionrec.models.swin_transformer import WindowAttention
from actionrec.models.transformer import sinusoidal_positions
from actionrec.plots import explanation as plots
from actionrec.training import loop


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Small backbones have names, and features come from torch, which needs no preparation."""
    with small_networks.known(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACTIONREC_RUNTIME", "torch")
        yield


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return bundles.clips(tmp_path_factory.mktemp("clips"), 1)[2]


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Load a model on the features of a backbone, each once."""

    @cache
    def load(model, backbone="resnet18"):
        return predictor.load(bundles.tiny_bundle(tmp_path_factory.mktemp("models") / model, model, backbone=backbone))

    return load


@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_explained(load, clip, model):
    predictor = load(model)
    sampled = predictor.sample(clip)
    found = explanation.explain(predictor, sampled)
    assert found.label == found.prediction.label
    assert found.importance.shape == (8,)
    assert np.isfinite(found.importance).all()
    assert np.abs(found.importance).max() > 0
    assert found.heat.shape == (8, 2, 2)
    assert found.heat.min() >= 0
    assert found.heat.max() == 1
    if "transformer" in model or model == "gru_attention":
        assert found.attention.shape == (8,)
        assert found.attention.min() >= 0
        assert found.attention.sum() == pytest.approx(1)
    else:
        assert found.attention is None


def test_importance_is_the_fall_of_the_log_probability_without_the_frame(load, clip):
    predictor = load("gru")
    features = predictor.extractor(predictor.sample(clip).frames)
    importance = explanation.occlusion(predictor, features, 2)
    hidden = features.copy()
    hidden[5] = predictor.network.standardise.mean.numpy()
    before, after = (
        calibration.softmax(loop.predict(predictor.network, one[None], np.array([0])), predictor.temperature)[0, 2]
        for one in (features, hidden)
    )
    assert importance[5] == pytest.approx(np.log(before / after), abs=1e-4)


def test_a_frame_that_looks_as_the_mean_of_all_matters_not(load, clip):
    predictor = load("gru")
    features = predictor.extractor(predictor.sample(clip).frames)
    features = explanation.hide(predictor.network, features, [3])
    assert explanation.occlusion(predictor, features, 0)[3] == pytest.approx(0, abs=1e-6)


def test_without_a_standardiser_the_clips_own_mean_stands_in_for_what_is_hidden(load, clip):
    predictor = load("gru")
    network = copy.deepcopy(predictor.network)
    network.standardise.mean.zero_()
    features = predictor.extractor(predictor.sample(clip).frames)
    hidden = explanation.hide(network, features, [2])
    np.testing.assert_allclose(hidden[2], features.astype(np.float32).mean(axis=0), rtol=1e-3, atol=1e-3)
    assert np.array_equal(hidden[3], features[3])


def test_another_class_can_be_asked_for(load, clip):
    predictor = load("gru")
    sampled = predictor.sample(clip)
    one, other = (explanation.explain(predictor, sampled, label) for label in ("Bright", "Striped"))
    assert not np.allclose(one.importance, other.importance)


def test_the_same_clip_is_explained_and_drawn_the_same(load, clip):
    predictor = load("swin_transformer")
    sampled = predictor.sample(clip)
    one, other = (explanation.explain(predictor, sampled) for _ in range(2))
    assert np.array_equal(one.importance, other.importance)
    assert np.array_equal(one.heat, other.heat)
    assert np.array_equal(one.attention, other.attention)
    picture, again = (plots.film_strip(found, sampled.frames, "clip.avi") for found in (one, other))
    assert picture == again
    with Image.open(io.BytesIO(picture)) as opened:
        assert opened.width > 1000


def test_explaining_changes_no_later_answer(load, clip):
    predictor = load("transformer")
    before = predictor.predict(clip).probabilities
    explanation.explain(predictor, predictor.sample(clip))
    assert np.array_equal(predictor.predict(clip).probabilities, before)


def test_heat_is_the_class_activation_map_where_features_are_its_mean(load, clip):
    """ResNet's features are the mean of its last map, so that Grad-CAM is the map weighted by the logit's gradient."""
    predictor = load("gru")
    frames = predictor.sample(clip).frames
    network, backbone = predictor.network, predictor.backbone
    maps = []
    hook = backbone.network.layer4.register_forward_hook(lambda _, __, made: maps.append(made))
    features = backbone(torch.from_numpy(frames)).detach().requires_grad_()
    hook.remove()
    network(features[None])[0, 1].backward()
    heat = (maps[0] * features.grad[:, :, None, None]).sum(dim=1).relu().numpy()
    np.testing.assert_allclose(explanation.grad_cam(predictor, frames, 1), heat / heat.max(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "densenet121"])
def test_backbones_that_work_in_place_are_explained(load, clip, backbone):
    predictor = load("gru", backbone)
    assert explanation.grad_cam(predictor, predictor.sample(clip).frames, 0).max() == 1


def test_a_window_attends_as_its_output_says():
    torch.manual_seed(0)
    layer = WindowAttention(dim=8, heads=1, window=4, shift=2, bias_std=1.0)
    layer.project = torch.nn.Identity()
    for length in (3, 4, 8, 10):
        frames = torch.randn(2, length, 8)
        weights = layer.weights(frames)
        torch.testing.assert_close(weights.sum(dim=2), torch.ones(2, length))
        value = layer.qkv(frames).chunk(3, dim=2)[2]
        torch.testing.assert_close(weights @ value, layer(frames), rtol=1e-4, atol=1e-5)


def test_a_transformers_attention_is_rolled_out_over_its_layers(load, clip):
    predictor = load("transformer")
    features = predictor.extractor(predictor.sample(clip).frames)
    model = predictor.network.model.eval()
    flow = torch.eye(8)
    with torch.no_grad():
        states = model.embed(predictor.network.standardise(torch.from_numpy(features[None]).float()))
        states = states + sinusoidal_positions(8, model.d_model)
        for layer in model.encoder.layers:
            normed = layer.norm1(states)
            _, weights = layer.self_attn(normed, normed, normed, need_weights=True)
            flow = (0.5 * weights[0] + 0.5 * torch.eye(8)) @ flow
            states = layer(states)
    np.testing.assert_allclose(explanation.attention(predictor.network, features), flow.mean(dim=0).numpy(), atol=1e-5)


def test_a_model_that_pools_by_attention_states_its_own_weights(load, clip):
    predictor = load("gru_attention")
    sampled = predictor.sample(clip)
    features = torch.from_numpy(predictor.extractor(sampled.frames)[None]).float()
    with torch.no_grad():
        expected = predictor.network.model.attention_over_time(predictor.network.standardise(features))[0]
    found = explanation.explain(predictor, sampled)
    np.testing.assert_allclose(found.attention, expected.numpy(), rtol=1e-5)
    titles = []
    original = plots.Axes.set_ylabel
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots.Axes, "set_ylabel", lambda axes, text, **style: (titles.append(text), original(axes, text, **style)))
        plots.film_strip(found, sampled.frames, "clip.avi")
    assert "attention, %" in titles


def test_the_strip_shows_the_frame_of_each_part_that_mattered_most():
    importance = np.zeros(32)
    importance[[3, 5, 31]] = [1, -2, 0.5]
    shown = plots.shown_frames(importance)
    assert len(shown) == 8
    assert (shown[0], shown[1], shown[-1]) == (3, 5, 31)
    assert shown == sorted(shown)
    assert plots.shown_frames(np.zeros(3)) == [0, 1, 2]


def test_where_a_frame_is_hot_less_of_it_is_left():
    frame = np.full((64, 64, 3), 200, np.uint8)
    heat = np.zeros((4, 4), np.float32)
    heat[:2, :2] = 1
    shown = plots.overlaid(frame, heat)
    assert np.abs(shown[8, 8].astype(int) - 200).max() > np.abs(shown[56, 56].astype(int) - 200).max()


@pytest.mark.parametrize("backbone", ["small_video", "small_image"])
def test_heat_of_a_snippet_is_the_mean_over_its_frames(tmp_path, clip, backbone):
    video = predictor.load(bundles.tiny_bundle(tmp_path / "gru", backbone=backbone, frames={**bundles.VIDEO, "resolution": 64}))
    sampled = video.sample(clip)
    flat = torch.from_numpy(sampled.pictures.reshape(-1, 64, 64, 3))
    maps = []
    hook = video.backbone.network[-2].register_forward_hook(lambda _, __, made: maps.append(made))
    made = video.backbone(flat).detach().unflatten(0, (3, -1)).mean(dim=1).requires_grad_()
    hook.remove()
    logits = video.network(made[None])[0]
    # The features are the mean of the last map (B, C, [t,] h, w), so Grad-CAM is the map weighted by the logit's gradient.
    grid = maps[0] if maps[0].dim() == 5 else maps[0].unflatten(0, (3, -1)).transpose(1, 2)  # (3, C, t, h, w)
    heats = []
    for place, logit in enumerate(logits):
        [gradient] = torch.autograd.grad(logit, made, retain_graph=True)
        heats.append((grid * gradient[:, :, None, None, None]).sum(dim=1).relu().mean(dim=1).numpy())
        expected = heats[-1] / max(heats[-1].max(), 1e-9)
        np.testing.assert_allclose(explanation.grad_cam(video, sampled.pictures, place), expected, rtol=1e-3, atol=1e-4)
    assert max(heat.max() for heat in heats) > 1e-9
    found = explanation.explain(video, sampled)
    assert found.indices == sampled.shown[1]
    assert len(found.importance) == 3
    assert plots.film_strip(found, sampled.shown[0], "clip.avi")


class Squares(torch.nn.Module):
    """A class whose logit's gradient is twice the features: some of a map of which they are the mean is hot."""

    def forward(self, features):
        return features.square().sum(dim=(1, 2))[:, None]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "length", "size"), [("swin3d_t", 4, 64), ("s3d", 13, 224), ("mvit_v2_s", 16, 224)])
def test_heat_of_other_video_backbones(name, length, size):
    torch.manual_seed(0)
    parts = torchvision_models.create(name)
    backbone = Backbone(parts.network, parts.mean, parts.std, length, parts.limits).eval()
    untrained = SimpleNamespace(backbone=backbone, network=Squares(), device="cpu", streams=("rgb",))
    pictures = np.random.default_rng(0).integers(0, 256, (2, length, size, size, 3), dtype=np.uint8)
    heat = explanation.grad_cam(untrained, pictures, 0)
    if name == "mvit_v2_s":  # tokens without a place
        assert heat is None
    else:
        assert heat.shape == ((2, 2, 2) if name == "swin3d_t" else (2, 7, 7))
        assert heat.min() >= 0
        assert heat.max() == 1


@pytest.fixture(scope="module")
def on_streams(tmp_path_factory):
    """A model on frames and differences."""
    return predictor.load(bundles.tiny_bundle(tmp_path_factory.mktemp("streams") / "gru", streams=("rgb", "diff")))


def test_the_share_of_each_stream_is_its_part_of_what_the_label_loses_without_it(on_streams, clip):
    sampled = on_streams.sample(clip)
    found = explanation.explain(on_streams, sampled)
    features = on_streams.extractor(sampled.frames)
    place = list(on_streams.class_names).index(found.label)
    for name, columns in (("rgb", slice(0, 512)), ("diff", slice(512, 1024))):
        hidden = features.copy()
        hidden[:, columns] = on_streams.network.standardise.mean.numpy()[columns]
        before, after = (
            calibration.softmax(loop.predict(on_streams.network, one[None], np.array([0])), on_streams.temperature)[0, place]
            for one in (features, hidden)
        )
        assert found.streams[name] == pytest.approx(np.log(before / after), abs=1e-4)
    assert list(found.stream_shares) == ["rgb", "diff"]
    assert sum(found.stream_shares.values()) == pytest.approx(1)
    assert found.importance.shape == (8,)
    assert found.heat.shape == (8, 2, 2)
    assert found.heat.max() == 1


@pytest.mark.parametrize(
    ("decreases", "shares"),
    [
        ({"rgb": 3.0, "diff": 1.0}, {"rgb": 0.75, "diff": 0.25}),
        ({"rgb": -1.0, "diff": 2.0}, {"rgb": 0.0, "diff": 1.0}),
        ({"rgb": -1.0, "diff": 0.0}, {}),
        ({}, {}),
    ],
)
def test_a_stream_that_speaks_against_the_label_has_no_share(load, clip, decreases, shares):
    found = explanation.explain(load("gru"), load("gru").sample(clip))
    assert found.streams == {}
    assert dataclasses.replace(found, streams=decreases).stream_shares == shares


def test_the_picture_names_the_shares_of_streams(on_streams, clip, monkeypatch):
    sampled = on_streams.sample(clip)
    found = explanation.explain(on_streams, sampled)
    titles = []
    monkeypatch.setattr(plots.Figure, "suptitle", lambda figure, text, **style: titles.append(text))
    plots.film_strip(found, sampled.frames, "clip.avi")
    plots.film_strip(dataclasses.replace(found, streams={}), sampled.frames, "clip.avi")
    shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in found.stream_shares.items())
    assert titles == [f"clip.avi\nwhat mattered: {shares}", "clip.avi"]
