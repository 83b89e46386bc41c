import re
from itertools import pairwise

import pytest
import torch

from actionrec.models.swin_transformer import FrameMerging, SwinBlock, SwinTransformer, WindowAttention

DIM, HEADS, WINDOW = 8, 2, 4
SHIFT = WINDOW // 2


def block(shift):
    return SwinBlock(DIM, HEADS, WINDOW, shift, mlp_ratio=2, bias_std=2.0, dropout=0.0).eval()


def attention(shift):
    layer = WindowAttention(DIM, HEADS, WINDOW, shift, bias_std=2.0).eval()
    torch.nn.init.normal_(layer.position_bias)  # large enough to be seen
    return layer


def windows(length, shift):
    """Frames that may attend to each other: cut at shift, shift + WINDOW, ...; the clip's two ends are windows of their own."""
    shift = shift if length > WINDOW else 0
    cuts = sorted({0, length, *range(shift, length, WINDOW)})
    return [range(start, end) for start, end in pairwise(cuts)]


def seen_by(module, length):
    """For each output frame, the input frames that change it: perturbation, one frame at a time."""
    frames = torch.randn(1, length, DIM)
    with torch.no_grad():
        before = module(frames)[0]
        seen = [set() for _ in range(before.shape[0])]
        for frame in range(length):
            other = frames.clone()
            other[0, frame] = torch.randn(DIM)
            for place in torch.nonzero((module(other)[0] != before).any(dim=1)).flatten().tolist():
                seen[place].add(frame)
    return seen


@pytest.mark.parametrize("length", [1, 3, 4, 5, 7, 8, 11, 12, 16, 18])
@pytest.mark.parametrize("shift", [0, SHIFT])
def test_a_frame_sees_its_window_the_whole_window_and_nothing_else(length, shift):
    seen = seen_by(block(shift), length)
    for window in windows(length, shift):
        for frame in window:
            assert seen[frame] == set(window)


def by_hand(layer, frames):
    """Attention window by window and head by head: (T, C) -> (T, C)."""
    size = DIM // HEADS
    query, key, value = layer.qkv(frames).split(DIM, dim=1)
    joined = torch.zeros_like(frames)
    for window in windows(len(frames), layer.shift):
        for head in range(HEADS):
            columns = slice(head * size, (head + 1) * size)
            for one in window:
                scores = torch.stack(
                    [
                        query[one, columns] @ key[other, columns] / size**0.5 + layer.position_bias[one - other + WINDOW - 1, head]
                        for other in window
                    ]
                )
                weights = scores.softmax(dim=0)
                joined[one, columns] = sum(weight * value[other, columns] for weight, other in zip(weights, window, strict=True))
    return layer.project(joined)


@pytest.mark.parametrize("length", [1, 3, 4, 6, 8, 9, 13])
@pytest.mark.parametrize("shift", [0, SHIFT])
def test_window_attention_equals_loops_over_windows_and_heads(length, shift):
    layer, frames = attention(shift), torch.randn(2, length, DIM)
    with torch.no_grad():
        wanted = torch.stack([by_hand(layer, clip) for clip in frames])
        torch.testing.assert_close(layer(frames), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shift", [0, SHIFT])
def test_padding_never_influences_a_frame(shift, monkeypatch):
    layer, frames = attention(shift), torch.randn(1, 6, DIM)
    before = layer(frames)
    pad = torch.nn.functional.pad
    monkeypatch.setattr("actionrec.models.swin_transformer.functional.pad", lambda x, widths: pad(x, widths, value=1e3))
    assert torch.equal(layer(frames), before)


def test_relative_position_bias_tells_before_from_after():
    layer = attention(0)
    with torch.no_grad():
        layer.qkv.weight[: 2 * DIM] = 0  # blind to contents: only positions decide who is attended to
        layer.qkv.bias[: 2 * DIM] = 0
        frames = torch.randn(1, WINDOW, DIM)
        assert not torch.allclose(layer(frames), layer(frames.flip(1)).flip(1))
        layer.position_bias.zero_()
        torch.testing.assert_close(layer(frames), layer(frames.flip(1)).flip(1))


def test_merging_joins_each_two_neighbours():
    merging = FrameMerging(DIM)
    frames = torch.randn(2, 6, DIM)
    merged = merging(frames)
    assert merged.shape == (2, 3, 2 * DIM)
    for place in range(3):
        pair = torch.cat([frames[:, 2 * place], frames[:, 2 * place + 1]], dim=1)
        torch.testing.assert_close(merged[:, place], merging.reduce(merging.norm(pair)))


@pytest.mark.parametrize("length", [1, 3, 5])
def test_merging_joins_an_odd_clips_last_frame_with_itself(length):
    merging = FrameMerging(DIM)
    frames = torch.randn(2, length, DIM)
    even = torch.cat([frames, frames[:, -1:]], dim=1)
    assert merging(frames).shape == (2, (length + 1) // 2, 2 * DIM)
    assert torch.equal(merging(frames), merging(even))


def test_every_other_block_is_shifted_and_each_stage_starts_unshifted():
    model = SwinTransformer(feature_dim=5, class_count=3, dim=8, depths=(2, 3), num_heads=(2, 4), window=4)
    shifts = [part.attention.shift for part in model.stages if isinstance(part, SwinBlock)]
    assert shifts == [0, 2, 0, 2, 0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_heads": (4,)}, "depths and num_heads need one number per stage each; got [2, 6] and [4]"),
        ({"depths": (), "num_heads": ()}, "depths and num_heads need one number per stage each; got [] and []"),
        ({"num_heads": (3, 8)}, "a stage's width must be a multiple of its heads; got 112 and 3"),
        ({"window": 0}, "dim, window, mlp_ratio and each of depths and num_heads must be at least 1"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(wrong, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        SwinTransformer(feature_dim=5, class_count=3, **wrong)
