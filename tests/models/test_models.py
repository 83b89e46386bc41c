import subprocess
import sys

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from actionrec.models import MODELS, create_model, model_class, model_keys, parameter_count

FEATURE_DIM, CLASS_COUNT = 8, 3
SMALL = {name: {"hidden_dim": 6, "dropout": 0.0} for name in MODELS} | {
    "mean_pool": {},
    "mean_std": {},
    "middle_frame": {},
    "stacked_lstm": {"hidden_dim": 6, "num_layers": 2, "dropout": 0.0},
    "gru_attention": {"hidden_dim": 6, "attention_dim": 5, "dropout": 0.0},
    "transformer": {"d_model": 16, "num_heads": 2, "num_layers": 2, "ff_dim": 32},
    "swin_transformer": {"dim": 8, "depths": (2, 2), "num_heads": (2, 4), "window": 4},
}

# Exact, at 50 classes and 2048 features; the recurrent ones and the Transformer are the study's own counts.
COUNTS = {
    "simple_rnn": 1_337_394,
    "lstm": 5_272_626,
    "gru": 3_960_882,
    "gru_attention": 3_960_882 + 512 * 128 + 128 + 128,
    "bilstm": 10_545_202,
    "stacked_lstm": 7_373_874,
    "transformer": 13_684_274,
    "swin_transformer": 4_226_986,
    "mean_pool": 102_450,
    "mean_std": 204_850,
    "middle_frame": 102_450,
}

SEQUENCE_MODELS = [name for name in MODELS if not getattr(model_class(name), "order_blind", False)]
every_sequence_model = pytest.mark.parametrize("name", SEQUENCE_MODELS)
every_model = pytest.mark.parametrize("name", MODELS)


def small(name):
    return create_model(name, SMALL[name], feature_dim=FEATURE_DIM, class_count=CLASS_COUNT).eval()


def clips(count, frames):
    return torch.randn(count, frames, FEATURE_DIM)


@pytest.mark.parametrize("name", COUNTS)
def test_default_sizes_have_the_expected_number_of_parameters(name):
    arguments = {"hidden_dim": 512} if "hidden_dim" in model_keys(name) else {}
    with torch.device("meta"):
        model = create_model(name, arguments, feature_dim=2048, class_count=50)
    assert parameter_count(model) == COUNTS[name]


