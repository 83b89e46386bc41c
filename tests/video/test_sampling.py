import numpy as np
import pytest

from actionrec.video.sampling import evenly_spaced, resize


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
