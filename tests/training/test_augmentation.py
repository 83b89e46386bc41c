import numpy as np
import pytest
import torch
from scipy import stats

from actionrec.training import augmentation

CLIPS, FRAMES = 400, 12
OFF = {"time_jitter": 0, "drop_frames": 0.0}


def steps(clips=CLIPS, frames=FRAMES, seed=3, epoch=2, **changes):
    return augmentation.time_steps(clips, frames, **{**OFF, **changes}, seed=seed, epoch=epoch)


def random():
    return np.random.default_rng(0)


def test_without_jitter_and_drops_every_step_stays():
    assert (steps() == np.arange(FRAMES)).all()


@pytest.mark.parametrize("most", [1, 3])
def test_jitter_moves_features_by_at_most_that_many_steps_and_keeps_their_order(most):
    moved = steps(time_jitter=most)
    distance = moved - np.arange(FRAMES)
    assert set(np.unique(distance)) == set(range(-most, most + 1))
    assert (np.diff(moved, axis=1) >= 0).all()
    assert moved.min() == 0
    assert moved.max() == FRAMES - 1


def test_jitter_has_no_direction():
    inner = steps(time_jitter=2)[:, 3:-3] - np.arange(3, FRAMES - 3)
    assert abs(inner.mean()) < 0.05


@pytest.mark.parametrize("most", [FRAMES, 10**30])
def test_jitter_beyond_the_clip_is_jitter_over_the_whole_clip(most):
    assert np.array_equal(steps(time_jitter=most), steps(time_jitter=FRAMES - 1))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_dropped_step_repeats_the_last_kept_one(share):
    found = steps(drop_frames=share)
    is_kept = found == np.arange(FRAMES)
    for clip, own in zip(found, is_kept, strict=True):
        assert own.any()
        for step in np.flatnonzero(~own):
            before = np.flatnonzero(own[:step])
            assert clip[step] == (before[-1] if len(before) else np.flatnonzero(own)[0])
    # All dropped: the one with the highest draw stays.
    assert is_kept.mean() == pytest.approx(1 - share + share**FRAMES / FRAMES, abs=0.03)


def test_one_step_is_kept_however_likely_a_drop_is():
    found = steps(drop_frames=1 - 1e-12)
    assert (found == found[:, :1]).all()
    assert len(np.unique(found)) == FRAMES


@pytest.mark.parametrize("changes", [{"time_jitter": 2}, {"drop_frames": 0.4}, {"time_jitter": 2, "drop_frames": 0.4}])
def test_a_clip_s_steps_come_from_seed_epoch_and_row(changes, monkeypatch):
    found = steps(**changes)
    assert np.array_equal(found, steps(**changes))
    assert np.array_equal(found[:50], steps(clips=50, **changes))
    monkeypatch.setattr(augmentation, "_BLOCK", 7)
    assert np.array_equal(found, steps(**changes))
    assert not np.array_equal(found, steps(seed=4, **changes))
    assert not np.array_equal(found, steps(epoch=3, **changes))
    assert not np.array_equal(found[0], found[1])


def test_drops_do_not_change_the_jitter():
    jitter, both = steps(time_jitter=2), steps(time_jitter=2, drop_frames=0.3)
    drops = steps(drop_frames=0.3)
    assert np.array_equal(both, np.take_along_axis(jitter, drops, axis=1))


def test_a_seed_may_be_negative():
    assert not np.array_equal(steps(seed=-1, time_jitter=2), steps(seed=1, time_jitter=2))


def test_one_step_can_only_stay():
    assert (steps(frames=1, time_jitter=3, drop_frames=0.9) == 0).all()


@pytest.mark.parametrize("alpha", [0.5, 1.0, 4.0])
def test_shares_are_the_larger_halves_of_a_beta_distribution(alpha):
    shares = augmentation.own_shares(5000, alpha, seed=0, epoch=1)
    assert shares.dtype == np.float32
    assert shares.min() >= 0.5
    assert shares.max() <= 1
    beta = stats.beta(alpha, alpha)
    assert stats.kstest(shares, lambda share: beta.cdf(share) - beta.cdf(1 - share)).pvalue > 0.01


@pytest.mark.parametrize("alpha", [1e-300, 1e300])
def test_extreme_shares_are_still_shares(alpha):
    shares = augmentation.own_shares(100, alpha, seed=0, epoch=1)
    assert ((shares >= 0.5) & (shares <= 1)).all()


def test_a_clip_s_share_comes_from_seed_epoch_and_row():
    def shares(clips=100, seed=0, epoch=1):
        return augmentation.own_shares(clips, 0.3, seed=seed, epoch=epoch)

    assert np.array_equal(shares(), shares())
    assert np.array_equal(shares()[:10], shares(clips=10))
    assert not np.array_equal(shares(), shares(seed=1))
    assert not np.array_equal(shares(), shares(epoch=2))


def test_steps_are_taken_from_the_same_clip():
    features = torch.randn(3, 4, 2)
    wanted = torch.tensor([[0, 0, 1, 3], [0, 1, 2, 3], [2, 2, 2, 2]], dtype=torch.int32)
    found = augmentation.take_steps(features, wanted)
    for clip in range(3):
        assert torch.equal(found[clip], features[clip][wanted[clip].long()])


def test_a_mixture_is_the_clip_by_its_share_and_the_one_before_it_by_the_rest():
    features, shares = torch.randn(3, 4, 2), torch.tensor([0.5, 0.75, 1.0])
    found = augmentation.mixed(features, shares)
    for clip in range(3):
        expected = shares[clip] * features[clip] + (1 - shares[clip]) * features[clip - 1]
        torch.testing.assert_close(found[clip], expected)
    assert torch.equal(found[2], features[2])


def test_a_batch_of_one_stays_as_it_is():
    features = torch.randn(1, 4, 2)
    torch.testing.assert_close(augmentation.mixed(features, torch.tensor([0.6])), features)
