from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer

from actionrec.core.errors import ActionrecError, ParamsError, WeightsError
from actionrec.features import extractors
from actionrec.features.backbones import Backbone, FeatureSettings, create_backbone
from actionrec.features.extractors import BATCH, Extractor, create_extractor, feature_dim, runtime
from actionrec.features.frame_requirements import FrameLimits
from actionrec.features.streams import pictures_of

SIZE = 48

with_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")
every_runtime = pytest.mark.parametrize("chosen", ["torch", pytest.param("openvino", marks=with_openvino)])
every_precision = pytest.mark.parametrize("precision", ["fp32", "bf16"])


@pytest.fixture
def tiny():
    """A backbone of two convolutions: 6 features."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 6, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    return Backbone(nn.Sequential(*layers)).eval().requires_grad_(False)


@pytest.fixture
def tiny_video():
    """A video network of two convolutions for snippets of 5 frames: 6 features."""
    torch.manual_seed(0)
    layers = nn.Conv3d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv3d(8, 6, (2, 3, 3), stride=2), nn.ReLU(), nn.AdaptiveAvgPool3d(1)
    return Backbone(nn.Sequential(*layers), snippet_length=5, limits=FrameLimits("tiny")).eval().requires_grad_(False)


@pytest.fixture
def make(monkeypatch):
    def make(backbone, chosen, precision="fp32", size=SIZE, **streams):
        monkeypatch.setenv("ACTIONREC_RUNTIME", chosen)
        return create_extractor(backbone, precision=precision, size=size, device="cpu", threads=1, **streams)

    return make


def clip(frame_count, seed=0, size=SIZE):
    return np.random.default_rng(seed).integers(0, 256, (frame_count, size, size, 3), dtype=np.uint8)


def relative_error(got, wanted):
    return np.linalg.norm(got.astype(np.float64) - wanted) / np.linalg.norm(wanted.astype(np.float64))


@every_runtime
@every_precision
def test_features_are_the_backbones_to_rounding(make, tiny, chosen, precision):
    frames = clip(5)
    wanted = tiny(torch.from_numpy(frames)).numpy()
    features = make(tiny, chosen, precision)(frames)
    assert features.shape == (5, 6)
    assert features.dtype == np.float16
    assert relative_error(features, wanted) < (1e-3 if precision == "fp32" else 2e-2)


@with_openvino
def test_openvino_and_torch_agree_on_a_whole_network(make):
    backbone, frames = create_backbone(FeatureSettings("mobilenet_v2", "random", "fp32")), clip(3)
    expected = backbone(torch.from_numpy(frames)).numpy()
    for chosen in ("torch", "openvino"):
        assert relative_error(make(backbone, chosen)(frames), expected) < 1e-3
        assert relative_error(make(backbone, chosen, "bf16")(frames), expected) < 3e-2


@every_runtime
@every_precision
def test_a_clips_bytes_do_not_depend_on_other_clips(make, tiny, chosen, precision):
    extract = make(tiny, chosen, precision)
    clips = [clip(frame_count, seed=seed) for seed, frame_count in enumerate((7, 1, 2 * BATCH + 6, 7))]
    alone = [extract(one).tobytes() for one in clips]
    assert [one.tobytes() for one in extract.each(iter(clips))] == alone
    assert [extract(one).tobytes() for one in reversed(clips)] == alone[::-1]
    assert make(tiny, chosen, precision)(clips[0]).tobytes() == alone[0]
    parts = [extract(clips[2][start : start + BATCH]) for start in (0, BATCH, 2 * BATCH)]
    assert np.concatenate(parts).tobytes() == alone[2]
    assert list(extract.each([])) == []


@every_runtime
def test_each_frame_gets_its_own_features_in_order(make, tiny, chosen):
    frames = clip(40)
    features = make(tiny, chosen)(frames)
    np.testing.assert_array_equal(make(tiny, chosen)(frames[::-1]), features[::-1])


@every_runtime
@every_precision
def test_streams_are_side_by_side_in_the_given_order(make, tiny, chosen, precision):
    frames = clip(2 * BATCH + 3)
    alone = {stream: make(tiny, chosen, precision, streams=(stream,))(frames) for stream in ("rgb", "diff")}
    np.testing.assert_array_equal(alone["rgb"], make(tiny, chosen, precision)(frames))
    for streams in (("rgb", "diff"), ("diff", "rgb")):
        features = make(tiny, chosen, precision, streams=streams)(frames)
        assert features.shape == (2 * BATCH + 3, 12)
        assert features.dtype == np.float16
        np.testing.assert_array_equal(features, np.concatenate([alone[stream] for stream in streams], axis=1))


@every_runtime
@every_precision
def test_features_of_differences_are_the_backbones_of_their_pictures(make, tiny, chosen, precision):
    frames = clip(BATCH + 8)  # the difference at the end of a batch needs the next batch's first frame
    wanted = tiny(torch.from_numpy(pictures_of(frames, "diff"))).numpy()
    features = make(tiny, chosen, precision, streams=("diff",))(frames)
    assert relative_error(features, wanted) < (1e-3 if precision == "fp32" else 2e-2)
    np.testing.assert_array_equal(features[-1], features[-2])


def snippets(count, length=5, seed=0):
    return clip(count * length, seed).reshape(count, length, SIZE, SIZE, 3)


@every_runtime
@every_precision
def test_an_image_networks_feature_of_a_snippet_is_the_mean_over_its_frames(make, tiny, chosen, precision):
    shown = snippets(9)
    frames = shown.reshape(-1, SIZE, SIZE, 3)
    wanted = tiny(torch.from_numpy(frames)).numpy().reshape(9, 5, 6).mean(axis=1)
    extract = make(tiny, chosen, precision)
    features = extract(shown)
    assert (features.shape, features.dtype) == ((9, 6), np.float16)
    assert relative_error(features, wanted) < (1e-3 if precision == "fp32" else 2e-2)
    np.testing.assert_array_equal(extract(shown[:, :1]), extract(shown[:, 0]))


@every_runtime
@every_precision
def test_a_video_network_gives_a_feature_for_each_snippet(make, tiny_video, chosen, precision):
    shown = snippets(9)  # batches of 30 frames and of 15
    network, mean, scale = tiny_video.network, tiny_video.mean.view(3, 1, 1, 1), tiny_video.scale.view(3, 1, 1, 1)
    wanted = network((torch.from_numpy(shown).permute(0, 4, 1, 2, 3) - mean) * scale).flatten(1).numpy()
    extract = make(tiny_video, chosen, precision)
    features = extract(shown)
    assert (features.shape, features.dtype) == ((9, 6), np.float16)
    assert relative_error(features, wanted) < (1e-3 if precision == "fp32" else 2e-2)
    np.testing.assert_array_equal(extract(shown[::-1]), features[::-1])
    others = [snippets(2, seed=1), shown, snippets(1, seed=2)]
    np.testing.assert_array_equal(list(extract.each(others))[1], features)


@every_runtime
def test_differences_within_a_snippet_do_not_see_the_next_snippet(make, tiny_video, chosen):
    shown = snippets(3)
    extract = make(tiny_video, chosen, streams=("rgb", "diff"))
    features = extract(shown)
    assert features.shape == (3, 12)
    pictures = np.stack([pictures_of(one, "diff") for one in shown])
    np.testing.assert_array_equal(features[:, 6:], make(tiny_video, chosen)(pictures))
    np.testing.assert_array_equal(extract(shown[1:2]), features[1:2])


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
@every_runtime
def test_frames_may_lie_scattered_in_memory_or_be_read_only(make, tiny, chosen):
    frames = clip(4)
    extract = make(tiny, chosen, streams=("rgb", "diff"))
    wanted = extract(frames)
    scattered = np.ascontiguousarray(frames[..., ::-1])[..., ::-1]
    np.testing.assert_array_equal(extract(scattered), wanted)
    frames.flags.writeable = False
    np.testing.assert_array_equal(extract(frames), wanted)


def test_making_an_extractor_leaves_the_backbone_as_it_is(make, tiny):
    before = {name: tensor.clone() for name, tensor in tiny.state_dict().items()}
    make(tiny, "torch", "bf16")
    for name, tensor in tiny.state_dict().items():
        assert tensor.dtype == before[name].dtype
        assert torch.equal(tensor, before[name])


@every_runtime
@every_precision
def test_features_that_float16_cannot_hold_are_refused(make, tiny, chosen, precision):
    with torch.no_grad():
        tiny.network[2].weight.abs_().mul_(1e6)
    with pytest.raises(WeightsError) as caught:
        make(tiny, chosen, precision)(clip(2))
    assert str(caught.value) == (
        "the backbone gives features that are not finite, or larger than float16 can store (65504). "
        "Check features.weights, or try features.precision fp32."
    )


def test_a_size_that_the_network_does_not_take_is_refused(make):
    network = VisionTransformer(image_size=32, patch_size=16, num_layers=1, num_heads=1, hidden_dim=8, mlp_dim=8)
    with pytest.raises(ParamsError) as caught:
        make(Backbone(network).eval(), "torch", size=64)
    assert str(caught.value) == (
        "params.yaml: features.backbone does not accept frames.resolution 64 (Wrong image height! Expected 32 but got 64!). "
        "Change one of them."
    )


class AsLargeAsValuesSay(nn.Module):
    """Needs more than the shape of its pictures, as a network of one's own may."""

    def forward(self, pictures):
        return pictures.mean((2, 3))[:, : 1 + int(pictures.isfinite().all())]


