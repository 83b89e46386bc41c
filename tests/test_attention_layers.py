import pytest
import torch
from torch import nn

from actionrec.attention_layers import Dropout, LayerNorm


@pytest.fixture(autouse=True)
def seeded():
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("probability", [0.1, 0.3, 0.5, 0.9])
def test_dropout_keeps_the_share_and_the_mean_that_it_says(probability):
    kept = Dropout(probability)(torch.ones(1_000_003))
    share = (kept == 0).float().mean().item()
    assert share == pytest.approx(probability, abs=0.002)
    assert kept.mean().item() == pytest.approx(1, abs=0.006 / (1 - probability))
    assert kept.unique().numel() == 2


def test_dropped_neighbours_are_independent():
    dropped = (Dropout(0.3)(torch.ones(1_000_000)) == 0).float() - 0.3
    for lag in (1, 2, 3, 4, 5, 8):  # four are cut from one random number
        assert abs((dropped[:-lag] * dropped[lag:]).mean().item()) < 0.001


def test_dropout_lets_gradients_through_where_it_lets_values_through():
    values = torch.randn(200, requires_grad=True)
    kept = Dropout(0.4)(values)
    kept.sum().backward()
    torch.testing.assert_close(values.grad * values.detach(), kept.detach())


def test_dropout_follows_torchs_random_state():
    layer, values = Dropout(0.5), torch.ones(100)
    torch.manual_seed(3)
    first = layer(values)
    torch.manual_seed(3)
    assert torch.equal(layer(values), first)
    assert not torch.equal(layer(values), first)


@pytest.mark.parametrize(("layer", "wanted"), [(Dropout(0.0), 1), (Dropout(1.0), 0), (Dropout(0.5).eval(), 1)])
def test_dropout_of_nothing_of_everything_and_in_evaluation(layer, wanted):
    values = torch.randn(3, 5)
    assert torch.equal(layer(values), values * wanted)


def norms(shape=(3, 4, 10)):
    ours, torchs = LayerNorm(shape[-1]), nn.LayerNorm(shape[-1])
    with torch.no_grad():
        ours.weight.normal_()
        ours.bias.normal_()
    torchs.load_state_dict(ours.state_dict())
    return ours, torchs


@pytest.mark.parametrize("shape", [(3, 4, 10), (1, 1, 6), (5, 8)])
def test_layer_norm_and_its_gradients_are_torchs_own(shape):
    outcomes = []
    values, weights = torch.randn(shape), torch.randn(shape)
    for layer in norms(shape):
        shown = values.clone().requires_grad_()
        made = layer(shown)
        (made * weights).sum().backward()
        outcomes.append([made.detach(), shown.grad, layer.weight.grad, layer.bias.grad])
    for one, other in zip(*outcomes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_layer_norm_passes_through_what_is_no_contiguous_memory():
    ours, torchs = norms()
    shown = torch.randn(4, 3, 10).transpose(0, 1)
    torch.testing.assert_close(ours(shown), torchs(shown))
    ours(shown).transpose(0, 1).sum().backward()
    torchs(shown).transpose(0, 1).sum().backward()
    torch.testing.assert_close(ours.weight.grad, torchs.weight.grad, rtol=1e-5, atol=1e-5)


def test_without_gradients_layer_norm_is_torchs():
    ours, torchs = norms()
    shown = torch.randn(3, 4, 10)
    with torch.no_grad():
        assert torch.equal(ours(shown), torchs(shown))
