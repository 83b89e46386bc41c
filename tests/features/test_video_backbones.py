"""Video backbones against torchvision's own transforms and networks, from frames of a video's size on."""

import cv2
import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from actionrec.core.errors import ParamsError, WeightsError
from actionrec.features import torchvision_models
from actionrec.features.backbones import Backbone, FeatureSettings, create_backbone
from actionrec.features.extractors import BATCH, batch_frames, create_extractor
from actionrec.features.frame_requirements import VIDEO_BACKBONES, limits_of, published_frames

LENGTHS = {"s3d": 13, "mvit_v1_b": 16, "mvit_v2_s": 16}
QUICK = "r3d_18"
every_video_backbone = pytest.mark.parametrize(
    "name", [QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in VIDEO_BACKBONES if name != QUICK)]
)


def settings(name, weights="random"):
    return FeatureSettings(name, str(weights), "fp32")


def without_weights(name, length):
    parts = torchvision_models.create(name)
    return Backbone(parts.network, parts.mean, parts.std, length, parts.limits).eval()


def length_of(name):
    return LENGTHS.get(name, 4)


def film(frame_count):
    """A pattern that moves, with pictures smooth enough that resizing rounds alike: (frames, 240, 320, 3)."""
    rows, columns = np.mgrid[0:240, 0:320]
    random = np.random.default_rng(0)
    waves = random.uniform(0.01, 0.06, (3, 2))
    frames = [
        np.stack([128 + 100 * np.sin(up * rows + across * columns + 0.7 * step * (1 + step / 9)) for up, across in waves], axis=2)
        for step in range(frame_count)
    ]
    return np.stack(frames).round().astype(np.uint8)


def fitted(frames, frame_format):
    """Frames as `frames.fit` and `frames.resolution` make them."""
    height, width = frames.shape[1:3]
    if frame_format.fit == "crop":
        short = frame_format.resolution * 8 // 7
        height, width = (short, int(short * width / height)) if height < width else (int(short * height / width), short)
    else:
        height, width = frame_format.fit
    top, left = (round((side - frame_format.resolution) / 2) for side in (height, width))
    resized = [cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR) for frame in frames]
    return np.stack(resized)[:, top : top + frame_format.resolution, left : left + frame_format.resolution]


def whole_network(name):
    """torchvision's network, with seeded random weights and with statistics of its batch normalisation from a clip."""
    torch.manual_seed(1)
    network = torchvision.models.get_model(name, weights=None)
    normalisations = [module for module in network.modules() if isinstance(module, nn.BatchNorm3d)]
    for module in normalisations:
        module.momentum = None  # the statistics become those of the clip
    if normalisations:
        limits = limits_of(name)
        size = max(limits.resolution, 112)
        with torch.no_grad():
            network.train()(torch.randn(1, 3, max(limits.length, 4), size, size))
    return network.eval()


def features_of(network, name):
    """A function from normalised clips (B, 3, L, H, W) to what torchvision's network gives to its last layer."""
    if name == "s3d":
        return lambda clips: network.avgpool(network.features(clips)).mean(dim=(2, 3, 4))
    last_layer = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]

    def features(clips):
        seen = []
        handle = last_layer.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
        network(clips)
        handle.remove()
        return seen[0]

    return features


def relative_error(got, wanted):
    return np.linalg.norm(got.astype(np.float64) - wanted) / np.linalg.norm(wanted.astype(np.float64))