def test_features_are_counted_without_computing_them_if_shapes_are_enough(tiny, tiny_video, monkeypatch):
    assert feature_dim(Backbone(AsLargeAsValuesSay()), SIZE) == 2
    monkeypatch.setattr(torch, "zeros", None)
    assert (feature_dim(tiny, SIZE), feature_dim(tiny_video, SIZE)) == (6, 6)
    assert next(tiny.parameters()).device.type == "cpu"


def test_the_number_of_features_leaves_the_network_as_it_was():
    class Remembers(nn.Module):
        """Keeps a tensor of its first call."""

        ones = None

        def forward(self, pictures):
            if self.ones is None:
                self.ones = torch.ones(2, device=pictures.device)
            return pictures.mean(dim=(1, 2, 3))[:, None] * self.ones

    backbone = Backbone(Remembers()).eval()
    assert feature_dim(backbone, SIZE) == 2
    assert backbone(torch.zeros(1, SIZE, SIZE, 3, dtype=torch.uint8)).shape == (1, 2)


def test_a_snippet_that_a_video_network_does_not_take_is_refused(make, tiny_video):
    tiny_video.snippet_length = 4  # too short for its second convolution
    with pytest.raises(ParamsError) as caught:
        make(tiny_video, "torch")
    refused = "params.yaml: features.backbone does not accept frames.resolution 48 with frames.snippet.length 4 ("
    assert str(caught.value).startswith(refused)
    tiny_video.limits = FrameLimits("tiny", length=5, resolution=64)
    with pytest.raises(ParamsError) as caught:
        make(tiny_video, "torch")
    assert str(caught.value) == (
        "params.yaml: frames.resolution: does not fit tiny; got 48, expected 64 or more. Set it to 64 or more.\n"
        "params.yaml: frames.snippet.length: does not fit tiny; got 4, expected 5 or more. Set it to 5 or more."
    )


