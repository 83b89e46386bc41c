"""Augmentation of pixels: what is drawn for a clip, and what it does to frames."""

from dataclasses import replace

import numpy as np
import pytest
from small_tuning import settings

from actionrec.finetuning.pixel_augmentation import Draw, augment, draw, middle_steps, segment_bounds

ALL = settings(segments=4, crop=0.3, flip=True, colour=0.4)
SIZE = (48, 64)
FRAMES = np.random.default_rng(0).integers(0, 256, (5, *SIZE, 3), dtype=np.uint8)
SAME = Draw(np.arange(2), (0, 0, *SIZE), False, np.eye(3, 4))
COUNTS = pytest.mark.parametrize(("steps", "segments"), [(1, 1), (8, 3), (32, 8), (7, 7), (100, 6)])


def drawn(clip="a/1.avi", seed=0, epoch=1, chosen=ALL, steps=10, size=SIZE):
    return draw(clip, seed, epoch, chosen, steps, size)


def same(one, other):
    return (
        np.array_equal(one.steps, other.steps)
        and (one.box, one.is_mirrored) == (other.box, other.is_mirrored)
        and np.array_equal(one.colours, other.colours)
    )


def many(chosen=ALL, **changes):
    return [drawn(f"{number}.avi", chosen=chosen, **changes) for number in range(300)]


def test_a_draw_depends_on_seed_epoch_and_clip_alone():
    assert same(drawn(), drawn())
    for change in ({"clip": "a/2.avi"}, {"seed": 1}, {"epoch": 2}):
        assert not same(drawn(**change), drawn())
    forward = [drawn(clip) for clip in "abcdef"]
    backward = [drawn(clip) for clip in "fedcba"][::-1]
    assert all(same(one, other) for one, other in zip(forward, backward, strict=True))


def test_a_switch_changes_no_other_draw():
    """So that runs with and without a mirror differ in the mirror alone."""
    without = many(replace(ALL, flip=False))
    assert not any(one.is_mirrored for one in without)
    assert all(same(replace(one, is_mirrored=False), other) for one, other in zip(many(), without, strict=True))


@COUNTS
def test_segments_cover_all_sample_points_and_differ_by_at_most_one(steps, segments):
    bounds = segment_bounds(steps, segments)
    assert (bounds[0], bounds[-1], len(bounds)) == (0, steps, segments + 1)
    lengths = np.diff(bounds)
    assert lengths.min() >= 1
    assert lengths.max() - lengths.min() <= 1


@COUNTS
def test_steps_are_inside_their_segments_and_reach_all_of_them(steps, segments):
    bounds, chosen = segment_bounds(steps, segments), replace(ALL, segments=segments)
    found = np.stack([one.steps for one in many(chosen, steps=steps)])
    assert found.shape == (300, segments)
    assert ((found >= bounds[:-1]) & (found < bounds[1:])).all()
    assert set(found.ravel()) == set(range(steps))
    middle = middle_steps(steps, segments)
    assert ((middle >= bounds[:-1]) & (middle < bounds[1:])).all()
    assert np.abs((middle - bounds[:-1]) - (bounds[1:] - 1 - middle)).max() <= 1


@pytest.mark.parametrize("size", [SIZE, (224, 224), (8, 300), (1, 1), (3, 2)])
@pytest.mark.parametrize("crop", [0.01, 0.3, 0.99])
def test_boxes_are_inside_the_frame_and_not_too_small(crop, size):
    for one in many(replace(ALL, crop=crop), size=size):
        top, left, height, width = one.box
        assert 0 <= top <= top + height <= size[0]
        assert 0 <= left <= left + width <= size[1]
        assert min(height, width) >= 1
        rounding = (height + width + 1) / 2
        assert height * width + rounding >= crop * size[0] * size[1]


def test_half_of_the_clips_are_mirrored():
    assert 110 < sum(one.is_mirrored for one in many()) < 190


def test_without_crop_mirror_and_colours_the_pixels_stay():
    for one in many(settings(segments=4)):
        assert one.box == (0, 0, *SIZE)
        np.testing.assert_array_equal(augment(FRAMES, one), FRAMES)


def test_a_mirror_mirrors():
    np.testing.assert_array_equal(augment(FRAMES, replace(SAME, is_mirrored=True)), FRAMES[:, :, ::-1])


def test_a_crop_is_resized_to_the_whole_frame():
    ramp = np.zeros((1, *SIZE, 3), np.uint8)
    ramp[:] = np.arange(SIZE[1], dtype=np.uint8)[:, None]
    cropped = augment(ramp, replace(SAME, box=(8, 16, 24, 32)))
    assert cropped.shape == ramp.shape
    assert (cropped.min(), cropped.max()) == (16, 47)
    assert (np.diff(cropped[0, 0, :, 0].astype(int)) >= 0).all()


def test_all_frames_of_a_clip_are_changed_alike_whatever_their_shape():
    for one in many()[:10]:
        together = augment(FRAMES, one)
        for frame, changed in zip(FRAMES, together, strict=True):
            np.testing.assert_array_equal(augment(frame[None], one)[0], changed)
        snippets = FRAMES[:4].reshape(2, 2, *SIZE, 3)
        np.testing.assert_array_equal(augment(snippets, one), together[:4].reshape(2, 2, *SIZE, 3))


def test_the_layout_in_memory_does_not_matter_and_the_input_stays():
    before = FRAMES.copy()
    strided = np.asfortranarray(FRAMES)
    for one in many()[:10]:
        np.testing.assert_array_equal(augment(strided, one), augment(FRAMES, one))
    np.testing.assert_array_equal(FRAMES, before)


def test_colours_keep_grey_grey_and_change_others():
    grey = np.repeat(FRAMES[..., :1], 3, axis=-1)
    for one in many()[:20]:
        colours = replace(SAME, colours=one.colours)
        assert np.ptp(augment(grey, colours).astype(int), axis=-1).max() <= 1  # rounding
        assert not np.array_equal(augment(FRAMES, colours), FRAMES)


@pytest.mark.parametrize("largest", [0.1, 0.4, 0.9])
def test_brightness_and_contrast_change_by_no_more_than_the_largest_share(largest):
    found = many(replace(ALL, colour=largest))
    contrast = np.array([1 - one.colours[0, 3] / 127.5 for one in found])
    of_grey = np.array([one.colours[:, :3].sum(axis=1) for one in found])  # what grey is multiplied by, in each channel
    brightness = of_grey[:, 0] / contrast
    np.testing.assert_allclose(of_grey, of_grey[:, :1].repeat(3, axis=1))
    for factors in (contrast, brightness):
        assert np.abs(factors - 1).max() <= largest + 1e-9
        assert np.abs(factors - 1).max() > 0.9 * largest
