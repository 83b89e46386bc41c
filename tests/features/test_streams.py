"""What the backbone sees: frames, and the differences of neighbouring frames."""

import numpy as np
import pytest
import torch

from actionrec.features.settings import FeatureSettings, described_streams, streams_of
from actionrec.features.streams import pictures, pictures_of


def reference(frames):
    """The definition, in float64 and for pictures from 0 to 1: (b - a) / 128 + 0.5, clipped; then 8 bits."""
    signed = np.diff(frames.astype(np.float64), axis=0)
    signed = np.concatenate([signed, signed[-1:]])
    return np.floor(255 * np.clip(signed / 128 + 0.5, 0, 1) + 0.5)


def clip(frame_count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (frame_count, 6, 5, 3), dtype=np.uint8)


def every_pair_of_levels():
    """A clip of two frames that have, at one pixel or another, every pair of levels."""
    first, second = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    return np.stack([np.stack([one] * 3, axis=2) for one in (first, second)])


def test_differences_of_every_pair_of_levels_are_those_of_the_definition():
    shown = pictures_of(every_pair_of_levels(), "diff")
    assert shown.dtype == np.uint8
    np.testing.assert_array_equal(shown, reference(every_pair_of_levels()))


@pytest.mark.parametrize(
    ("earlier", "later", "shown"), [(9, 9, 128), (0, 64, 255), (0, 255, 255), (64, 0, 0), (255, 0, 0), (10, 42, 191)]
)
def test_known_differences(earlier, later, shown):
    frames = np.stack([np.full((2, 2, 3), level, dtype=np.uint8) for level in (earlier, later)])
    assert set(pictures_of(frames, "diff")[0].ravel().tolist()) == {shown}


def test_each_picture_is_the_change_to_the_next_frame_and_the_last_one_repeats():
    frames = clip(7)
    shown = pictures_of(frames, "diff")
    assert shown.shape == frames.shape
    np.testing.assert_array_equal(shown, reference(frames))
    np.testing.assert_array_equal(shown[-1], shown[-2])
    for place in range(6):
        np.testing.assert_array_equal(pictures_of(frames[place : place + 2], "diff")[0], shown[place])


def test_a_single_frame_does_not_change():
    assert (pictures_of(clip(1), "diff") == 128).all()


def test_frames_played_backwards_change_the_other_way():
    """Grey levels around 127.5 are mirrored; no change is 128 both ways."""
    frames = clip(6)
    forward, backward = (pictures_of(one, "diff").astype(int) for one in (frames, frames[::-1]))
    assert np.abs(forward[:5] + backward[:5][::-1] - 255).max() <= 1


def test_rgb_is_the_frames_themselves():
    frames = clip(4)
    assert pictures_of(frames, "rgb") is frames
    shown = torch.from_numpy(frames)
    assert pictures(shown, "rgb") is shown


def test_the_frames_are_left_as_they_are():
    frames = clip(4)
    pictures_of(frames, "diff")
    np.testing.assert_array_equal(frames, clip(4))


def test_batches_and_channels_first_give_the_same_pictures():
    """The form that exported models take: (B, T, 3, H, W), in 32-bit arithmetic."""
    clips = np.stack([clip(5, seed) for seed in range(3)])
    shown = pictures(torch.from_numpy(clips.transpose(0, 1, 4, 2, 3).copy()), "diff", torch.int32).numpy()
    for one, expected in zip(shown, clips, strict=True):
        np.testing.assert_array_equal(one.transpose(0, 2, 3, 1), pictures_of(expected, "diff"))


@pytest.mark.parametrize("streams", [[], ["rgb", "rgb"], ["diff", "rgb", "diff"]])
def test_streams_are_named_once(streams):
    with pytest.raises(ValueError, match="streams must name at least one stream, and each only once; got ") as caught:
        FeatureSettings("resnet18", "random", "fp32", streams)
    assert str(streams) in str(caught.value)


def test_descriptions_name_streams_only_if_they_are_not_rgb_alone():
    assert described_streams(("rgb",)) == {}
    assert streams_of({}) == ("rgb",)
    for streams in (("diff",), ("rgb", "diff"), ("diff", "rgb")):
        assert described_streams(streams) == {"streams": list(streams)}
        assert streams_of(described_streams(streams)) == streams
