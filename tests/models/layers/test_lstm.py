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
    return lstm._through_layers(layers, features, lstm._own_layer)


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


def test_dropout_stands_between_layers_while_training():
    torch.manual_seed(0)
    layers = nn.LSTM(INPUTS, HIDDEN, num_layers=2, dropout=0.5, batch_first=True)
    features = torch.randn(3, FRAMES, INPUTS)
    first, second = (trained(layers, features) for _ in range(2))
    assert not torch.equal(first, second)
    layers.eval()
    first, second = (trained(layers, features) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_layers_one_at_a_time_with_dropout_between_them_are_torchs_own(bidirectional):
    """As they are trained on a GPU; on a CPU, torch draws the same dropout."""
    layers = nn.LSTM(INPUTS, HIDDEN, num_layers=3, dropout=0.5, batch_first=True, bidirectional=bidirectional)
    features = torch.randn(3, FRAMES, INPUTS)

    def seeded(run):
        torch.manual_seed(5)
        return outcome(run, layers, features)

    ours = seeded(lambda shown: lstm._through_layers(layers, shown, lstm._torchs_layer))
    torchs = seeded(lambda shown: layers(shown)[0])
    for one, other in zip(ours, torchs, strict=True):
        torch.testing.assert_close(one, other)
