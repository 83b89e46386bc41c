import math

import pytest
import torch
from torch import nn

from actionrec.models.transformer import Transformer, sinusoidal_positions

SMALL = {"feature_dim": 5, "class_count": 3, "d_model": 8, "num_heads": 2, "num_layers": 3, "ff_dim": 16}


@pytest.mark.parametrize("width", [2, 6, 8])
def test_positions_are_sines_in_even_columns_and_cosines_in_odd_ones(width):
    positions = sinusoidal_positions(40, width)
    assert positions.shape == (40, width)
    for frame in (0, 1, 7, 39):
        for pair in range(width // 2):
            angle = frame / 10_000 ** (2 * pair / width)
            assert positions[frame, 2 * pair].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert positions[frame, 2 * pair + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)


def test_a_longer_clip_has_the_same_first_positions():
    assert torch.equal(sinusoidal_positions(40, 8)[:16], sinusoidal_positions(16, 8))


def test_pre_norm_by_default_with_a_last_norm_that_has_no_parameters():
    model = Transformer(**SMALL)
    assert all(layer.norm_first for layer in model.encoder.layers)
    assert isinstance(model.encoder.norm, nn.LayerNorm)
    assert not list(model.encoder.norm.parameters())


def test_the_studys_post_norm_is_one_keyword_away():
    model = Transformer(**SMALL, norm_first=False)
    assert not any(layer.norm_first for layer in model.encoder.layers)
    assert model.encoder.norm is None
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in Transformer(**SMALL).parameters())


@pytest.mark.parametrize("norm_first", [True, False])
def test_equals_layers_written_out_by_hand(norm_first):
    model = Transformer(**SMALL, norm_first=norm_first).eval()
    features = torch.randn(1, 6, 5)
    frames = model.embed(features) + sinusoidal_positions(6, 8)
    for layer in model.encoder.layers:

        def attend(x, layer=layer):
            return layer.self_attn(x, x, x, need_weights=False)[0]

        def feed(x, layer=layer):
            return layer.linear2(torch.relu(layer.linear1(x)))

        if norm_first:
            frames = frames + attend(layer.norm1(frames))
            frames = frames + feed(layer.norm2(frames))
        else:
            frames = layer.norm1(frames + attend(frames))
            frames = layer.norm2(frames + feed(frames))
    if norm_first:
        frames = nn.functional.layer_norm(frames, (8,))
    torch.testing.assert_close(model(features), model.fc(frames.mean(dim=1)), rtol=1e-4, atol=1e-5)


def test_no_two_layers_start_with_the_same_weights():
    first, second, third = (layer.linear1.weight for layer in Transformer(**SMALL).encoder.layers)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)


@pytest.mark.parametrize(("d_model", "num_heads"), [(8, 3), (7, 7), (6, 4)])
def test_heads_must_divide_an_even_width(d_model, num_heads):
    with pytest.raises(ValueError, match="must be even and a multiple of num_heads") as caught:
        Transformer(**{**SMALL, "d_model": d_model, "num_heads": num_heads})
    assert str(caught.value) == f"d_model must be even and a multiple of num_heads; got {d_model} and {num_heads}"
