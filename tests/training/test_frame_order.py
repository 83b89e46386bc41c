import numpy as np
import pytest
import torch

from actionrec.training.frame_order import PERTURBATIONS, one_frame_repeated, reversed_in_time, shuffled

CLIPS = ["Yoyo/v_Yoyo_g01_c01.avi", "Yoyo/v_Yoyo_g01_c02.avi", "Größe/ä.mp4"]


@pytest.fixture
def features():
    """(B, T, D) float16, each frame told from every other."""
    return torch.arange(3 * 32 * 4, dtype=torch.float16).reshape(3, 32, 4)


def frames(clip):
    return sorted(tuple(frame) for frame in clip.tolist())


def test_a_shuffle_moves_whole_frames_of_a_clip(features):
    moved = shuffled(features, CLIPS, seed=0)
    for before, after in zip(features, moved, strict=True):
        assert frames(before) == frames(after)
        assert not torch.equal(before, after)


def test_each_clip_has_an_order_of_its_own(features):
    moved = shuffled(features, CLIPS, seed=0) - features[:, :1]  # each clip counts from 0
    assert not torch.equal(moved[0], moved[1])
    assert not torch.equal(moved[1], moved[2])


def test_a_clip_s_order_depends_on_its_id_and_the_seed_and_not_on_its_place(features):
    moved = shuffled(features, CLIPS, seed=0)
    torch.testing.assert_close(shuffled(features[1:2], CLIPS[1:2], seed=0), moved[1:2], rtol=0, atol=0)
    torch.testing.assert_close(shuffled(features.flip(0), CLIPS[::-1], seed=0).flip(0), moved, rtol=0, atol=0)
    assert not torch.equal(shuffled(features, CLIPS, seed=1), moved)


def test_the_order_is_the_same_in_every_process():
    steps = torch.arange(6)[None, :, None]
    assert shuffled(steps, ["a"], seed=0).flatten().tolist() == [5, 1, 3, 4, 2, 0]


def test_all_orders_are_drawn_alike():
    clips = [f"{number}.avi" for number in range(600)]
    moved = shuffled(torch.arange(3).repeat(600, 1)[:, :, None], clips, seed=0)
    orders, counts = np.unique(moved[:, :, 0].numpy(), axis=0, return_counts=True)
    assert len(orders) == 6
    assert counts.min() > 70  # 100 each, but for chance


def test_a_clip_without_an_id_is_refused(features):
    with pytest.raises(ValueError, match="one id per clip is needed; got 2, expected 3"):
        shuffled(features, CLIPS[:2], seed=0)


def test_reversed_is_last_frame_first_and_twice_is_not_at_all(features):
    backwards = reversed_in_time(features)
    assert torch.equal(backwards[:, 0], features[:, -1])
    assert torch.equal(reversed_in_time(backwards), features)


@pytest.mark.parametrize(("length", "middle"), [(1, 0), (2, 1), (5, 2), (32, 16)])
def test_one_frame_is_the_middle_one(length, middle):
    clip = torch.arange(length, dtype=torch.float32)[None, :, None]
    assert one_frame_repeated(clip).flatten().tolist() == [middle] * length


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_perturbation_keeps_shape_and_type_and_leaves_its_input(features, name):
    before = features.clone()
    moved = PERTURBATIONS[name](features, CLIPS, 0)
    assert (moved.shape, moved.dtype) == (features.shape, features.dtype)
    assert not torch.equal(moved, features)
    moved.zero_()
    assert torch.equal(features, before)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_no_clips_stay_no_clips(name):
    assert PERTURBATIONS[name](torch.zeros(0, 4, 2), [], 0).shape == (0, 4, 2)
