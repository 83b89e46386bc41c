import pytest
import torch
from torch import nn

from actionrec.models.layers import lstm

FRAMES, INPUTS, HIDDEN = 6, 7, 5
LAYERS = {
    "lstm": lambda: nn.LSTM(INPUTS, HIDDEN, batch_first=True),
    "bilstm": lambda: nn.LSTM(INPUTS, HIDDEN, batch_first=True, bidirectional=True),
    "stacked_lstm": lambda: nn.LSTM(INPUTS, HIDDEN, num_layers=3, batch_first=True),
}


@pytest.fixture(params=LAYERS)
def layers(request):
    torch.manual_seed(0)
    made = LAYERS[request.param]()
    with torch.no_grad():
        for weight in made.parameters():
            weight.mul_(3)  # far enough from 0 for the non-linearities to count
    return made


def trained(layers, features):
    return lstm._through_layers(layers, features, 0.0, lstm._own_layer)


def outcome(run, layers, features):
    """Outputs, and the gradients of features and weights, for a loss that looks at every output."""
    features = features.clone().requires_grad_()
    layers.zero_grad()
    made = run(features)
    weights = torch.linspace(-1, 1, made.numel()).view_as(made)
    (made * weights).sum().backward()
    return [made.detach(), features.grad, *(weight.grad.clone() for weight in layers.parameters())]


@pytest.mark.parametrize("frames", [1, FRAMES])
def test_outputs_and_gradients_are_torchs_own(layers, frames):
    features = torch.randn(3, frames, INPUTS)
    ours = outcome(lambda shown: trained(layers, shown), layers, features)
    torchs = outcome(lambda shown: layers(shown)[0], layers, features)
    for one, other in zip(ours, torchs, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-5, atol=2e-6)


def test_gradients_are_those_of_finite_differences(layers):
    layers.double()
    # The layers compute sums in float32; in float64 torch's own do, and stand for finite differences of ours.
    features = torch.randn(2, 4, INPUTS, dtype=torch.float64)
    weight = next(layers.parameters())
    probe = torch.randn_like(weight)

    def loss():
        return layers(features)[0].square().sum().item()

    with torch.no_grad():
        weight += 1e-5 * probe
        above = loss()
        weight -= 2e-5 * probe
        below = loss()
        weight += 1e-5 * probe
    layers.float()
    layers.zero_grad()
    trained(layers, features.float()).square().sum().backward()
    assert (weight.grad * probe).sum().item() == pytest.approx((above - below) / 2e-5, rel=1e-3)


def test_without_gradients_torchs_own_kernels_run(layers):
    features = torch.randn(3, FRAMES, INPUTS)
    with torch.no_grad():
        assert torch.equal(lstm.outputs(layers, features), layers(features)[0])


def test_in_autocast_products_are_bf16_and_the_rest_is_not(layers):
    features = torch.randn(3, FRAMES, INPUTS) * 0.3
    exact = outcome(lambda shown: trained(layers, shown), layers, features)

    def in_bf16(shown):
        with torch.autocast("cpu", torch.bfloat16):
            return lstm.outputs(layers, shown)

    rounded = outcome(in_bf16, layers, features)
    assert all(one.dtype == torch.float32 for one in rounded)
    assert not torch.equal(rounded[0], exact[0])
    for one, other in zip(rounded, exact, strict=True):
        assert (one - other).norm() <= 0.1 * other.norm()


def test_an_lstm_in_float32_is_torchs_own(monkeypatch):
    monkeypatch.setattr(lstm, "_own_layer", lambda steps, weights: pytest.fail("ours"))
    layers = LAYERS["stacked_lstm"]()
    features = torch.randn(3, FRAMES, INPUTS)
    assert torch.equal(lstm.outputs(layers, features), layers(features)[0])


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("run", [lstm._own_layer, lstm._torchs_layer])
def test_dropout_between_layers_is_as_torchs(run, bidirectional):
    """With one seed, it is the same on a CPU."""
    size = {"num_layers": 3, "batch_first": True, "bidirectional": bidirectional}
    torchs = nn.LSTM(INPUTS, HIDDEN, dropout=0.5, **size)
    layers = nn.LSTM(INPUTS, HIDDEN, **size)
    layers.load_state_dict(torchs.state_dict())
    features = torch.randn(3, FRAMES, INPUTS)
    torch.manual_seed(5)
    found = outcome(lambda shown: lstm._through_layers(layers, shown, 0.5, run), layers, features)
    torch.manual_seed(5)
    wanted = outcome(lambda shown: torchs(shown)[0], torchs, features)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_dropout_is_between_layers_and_in_training_alone(precision):
    layers = LAYERS["stacked_lstm"]()
    features = torch.randn(3, FRAMES, INPUTS)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        assert not torch.equal(*(lstm.outputs(layers, features, 0.5) for _ in range(2)))
        assert torch.equal(*(lstm.outputs(layers.eval(), features, 0.5) for _ in range(2)))
        one_layer = LAYERS["lstm"]()
        assert torch.equal(*(lstm.outputs(one_layer, features, 0.5) for _ in range(2)))