@with_openvino
def test_the_runtime_is_openvino_on_a_cpu_unless_the_variable_says_otherwise(monkeypatch):
    for text, expected in (("", "openvino"), ("openvino", "openvino"), ("torch", "torch")):
        monkeypatch.setenv("ACTIONREC_RUNTIME", text)
        assert runtime("cpu") == expected
        assert runtime("cuda:1") == "torch"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_an_unknown_runtime_is_rejected(monkeypatch, device):
    monkeypatch.setenv("ACTIONREC_RUNTIME", "onnx")
    with pytest.raises(ActionrecError) as caught:
        runtime(device)
    assert str(caught.value) == "ACTIONREC_RUNTIME must be openvino or torch; got 'onnx'"


def test_without_openvino_torch_runs_unless_openvino_was_asked_for(monkeypatch):
    monkeypatch.setattr(extractors, "find_spec", lambda name: None)
    monkeypatch.delenv("ACTIONREC_RUNTIME", raising=False)
    assert runtime("cpu") == "torch"
    monkeypatch.setenv("ACTIONREC_RUNTIME", "openvino")
    with pytest.raises(ActionrecError) as caught:
        runtime("cpu")
    assert str(caught.value) == "ACTIONREC_RUNTIME is openvino, which is not installed. Install it, or set it to torch."


