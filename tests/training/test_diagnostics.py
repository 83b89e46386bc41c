import dataclasses

import numpy as np
import pytest
import torch
from fabricate import train_settings

from actionrec.models import create_model
from actionrec.training.diagnostics import Curves, Kept, verdict
from actionrec.training.loop import Examples, fit, predict

CLASSES, CLIPS = 10, 200
CHANCE = np.log(CLASSES)
EPOCHS = np.arange(1, 21)

# Falls to 0.05 and 0.3, and stays there.
GOOD = Curves(
    train_loss=list(0.05 + 2.2 * np.exp(-EPOCHS / 2)),
    train_top1=list(0.99 - 0.8 * np.exp(-EPOCHS / 2)),
    held_out_loss=list(0.3 + 1.9 * np.exp(-EPOCHS / 2)),
    held_out_top1=list(np.round(0.9 - 0.7 * np.exp(-EPOCHS / 2), 3)),
)


def judged(curves=GOOD, answers=None, **changes):
    kept = None if answers is None else Kept(answers, np.arange(len(answers)) % 10 < 9, np.arange(len(answers)))
    return verdict(dataclasses.replace(curves, **changes), CLASSES, 1 / CLASSES, CLIPS, kept)


def test_a_run_that_falls_and_stays_has_learned():
    diagnosis = judged()
    assert diagnosis.verdict == "learned"
    assert (
        diagnosis.why == "best held-out top-1 90.0 %, in epoch 20 of 20 (majority class: 10.0 %); the training loss ends at 0.0501"
    )
    assert diagnosis.notes == ()


def test_a_run_that_never_leaves_ln_k_is_at_chance():
    diagnosis = judged(
        train_loss=[CHANCE * 1.01] * 20, train_top1=[0.1] * 20, held_out_loss=[CHANCE] * 20, held_out_top1=[0.1] * 19 + [0.13]
    )
    assert diagnosis.verdict == "at chance"
    assert "best held-out top-1 13.0 % of 200 clips is not shown to be better than the majority class, 10.0 %" in diagnosis.why
    assert "the best of 20 epochs" in diagnosis.why
    assert "the training loss ends at 2.33, 101.0 % of ln 10" in diagnosis.why
    assert diagnosis.notes == ("the training loss ends at 2.33, not below ln 10 = 2.3 by 2 %",)


def test_what_is_learned_by_heart_alone_is_overfitted_and_says_so():
    diagnosis = judged(held_out_loss=[CHANCE] * 20, held_out_top1=[0.1] * 20)
    assert diagnosis.verdict == "overfitted"
    assert diagnosis.why == (
        "the training loss ends at 0.0501, yet the best held-out top-1, 10.0 % of 200 clips, is not shown to be better than "
        "the majority class, 10.0 % (p = 0.53)"
    )


def test_few_held_out_clips_do_not_make_a_model_that_learned_one_at_chance():
    """8 of 13 correct with a majority class of 31 %: p = 0.02, for the best of 20 epochs 0.4; all training clips are correct."""
    few = dataclasses.replace(GOOD, held_out_top1=[8 / 13] * 20)
    assert verdict(few, 4, 4 / 13, 13).verdict == "learned"


def test_the_best_of_many_epochs_is_held_to_a_higher_standard():
    """15 % of 200 clips in one epoch of one: p = 0.02. In the best of 20: 0.34."""
    one = Curves([CHANCE], [0.1], [CHANCE], [0.15])
    assert verdict(one, CLASSES, 0.1, CLIPS).verdict == "learned"
    assert judged(train_loss=[CHANCE] * 20, held_out_top1=[0.1] * 19 + [0.15]).verdict == "at chance"


def test_where_no_result_would_be_significant_the_training_loss_decides():
    right = dataclasses.replace(GOOD, held_out_top1=[1.0] * 20)
    assert verdict(right, 2, 0.5, 3).verdict == "learned"
    idle = dataclasses.replace(right, train_loss=[np.log(2)] * 20)
    diagnosis = verdict(idle, 2, 0.5, 3)
    assert diagnosis.verdict == "at chance"
    assert "3 held-out clips are too few to tell from the majority class (50.0 %)" in diagnosis.why
    same = Kept(np.array([1, 1, 1]), np.ones(3, dtype=bool), np.arange(3))
    assert verdict(right, 2, 0.5, 3, same).verdict == "at chance"


