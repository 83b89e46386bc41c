import subprocess
import sys

import pytest
import torch
from torch import nn

from actionrec.evaluation.cost import backbone_flops, backbone_memory, flops, latency, memory
from actionrec.features import backbones
from actionrec.models import MODELS, create_model
from actionrec.training.classifier import Classifier

FRAMES, D, K, H = 16, 24, 5, 12
ARGUMENTS = {
    "mean_pool": {},
    "mean_std": {},
    "middle_frame": {},
    **{name: {"hidden_dim": H} for name in ("simple_rnn", "lstm", "gru", "bilstm", "stacked_lstm")},
    "gru_attention": {"hidden_dim": H, "attention_dim": 7},
    "transformer": {"d_model": 16, "num_heads": 4, "num_layers": 3, "ff_dim": 40},
    "swin_transformer": {"dim": 8, "depths": (2, 2), "num_heads": (2, 4), "window": 4},
}


def model(name):
    return create_model(name, ARGUMENTS[name], feature_dim=D, class_count=K)


def recurrent(gates, inputs):
    """Each step multiplies the input and the state by the gates' weights."""
    return FRAMES * 2 * gates * H * (inputs + H)


def attention(tokens, window, width, mlp):
    """Query, key, value and output; scores and weighted sums within windows; two layers of the MLP."""
    return 2 * tokens * (4 * width**2 + 2 * width * mlp) + 2 * 2 * tokens * window * width


