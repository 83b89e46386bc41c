import pytest
import torch

from actionrec.models.layers.dropout import Dropout


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


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