def siblings(sources, right_sources):
    """What a model says of 200 clips from so many sources, wholly right in some of them."""
    clusters = np.repeat(np.arange(sources), CLIPS // sources)
    return Kept(np.arange(CLIPS) % CLASSES, clusters < right_sources, clusters)


def test_siblings_that_are_right_together_do_not_show_that_something_was_learned():
    """20 % of 200 clips with a majority class of 10 %: p < 0.0001. But these clips are 2 of 10 sources."""
    curves = dataclasses.replace(GOOD, held_out_top1=[0.2] * 20)
    assert verdict(curves, CLASSES, 0.1, CLIPS, siblings(200, 40)).verdict == "learned"
    diagnosis = verdict(curves, CLASSES, 0.1, CLIPS, siblings(10, 2))
    assert diagnosis.verdict == "overfitted"
    assert (
        "is not shown to be better than the majority class, 10.0 % (p = 1.7e-05; its 95 % interval over 10 sources starts at"
        in diagnosis.why
    )
    idle = dataclasses.replace(curves, train_loss=[CHANCE] * 20)
    assert verdict(idle, CLASSES, 0.1, CLIPS, siblings(200, 40)).verdict == "learned"
    assert verdict(idle, CLASSES, 0.1, CLIPS, siblings(10, 2)).verdict == "at chance"


def test_too_few_sources_to_show_anything_leave_the_training_loss_to_decide():
    curves = dataclasses.replace(GOOD, held_out_top1=[1.0] * 20)
    one_source = siblings(1, 1)
    assert verdict(curves, 2, 0.5, CLIPS, one_source).verdict == "learned"
    idle = dataclasses.replace(curves, train_loss=[np.log(2)] * 20)
    assert "too few to tell from the majority class" in verdict(idle, 2, 0.5, CLIPS, one_source).why


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"train_loss": [2.0] * 6 + [np.nan] * 14}, "the training loss is nan in epoch 7"),
        ({"held_out_loss": [2.0] * 19 + [np.inf]}, "the held-out loss is inf in epoch 20"),
        ({"gradient_norm": [1.0] * 3 + [np.inf] * 17}, "the gradient norm is inf in epoch 4"),
        ({"train_loss": [2.3] * 10 + [9.0] * 10}, "the training loss ends at 9, above 2 ln 10 = 4.61"),
        ({"train_loss": [1.0] * 10 + [2.4] * 10}, "the training loss ends at 2.4, above ln 10 = 2.3, having been at 1"),
    ],
)
def test_a_run_that_explodes_or_loses_what_it_had_has_diverged(changes, why):
    diagnosis = judged(**changes)
    assert (diagnosis.verdict, diagnosis.why) == ("diverged", why)
    assert "nan" not in " ".join(diagnosis.notes)


def test_a_held_out_loss_that_rises_while_the_training_loss_falls_is_overfitting():
    rising = GOOD.held_out_loss[:8] + list(0.4 + 0.03 * EPOCHS[:12])
    diagnosis = judged(held_out_loss=rising, held_out_top1=[0.5] * 6 + [0.8] + [0.7] * 13)
    assert diagnosis.verdict == "overfitted"
    assert diagnosis.why == (
        "the held-out loss ends at 0.73, 118.0 % above its lowest, 0.335 in epoch 8, "
        "while the training loss fell from 0.0903 to 0.0501"
    )
    assert "epoch 7, which is kept, is not after the held-out loss's lowest (epoch 8)" in diagnosis.notes


def test_an_epoch_kept_after_the_lowest_loss_is_noted():
    rising = GOOD.held_out_loss[:8] + list(0.4 + 0.03 * EPOCHS[:12])
    diagnosis = judged(held_out_loss=rising, held_out_top1=[0.5] * 7 + [0.75] + [0.7] * 10 + [0.78, 0.7])
    assert diagnosis.verdict == "overfitted"
    assert (
        "epoch 19, which is kept, comes after the held-out loss's lowest (epoch 8): its top-1 is 3.0 points higher"
        in diagnosis.notes[0]
    )


@pytest.mark.parametrize(
    ("held_out_loss", "train_loss"),
    [
        ([0.02] + [0.09] * 19, GOOD.train_loss),  # four times as high, and no harm
        ([2.0] + [2.2] * 19, GOOD.train_loss),  # 0.2 above, but only 10 %
        ([0.5] * 19 + [5.0], GOOD.train_loss),  # one epoch
        ([0.5] + [0.9] * 19, [0.5] + [0.6] * 19),  # the training loss does not fall: something else
    ],
)
def test_other_rises_are_no_overfitting(held_out_loss, train_loss):
    assert judged(held_out_loss=held_out_loss, train_loss=train_loss).verdict == "learned"


