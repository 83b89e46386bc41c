"""Which frames of a clip are used, and how a picture becomes a square."""

import numpy as np
import pytest
import torch
from torchvision.transforms import functional

from actionrec.video.frame_settings import Snippet
from actionrec.video.sampling import evenly_spaced, resize, snippet_frames


@pytest.mark.parametrize("frame_count", [1, 2, 31, 32, 33, 64, 854, 99_999])
@pytest.mark.parametrize("wanted", [1, 2, 7, 32, 100])
def test_indices_are_numpy_s_linspace_rounded_down(frame_count, wanted):
    indices = evenly_spaced(frame_count, wanted)
    assert indices == np.floor(np.linspace(0, frame_count - 1, wanted)).astype(int).tolist()
    assert all(type(index) is int for index in indices)
    if frame_count >= wanted > 1:
        gaps = np.diff(indices)
        assert gaps.min() >= 1
        assert gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize(("frame_count", "wanted"), [(0, 4), (4, 0), (-1, 4)])
def test_counts_below_1_are_refused(frame_count, wanted):
    with pytest.raises(ValueError, match=f"counts must be at least 1; got {frame_count} frames and {wanted} wanted"):
        evenly_spaced(frame_count, wanted)


def test_a_picture_is_resized_and_not_cropped():
    picture = np.zeros((50, 100, 3), np.uint8)
    picture[:, :10], picture[:, -10:] = (255, 0, 0), (0, 0, 255)  # red left, blue right
    small = resize(picture, 40)
    assert small.shape == (40, 40, 3)
    assert small[20, 1].tolist() == [255, 0, 0]
    assert small[20, -2].tolist() == [0, 0, 255]


@pytest.mark.parametrize("size", [16, 40, 60, 120])
def test_resizing_keeps_the_mean_brightness(size):
    stripes = np.zeros((120, 160, 3), np.uint8)
    stripes[:, ::8], stripes[:, 1::8] = 255, 255
    assert resize(stripes, size).mean() == pytest.approx(stripes.mean(), abs=8)


@pytest.mark.parametrize("frame_count", [1, 5, 32, 100, 854])
@pytest.mark.parametrize("count", [1, 4, 32])
def test_snippets_of_one_frame_are_evenly_spaced_frames(frame_count, count):
    assert snippet_frames(frame_count, count, Snippet(), 25.0)[:, 0].tolist() == evenly_spaced(frame_count, count)


@pytest.mark.parametrize("rate", [None, 7.5, 15.0, 60.0])
@pytest.mark.parametrize("clip_rate", [10.0, 23.976, 25.0, 29.97, 30.0, 59.94])
def test_a_snippet_has_frames_at_its_rate_and_lies_within_the_clip(rate, clip_rate):
    found = snippet_frames(300, 5, Snippet(8, rate), clip_rate)
    assert found.shape == (5, 8)
    assert (found[0, 0], found[-1, -1]) == (0, 299)
    seconds = (found - found[:, :1]) / clip_rate
    wanted = np.arange(8) / (rate or clip_rate)
    assert np.abs(seconds - wanted).max() <= 0.5 / clip_rate + 1e-9  # the nearest frame
    assert (np.diff(found[:, 0]) > 0).all()


@pytest.mark.parametrize("error", [-1e-6, 0.0, 1e-6])
def test_a_rate_with_a_rounding_error_gives_the_same_frames(error):
    assert snippet_frames(100, 1, Snippet(5, 10.0), 25.0 + error).tolist() == [[0, 2, 5, 7, 10]]
    assert snippet_frames(100, 1, Snippet(4, 15.0), 30.0 + error).tolist() == [[0, 2, 4, 6]]


def test_a_clip_shorter_than_a_snippet_repeats_its_last_frame():
    assert snippet_frames(3, 2, Snippet(5), 25.0).tolist() == [[0, 1, 2, 2, 2]] * 2


def test_a_file_without_a_frame_rate_counts_as_25_frames_per_second():
    assert snippet_frames(100, 3, Snippet(4, 12.5), None).tolist() == snippet_frames(100, 3, Snippet(4, 12.5), 25.0).tolist()


def test_frames_repeat_where_a_snippet_is_faster_than_the_clip():
    assert snippet_frames(10, 1, Snippet(6, 20.0), 10.0).tolist() == [[0, 0, 1, 1, 2, 2]]


def smooth(height, width):
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([127 + 100 * np.sin(x / 9), 127 + 100 * np.cos(y / 7), (x + y) % 256 / 2], axis=2).astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), [(120, 160), (240, 320), (200, 150), (144, 144)])
@pytest.mark.parametrize(
    ("resolution", "fit", "size"),
    [(112, "crop", [128]), (224, "crop", [256]), (112, (128, 171), [128, 171]), (224, (256, 256), [256, 256])],
)
def test_a_square_shrunk_by_less_than_2_is_that_of_torchvisions_transforms(height, width, resolution, fit, size):
    picture = smooth(height, width)
    tensor = torch.from_numpy(picture).permute(2, 0, 1)
    expected = functional.center_crop(functional.resize(tensor, size, antialias=False), [resolution])
    found = resize(picture, resolution, fit)
    assert found.shape == (resolution, resolution, 3)
    assert np.abs(found - expected.permute(1, 2, 0).numpy().astype(int)).max() <= 1
    into = np.zeros_like(found)
    resize(picture, resolution, fit, into=into)
    assert np.array_equal(into, found)