class Copies(TorchDispatchMode):
    """Notes operations on tensors of a CPU and of a GPU, except that a CPU's scalar may fill a tensor."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, operation, types, arguments=(), named=None):
        result = operation(*arguments, **(named or {}))
        tensors = [leaf for leaf in tree_leaves((arguments, named, result)) if isinstance(leaf, torch.Tensor)]
        devices = {tensor.device.type for tensor in tensors if tensor.ndim}
        if len(devices) > 1 or operation is torch.ops.aten._local_scalar_dense.default:
            self.found.append(str(operation))
        return result


@pytest.mark.parametrize("name", ["swin_transformer", "transformer"])  # recurrent layers would load the GPU's driver
def test_a_model_on_a_gpu_copies_nothing_to_or_from_the_cpu(name):
    """A copy waits for the GPU, and cannot be captured in a CUDA graph."""
    model = small(name).train()
    with FakeTensorMode():
        for module in model.modules():
            for key, tensor in module._parameters.items():
                module._parameters[key] = None if tensor is None else nn.Parameter(torch.empty(tensor.shape, device="cuda"))
            for key, tensor in module._buffers.items():
                module._buffers[key] = torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda")
        features = torch.zeros(4, 9, FEATURE_DIM, device="cuda")
        with Copies() as copies:
            assert model(features).device.type == "cuda"
        assert copies.found == []
        with copies:
            features + torch.ones(4, 1, 1).to("cuda")
        assert copies.found == ["aten._to_copy.default"]


@every_model
@pytest.mark.parametrize("frames", [1, 2, 3, 7, 8, 9, 16, 31, 32, 33, 40])
def test_a_clip_of_any_length_gets_one_finite_logit_a_class(name, frames):
    logits = small(name)(clips(2, frames))
    assert logits.shape == (2, CLASS_COUNT)
    assert torch.isfinite(logits).all()


@every_model
def test_each_clip_is_judged_alone(name):
    model, features = small(name), clips(3, 10)
    others = torch.cat([100 * clips(1, 10), features[1:2], -100 * clips(1, 10)])
    torch.testing.assert_close(model(features)[1:2], model(features[1:2]))
    torch.testing.assert_close(model(others)[1:2], model(features[1:2]))


@every_model
def test_every_parameter_learns(name):
    model = small(name)
    functional.cross_entropy(model(clips(4, 12)), torch.tensor([0, 1, 2, 0])).backward()
    still = [key for key, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert still == []


@every_sequence_model
def test_the_order_of_frames_matters(name):
    model, features = small(name), clips(4, 12)
    changes = (model(features) - model(features.flip(1))).abs().amax(dim=1)
    assert (changes > 1e-4).all(), changes


@pytest.mark.parametrize("name", [*SEQUENCE_MODELS, "mean_pool", "mean_std"])
def test_every_frame_counts(name):
    model = small(name)
    features = clips(1, 11).requires_grad_()
    model(features).square().sum().backward()
    assert (features.grad[0].abs().amax(dim=1) > 0).all()


@pytest.mark.parametrize("name", sorted(set(MODELS) - set(SEQUENCE_MODELS)))
def test_the_order_of_the_other_frames_does_not_matter_to_a_baseline(name):
    model, features = small(name), clips(4, 11)
    torch.testing.assert_close(model(features), model(features.flip(1)))


@every_sequence_model
def test_dropout_acts_in_training_only(name):
    model = create_model(name, {**SMALL[name], "dropout": 0.5}, feature_dim=FEATURE_DIM, class_count=CLASS_COUNT)
    features = clips(2, 6)
    model.train()
    assert not torch.equal(model(features), model(features))
    model.eval()
    assert torch.equal(model(features), model(features))


@every_model
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(name):
    def flat(seed):
        torch.manual_seed(seed)
        return torch.cat([parameter.flatten() for parameter in small(name).parameters()])

    assert torch.equal(flat(1), flat(1))
    assert not torch.equal(flat(1), flat(2))


@every_model
def test_an_unknown_keyword_is_refused(name):
    with pytest.raises(TypeError, match="hiden_dim"):
        create_model(name, {**SMALL[name], "hiden_dim": 4}, feature_dim=FEATURE_DIM, class_count=CLASS_COUNT)


@every_model
def test_the_data_decides_features_and_classes_not_the_parameters(name):
    assert not {"feature_dim", "class_count"} & set(model_keys(name))
    assert set(SMALL[name]) <= set(model_keys(name))


@every_model
@pytest.mark.parametrize("value", [0, -1])
def test_a_size_below_one_is_a_value_error_that_a_stage_can_report(name, value):
    sizes = [key for key, size in SMALL[name].items() if key != "dropout"]
    assert sizes or name not in SEQUENCE_MODELS
    for key in sizes:
        wrong = (value, value) if isinstance(SMALL[name][key], tuple) else value
        with pytest.raises(ValueError, match=r"must be from 1 to \d+; got|at least 1|greater than zero"):
            create_model(name, {**SMALL[name], key: wrong}, feature_dim=FEATURE_DIM, class_count=CLASS_COUNT)


@pytest.mark.parametrize("size", [10**9, -(10**9)])
def test_a_size_without_a_limit_of_its_own_has_the_common_limit(size):
    with pytest.raises(ValueError, match=rf"kernel_size must be from -65536 to 65536; got {size}"):
        create_model("gru", {"hidden_dim": 6, "kernel_size": size}, feature_dim=FEATURE_DIM, class_count=CLASS_COUNT)


def test_names_are_sorted():
    assert list(MODELS) == sorted({*MODELS, *COUNTS})


@pytest.mark.parametrize("name", ["nope", "os", "layers", "gru.Gru", ""])
def test_a_name_that_is_not_a_models_is_a_key_error(name):
    with pytest.raises(KeyError):
        model_class(name)


def test_only_the_wanted_model_is_imported():
    code = (
        "import sys; from actionrec.models import MODELS, model_class; assert 'torch' not in sys.modules; model_class('gru');"
        "print([name for name in MODELS if f'actionrec.models.{name}' in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['gru']"