@every_video_backbone
def test_features_are_those_of_torchvisions_transforms_and_network(name, tmp_path, monkeypatch):
    network, length = whole_network(name), length_of(name)
    torch.save(network.state_dict(), tmp_path / "some.pth")
    weights = torchvision.models.get_model_weights(name).DEFAULT
    frames = film(2 * length)
    with torch.inference_mode():
        clips = weights.transforms()(torch.from_numpy(frames).permute(0, 3, 1, 2).unflatten(0, (2, length)))
        wanted = features_of(network, name)(clips).numpy()
    backbone = create_backbone(settings(name, tmp_path / "some.pth"), length)
    assert backbone.gain == 1
    assert relative_error(wanted[:1], wanted[1:]) > 0.01  # the snippets differ
    mean, deviation = (torch.tensor(values).view(3, 1, 1, 1) for values in backbone.normalisation)
    levels = (255 * (clips * deviation + mean)).permute(0, 2, 3, 4, 1).numpy()
    shown = levels.round().astype(np.uint8)  # what torchvision's transforms make of the frames
    assert np.abs(levels - shown).max() < 1e-3
    ours = fitted(frames, published_frames(name, weights.name)).reshape(shown.shape)
    assert np.abs(ours.astype(int) - shown).max() <= 1  # OpenCV and torch round halves differently
    assert np.abs(ours.astype(int) - shown).mean() < 0.2
    for runtime in ("torch", "openvino"):
        monkeypatch.setenv("ACTIONREC_RUNTIME", runtime)
        extract = create_extractor(backbone, precision="fp32", size=shown.shape[2], device="cpu", threads=1)
        features = extract(shown)
        assert features.shape == wanted.shape
        assert relative_error(features, wanted) < 1e-3


@every_video_backbone
def test_random_weights_give_features_that_float16_holds_and_that_see_motion(name):
    length = length_of(name)
    backbone = create_backbone(settings(name), length)
    size = max(64, limits_of(name).resolution)
    frames = torch.from_numpy(film(length)[:, :size, :size].copy())
    with torch.inference_mode():
        forward, backward = backbone(torch.cat([frames, frames.flip(0)]))
    assert backbone.snippet_length == length
    assert 2**-8 < forward.abs().max() < 2**12
    assert ((forward.half().float() - forward).norm() / forward.norm()) < 1e-3
    assert not torch.allclose(forward, backward, rtol=1e-5)


def test_the_gain_does_not_depend_on_the_length_of_snippets():
    short, long = (create_backbone(settings("mc3_18"), length) for length in (1, 16))
    assert (short.gain, short.snippet_length) == (long.gain, 1)
    assert long.snippet_length == 16


def test_an_image_backbone_sees_single_frames():
    backbone = create_backbone(settings("shufflenet_v2_x0_5"), 8)
    assert (backbone.snippet_length, backbone.limits) == (1, None)


@pytest.mark.parametrize(
    ("name", "length", "size", "message"),
    [
        ("mvit_v2_s", 8, 112, "frames.snippet.length: does not fit mvit_v2_s; got 8, expected 16. Set it to 16."),
        ("s3d", 12, 224, "frames.snippet.length: does not fit s3d; got 12, expected 13 or more. Set it to 13 or more."),
        ("s3d", 13, 200, "frames.resolution: does not fit s3d; got 200, expected 224 or more. Set it to 224 or more."),
    ],
)
def test_frames_that_a_network_does_not_take_are_refused(name, length, size, message):
    backbone = without_weights(name, length)
    with pytest.raises(ParamsError) as caught:
        create_extractor(backbone, precision="fp32", size=size, device="cpu", threads=1)
    assert f"params.yaml: {message}" in str(caught.value).split("\n")


@pytest.mark.parametrize("name", VIDEO_BACKBONES)
def test_weights_of_a_video_backbone_are_recognised(name):
    with torch.device("meta"):
        state = torchvision.models.get_model(name, weights=None).state_dict()
    assert torchvision_models.model_of(state) == name


def test_an_error_about_weights_of_another_video_backbone_names_it(tmp_path):
    torch.save(torchvision.models.get_model("mc3_18", weights=None).state_dict(), tmp_path / "a.pth")
    with pytest.raises(WeightsError) as caught:
        create_backbone(settings("r3d_18", tmp_path / "a.pth"), 16)
    assert str(caught.value).endswith(
        "These are weights of mc3_18: set features.backbone to mc3_18, or features.weights to a file of r3d_18."
    )


@pytest.mark.parametrize(
    ("length", "on_cpu", "on_gpu"), [(1, 32, 128), (5, 30, 125), (16, 32, 128), (32, 32, 128), (200, 200, 200)]
)
def test_batches_have_whole_snippets(length, on_cpu, on_gpu):
    backbone = without_weights("mc3_18", length)
    assert (batch_frames(backbone, on_gpu=False), batch_frames(backbone, on_gpu=True)) == (on_cpu, on_gpu)
    image = create_backbone(settings("shufflenet_v2_x0_5"))
    assert batch_frames(image, on_gpu=False) == batch_frames(image, on_gpu=True) == BATCH