BY_HAND = {
    "mean_pool": 2 * D * K,
    "mean_std": 2 * 2 * D * K,
    "middle_frame": 2 * D * K,
    "simple_rnn": recurrent(1, D) + 2 * H * K,
    "lstm": recurrent(4, D) + 2 * H * K,
    "gru": recurrent(3, D) + 2 * H * K,
    "gru_attention": recurrent(3, D) + FRAMES * 2 * (7 * H + 7) + 2 * H * K,
    "bilstm": 2 * recurrent(4, D) + 2 * 2 * H * K,
    "stacked_lstm": recurrent(4, D) + recurrent(4, H) + 2 * H * K,
    "transformer": 2 * FRAMES * D * 16 + 3 * attention(FRAMES, FRAMES, 16, 40) + 2 * 16 * K,
    "swin_transformer": (
        2 * FRAMES * D * 8
        + 2 * attention(FRAMES, 4, 8, 32)
        + 2 * (FRAMES // 2) * 16 * 16  # merging: two frames of 8 joined, to 16
        + 2 * attention(FRAMES // 2, 4, 16, 64)
        + 2 * 16 * K
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_operations_are_those_of_the_formula(name):
    assert flops(model(name), FRAMES, D) == BY_HAND[name]


def test_the_standardiser_and_dropout_cost_no_matrix_product():
    assert flops(Classifier(D, model("gru").train()), FRAMES, D) == BY_HAND["gru"]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_left_as_it_was(name):
    network = model(name).train()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    flops(network, FRAMES, D)
    memory(network, FRAMES, D)
    latency(network, FRAMES, D, repeats=1)
    assert network.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


@pytest.fixture(scope="module")
def resnet18():
    return backbones.create_backbone(backbones.FeatureSettings("resnet18", "random", "fp32"))


def test_operations_of_a_backbone_are_those_of_its_formula(resnet18):
    """Convolutions of ResNet-18 at 224 pixels: multiply-accumulates per frame, from the paper's table (1.8 billion) in full."""
    first = 112**2 * 64 * 3 * 49
    blocks = 56**2 * 64 * 64 * 9 * 4
    for side, width in ((28, 128), (14, 256), (7, 512)):
        blocks += side**2 * width * (width // 2 * 9 + width * 9 * 3 + width // 2)  # four convolutions and the shortcut
    assert backbone_flops(resnet18, 1, 224) == 2 * (first + blocks)
    assert backbone_flops(resnet18, 5, 224) == 5 * 2 * (first + blocks)
    assert backbone_flops(resnet18, 1, 112) < backbone_flops(resnet18, 1, 224) / 3.5


def test_another_backbone_costs_something_else(resnet18):
    other = backbones.create_backbone(backbones.FeatureSettings("mobilenet_v2", "random", "fp32"))
    assert backbone_flops(other, 4, 224) < backbone_flops(resnet18, 4, 224) / 5
    assert backbone_memory(other, 4, 224).parameter_bytes < backbone_memory(resnet18, 4, 224).parameter_bytes / 4


def test_memory_of_a_backbone_grows_with_the_frames_at_a_time(resnet18):
    one, four = backbone_memory(resnet18, 1, 64), backbone_memory(resnet18, 4, 64)
    assert one.parameter_bytes == four.parameter_bytes > 4 * 11_176_512
    assert four.activation_bytes == 4 * one.activation_bytes
    assert next(resnet18.parameters()).device.type == "cpu"  # left as it was


def test_memory_by_hand():
    network = nn.Sequential(nn.Linear(D, 100), nn.ReLU(), nn.Linear(100, K))
    found = memory(network, FRAMES, D)
    assert found.parameter_bytes == 4 * (D * 100 + 100 + 100 * K + K)
    # The input is alive throughout; of the rest, the most at once is what goes into the ReLU and what comes out of it.
    assert found.activation_bytes == 4 * FRAMES * (D + 100 + 100)


def test_a_view_takes_no_memory_and_what_is_dropped_is_free():
    class Chain(nn.Module):
        def forward(self, clip):
            for _ in range(5):
                clip = (clip + 1).transpose(1, 2).transpose(1, 2)
            return clip

    assert memory(Chain(), FRAMES, D).activation_bytes == 4 * FRAMES * D * 3  # the input, a step's own, and what it makes


def test_a_view_of_a_parameter_is_no_activation():
    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(K, D))

        def forward(self, clip):
            return clip @ self.weight.t()

    assert memory(Product(), FRAMES, D).activation_bytes == 4 * FRAMES * (D + K)


@pytest.mark.parametrize("name", MODELS)
def test_memory_is_the_same_every_time_and_grows_with_the_clip(name):
    network = model(name)
    found = memory(network, FRAMES, D)
    assert memory(network, FRAMES, D) == found
    assert memory(network, 2 * FRAMES, D).activation_bytes > found.activation_bytes >= 4 * FRAMES * D


def test_parameters_count_in_their_own_type():
    network = nn.Linear(D, K)
    network.register_buffer("counts", torch.zeros(7, dtype=torch.int16))
    assert memory(network, FRAMES, D).parameter_bytes == 4 * (D * K + K) + 2 * 7


def test_counting_changes_no_setting_and_does_not_load_torchs_compiler():
    program = """
import sys, torch
from actionrec.evaluation.cost import flops, memory
from actionrec.models import create_model
model = create_model("transformer", {}, feature_dim=8, class_count=3)
before = torch.backends.mkldnn.enabled, torch.backends.mha.get_fastpath_enabled(), torch.backends.cuda.flash_sdp_enabled()
flops(model, 4, 8), memory(model, 4, 8)
after = torch.backends.mkldnn.enabled, torch.backends.mha.get_fastpath_enabled(), torch.backends.cuda.flash_sdp_enabled()
sys.exit(before != after or "torch._dynamo" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_latency_is_the_median_without_the_first_runs(monkeypatch):
    ticks = iter([0, 90, 90, 180, 180, 270, 270, 271, 271, 274, 274, 276])  # three to warm up, then 1, 3 and 2 seconds
    monkeypatch.setattr("actionrec.evaluation.cost.time.perf_counter", lambda: next(ticks))
    assert latency(model("gru"), FRAMES, D, repeats=3) == 2_000


def test_latency_runs_a_whole_clip_alone_on_as_many_threads_as_asked():
    seen = []

    class Spy(nn.Module):
        def forward(self, clip):
            seen.append((tuple(clip.shape), torch.get_num_threads(), self.training, torch.is_inference_mode_enabled()))
            return clip

    before = torch.get_num_threads()
    assert latency(Spy(), FRAMES, D, repeats=2) >= 0
    assert set(seen) == {((1, FRAMES, D), 1, False, True)}
    assert torch.get_num_threads() == before


def test_threads_are_given_back_when_a_model_fails():
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError):
        latency(nn.Linear(D + 1, K), FRAMES, D, threads=before + 1)
    assert torch.get_num_threads() == before


def test_latency_needs_repeats():
    with pytest.raises(ValueError, match="at least 1; got 0 and 1"):
        latency(nn.Identity(), FRAMES, D, repeats=0)