@pytest.mark.gpu
@every_precision
def test_a_gpu_gives_the_same_features_to_rounding(tiny, precision):
    frames = clip(40)
    extract = create_extractor(tiny, precision=precision, size=SIZE, device="cuda", threads=1, streams=("rgb", "diff"))
    wanted = np.concatenate([tiny(torch.from_numpy(pictures_of(frames, name))).numpy() for name in ("rgb", "diff")], axis=1)
    assert relative_error(extract(frames), wanted) < (2e-3 if precision == "fp32" else 3e-2)
    clips = [clip(32, seed) for seed in range(12)]
    assert [one.tobytes() for one in extract.each(iter(clips))] == [extract(one).tobytes() for one in clips]


@pytest.mark.gpu
@every_precision
def test_a_gpu_gives_the_same_features_of_snippets_to_rounding(tiny_video, precision):
    shown = snippets(30)
    wanted = tiny_video(torch.from_numpy(shown).flatten(0, 1)).numpy()
    extract = create_extractor(tiny_video, precision=precision, size=SIZE, device="cuda", threads=1)
    assert relative_error(extract(shown), wanted) < (2e-3 if precision == "fp32" else 3e-2)


@pytest.mark.parametrize("ahead", [0, 1, 2, 10])
def test_later_clips_are_started_before_an_earlier_one_is_awaited(ahead):
    events = []

    def run(frames):
        number = int(frames[0, 0, 0, 0])
        events.append(f"start {number}")
        return lambda: events.append(f"end {number}") or np.full((len(frames), 2), number, dtype=np.float32)

    clips = [np.full((1, 2, 2, 3), number, dtype=np.uint8) for number in range(4)]
    assert [features[0, 0] for features in Extractor(run, ahead).each(clips)] == [0, 1, 2, 3]
    first_end = events.index("end 0")
    assert events[:first_end] == [f"start {number}" for number in range(min(ahead + 1, 4))]
    assert [event for event in events if event.startswith("end")] == [f"end {number}" for number in range(4)]


@pytest.mark.parametrize("ahead", [0, 1, 10])
def test_clips_before_an_error_have_features(ahead):
    def clips():
        yield from np.zeros((3, 1, 2, 2, 3), np.uint8)
        raise OSError("the disk is gone")

    each = Extractor(lambda frames: lambda: np.ones((len(frames), 2), np.float32), ahead).each(clips())
    assert [len(next(each)) for _ in range(3)] == [1, 1, 1]
    with pytest.raises(OSError, match="the disk is gone"):
        next(each)


def test_features_are_rounded_to_float16_as_numpy_rounds():
    bits = np.random.default_rng(0).integers(0, 2**32, 300_000, dtype=np.uint32).view(np.float32)
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)  # 0 to 65504, subnormal numbers included
    values = np.concatenate([bits[np.abs(bits) <= 65504], halves, (halves[1:] + halves[:-1]) / 2, -halves])
    features = Extractor(lambda frames: lambda: values[None], 0)(np.zeros((1, 2, 2, 3), np.uint8))
    assert features.tobytes() == values[None].astype(np.float16).tobytes()
    for wrong in (np.nan, np.inf, -np.inf, 65520, -65505):
        with pytest.raises(WeightsError, match="not finite, or larger"):
            Extractor(lambda frames, wrong=wrong: lambda: np.array([[0, wrong, 1]], np.float32), 0)(
                np.zeros((1, 2, 2, 3), np.uint8)
            )