def test_a_loss_that_still_falls_at_the_end_is_still_improving():
    diagnosis = judged(held_out_loss=list(2.0 - 0.06 * EPOCHS), held_out_top1=list(0.3 + 0.02 * EPOCHS))
    assert diagnosis.verdict == "still improving"
    assert diagnosis.why == (
        "the best epoch is 20 of 20, and over the last 5 the held-out loss falls by 0.24, 23.1 %: more epochs should help"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"held_out_top1": [0.5] * 3 + [0.9] + [0.8] * 16},  # the best epoch was long ago
        {"held_out_top1": [0.5] * 19 + [1.0]},  # nothing is left to gain
        {"held_out_loss": list(1.0 - 0.005 * EPOCHS), "held_out_top1": list(0.3 + 0.02 * EPOCHS)},  # hardly falls
        {"held_out_loss": list(0.03 - 0.001 * EPOCHS), "held_out_top1": list(0.3 + 0.02 * EPOCHS)},  # hardly anything is left
    ],
)
def test_other_ends_are_not_still_improving(changes):
    falling = {"held_out_loss": list(2.0 - 0.06 * EPOCHS)}
    assert judged(**{**falling, **changes}).verdict == "learned"


def test_the_worst_verdict_comes_first():
    everything = {
        "held_out_loss": [1.0] + [3.0] * 19,  # overfitted
        "held_out_top1": [0.1] * 20,
        "answers": np.full(CLIPS, 3),  # at chance
        "gradient_norm": [np.nan] * 20,  # diverged
    }
    assert judged(**everything).verdict == "diverged"
    assert judged(**{**everything, "gradient_norm": None}).verdict == "at chance"
    assert judged(**{**everything, "gradient_norm": None, "held_out_top1": [0.5] * 20}).verdict == "overfitted"


def test_notes_tell_of_constant_and_missing_answers():
    constant, few = np.array([3] * 190 + [1] * 10), np.arange(200) % 4
    assert judged(answers=constant).notes == ("95.0 % of the held-out clips get the same answer",)
    assert judged(answers=few).notes == ("only 4 of 10 classes are ever the answer",)
    assert judged(answers=np.arange(200) % 10).notes == ()


def test_notes_tell_of_the_gap_of_leaps_and_of_large_gradients():
    leaping = [*GOOD.train_loss[:9], 1.5, *GOOD.train_loss[10:]]
    notes = judged(
        train_loss=leaping, train_top1=[1.0] * 20, gradient_norm=[1.0] * 9 + [50.0] + [1.0] * 10, held_out_top1=[0.6] * 20
    ).notes
    assert notes == (
        "top-1 is 100.0 % on training clips at the end, 60.0 % on held-out clips at best",
        "the training loss leaps in 1 of 20 epochs, first from 0.0744 to 1.5 in epoch 10",
        "the gradient norm is 50 in epoch 10, against 1 in most",
    )


def test_arrays_are_as_good_as_lists():
    curves = Curves(*(np.asarray(getattr(GOOD, name)) for name in ("train_loss", "train_top1", "held_out_loss", "held_out_top1")))
    assert judged(curves, gradient_norm=np.ones(20)) == judged(gradient_norm=[1.0] * 20)


def test_curves_are_of_one_length():
    with pytest.raises(ValueError, match=r"got \[2, 2, 1, 2\] epochs"):
        Curves([1, 1], [1, 1], [1], [1, 1])
    with pytest.raises(ValueError, match="at least one epoch"):
        Curves([], [], [], [])
    with pytest.raises(ValueError, match="got 1 and 200"):
        verdict(GOOD, 1, 1.0, 200)


@pytest.fixture
def one_thread():
    """Two wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("norm_first", "expected"), [(False, "at chance"), (True, "learned")])
def test_a_post_norm_transformer_without_warm_up_is_at_chance_where_a_pre_norm_one_learns(one_thread, norm_first, expected):
    torch.manual_seed(0)
    settings = train_settings(epochs=6, batch_size=16, learning_rate=1e-3, step_size=5, gamma=0.5)
    labels = np.arange(96) % 8
    features = np.random.default_rng(0).normal(0, 0.5, (96, 2, 32)) + 3 * np.eye(8, 32)[labels][:, None]
    arguments = {"d_model": 256, "num_heads": 4, "num_layers": 8, "ff_dim": 512, "dropout": 0.3, "norm_first": norm_first}
    model = create_model("transformer", arguments, feature_dim=32, class_count=8)
    rows = np.arange(96)
    frames = torch.from_numpy(features.astype(np.float16))
    examples = Examples(frames, torch.from_numpy(labels), rows[:64], rows[64:])
    epochs = fit(model, examples, settings, 0, lambda epoch: None).epochs
    curves = Curves(
        *([getattr(epoch, name) for epoch in epochs] for name in ("train_loss", "train_top1", "held_out_loss", "held_out_top1"))
    )
    answers = predict(model, frames, rows[64:]).argmax(axis=1)
    kept = Kept(answers, answers == labels[64:], np.arange(32))
    diagnosis = verdict(curves, 8, 1 / 8, 32, kept)
    assert diagnosis.verdict == expected, diagnosis
