"""Tuning of a tiny backbone on clips that are easy to learn."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_tuning import SIZE, easy_clips, settings, tiny_backbone

from actionrec.core.errors import ParamsError, TrainingError
from actionrec.finetuning import tuning
from actionrec.finetuning.frozen_part import two_parts
from actionrec.finetuning.tuning import TuningRun, learning_rate
from actionrec.training import loop
from actionrec.training.checkpoints import Checkpoint
from actionrec.training.optimisers import AdamW

PLAIN = settings()
AUGMENTED = settings(crop=0.5, flip=True, colour=0.2, dropout=0.3)


class Killed(Exception):  # noqa: N818
    pass


def started(clips, chosen=PLAIN, device="cpu"):
    """A run, ready to train."""
    loop.reproducible(0, device)
    backbone = tiny_backbone()
    parts = two_parts(backbone, SIZE, chosen.stages, chosen.precision, device)
    return TuningRun(parts, backbone.gain, 8 * len(clips.reader.streams), clips, chosen, 0, device)


def trained(clips, chosen=PLAIN, checkpointer=None, killed_in=None, device="cpu"):
    """A finished run: itself, what it measured before, and its fit."""
    run = started(clips, chosen, device)

    def on_epoch(epoch):
        if epoch.number == killed_in:
            raise Killed

    before = run.solve_head()
    return run, before, run.fit(on_epoch, checkpointer)


def outcome(clips, *rest, **options):
    """Everything that a run leaves, without its time."""
    run, before, fit = trained(clips, *rest, **options)
    state = {name: tensor.numpy().tobytes() for name, tensor in run.parts.state().items()}
    return state, run.predict(clips.labelled.reported).tobytes(), before, fit.epochs


def test_an_easy_set_is_learned_and_the_frozen_stages_stay(easy):
    before = {name: tensor.clone() for name, tensor in tiny_backbone().network.state_dict().items()}
    run, frozen, fit = trained(easy, settings(epochs=15, stages=2, batch_size=6))
    first, best = fit.epochs[0], fit.epochs[fit.best_epoch - 1]
    assert fit.epochs[-1].train_loss < 0.5 * first.train_loss
    assert fit.epochs[-1].train_top1 > first.train_top1
    assert best.held_out_top1 > frozen.held_out_top1
    assert best.held_out_top1 == max(epoch.held_out_top1 for epoch in fit.epochs)
    state = run.parts.state()
    assert {name.split(".")[0] for name, tensor in state.items() if not torch.equal(tensor, before[name])} == {"middle", "last"}
    buffers = dict(tiny_backbone().network.named_buffers())
    assert all(torch.equal(state[name], buffer) for name, buffer in buffers.items())


def test_the_network_ends_with_the_best_epochs_weights(easy):
    run, _, fit = trained(easy, settings(epochs=5, learning_rate=0.05))
    rows = easy.labelled.rows["val"]
    logits = run.predict(rows, PLAIN.segments)
    top1 = (logits.argmax(axis=1) == easy.labelled.labels[rows]).mean()
    assert top1 == pytest.approx(fit.epochs[fit.best_epoch - 1].held_out_top1)


def test_tuning_starts_from_logistic_regression_on_the_frozen_backbone(easy):
    run = started(easy)
    frozen = run.solve_head()
    rows = easy.labelled.rows["train"]
    logits = run.predict(rows, PLAIN.segments)
    assert (logits.argmax(axis=1) == easy.labelled.labels[rows]).mean() == pytest.approx(frozen.train_top1)
    assert frozen.train_top1 > 0.4
    assert frozen.train_loss < math.log(3)


def test_predictions_use_all_sample_points_or_the_middle_of_each_segment(easy):
    run = started(easy)
    run.solve_head()
    rows = easy.labelled.rows["test"]
    with torch.no_grad():
        for segments, steps in ((None, range(4)), (4, range(4)), (2, [0, 2]), (1, [1])):
            shown = [easy.reader.read(row, np.array(steps)) for row in rows]
            expected = [run.network(run.parts.frozen(one.reshape(-1, SIZE, SIZE, 3)), 1, 1, 1).numpy()[0] for one in shown]
            np.testing.assert_allclose(run.predict(rows, segments), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("killed_in", [1, 2, 3])
@pytest.mark.parametrize("workers", ["1", "3"])
def test_a_killed_run_resumes_to_the_same_bytes(easy, tmp_path, monkeypatch, killed_in, workers):
    undisturbed = outcome(easy, AUGMENTED)
    monkeypatch.setenv("ACTIONREC_WORKERS", workers)
    checkpointer = Checkpoint(tmp_path / "c.safetensors")
    with pytest.raises(Killed):
        trained(easy, AUGMENTED, checkpointer, killed_in)
    assert checkpointer.path.exists() == (killed_in > 1)
    assert outcome(easy, AUGMENTED, checkpointer) == undisturbed
    assert outcome(easy, AUGMENTED, checkpointer) == undisturbed  # a finished run trains nothing again


def test_the_frozen_part_of_openvino_resumes_to_the_same_bytes(easy, tmp_path, monkeypatch):
    monkeypatch.setenv("ACTIONREC_RUNTIME", "openvino")
    undisturbed, checkpointer = outcome(easy, AUGMENTED), Checkpoint(tmp_path / "c.safetensors")
    with pytest.raises(Killed):
        trained(easy, AUGMENTED, checkpointer, 2)
    assert outcome(easy, AUGMENTED, checkpointer) == undisturbed


def test_streams_side_by_side_are_tuned_together(easy_store):
    clips = easy_clips(easy_store, np.arange(3), streams=("rgb", "diff"))
    run, _, fit = trained(clips, settings(epochs=1))
    assert run.network.head.standardise.mean.shape == (16,)
    assert fit.epochs[0].is_finite
    assert run.predict(clips.labelled.reported).shape == (12, 3)


def test_the_learning_rate_rises_in_a_tenth_of_the_steps_and_falls_along_half_a_cosine():
    rates = np.array([learning_rate(settings(epochs=4), epoch, step, 25) for epoch in range(4) for step in range(25)])
    highest = PLAIN.learning_rate
    assert rates[0] == pytest.approx(highest / 10)
    assert (np.diff(rates[:10]) > 0).all()
    assert rates[9] == pytest.approx(highest * (1 + np.cos(np.pi * 0.09)) / 2)
    assert rates[50] == pytest.approx(highest / 2)
    assert (np.diff(rates[9:]) < 0).all()
    assert 0 < rates[99] < highest / 1000
    assert learning_rate(settings(epochs=1), 0, 0, 1) == pytest.approx(highest)  # a single step is not divided by ten


def test_the_head_learns_ten_times_as_fast_with_the_rate_of_each_step(easy, monkeypatch):
    seen = []
    step = AdamW.step

    def noted(optimiser, *rest):
        seen.append([group["lr"] for group in optimiser.param_groups])
        return step(optimiser, *rest)

    monkeypatch.setattr(AdamW, "step", noted)
    _, _, fit = trained(easy, settings(epochs=2, batch_size=7))
    rates = [learning_rate(settings(epochs=2), epoch, step, 4) for epoch in range(2) for step in range(4)]
    assert seen == [[rate, 10 * rate] for rate in rates]
    assert [epoch.learning_rate for epoch in fit.epochs] == [seen[3][0], seen[7][0]]


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ({"segments": 5}, ["finetune.segments: a clip has fewer sample points (frames.count); got 5, expected at most 4."]),
        ({"batch_size": 25}, ["finetune.batch_size: there are fewer training clips; got 25, expected at most 24."]),
        ({"segments": 9, "batch_size": 99}, ["finetune.segments: ", "finetune.batch_size: "]),
    ],
)
def test_more_segments_or_clips_than_there_are_are_refused(easy, changes, problems):
    with pytest.raises(ParamsError) as caught:
        started(easy, settings(**changes))
    lines = str(caught.value).split("\n")
    assert all(line.startswith(f"params.yaml: {problem}") for line, problem in zip(lines, problems, strict=True))


def test_the_largest_numbers_of_segments_and_clips_are_accepted(easy):
    _, _, fit = trained(easy, settings(epochs=1, segments=4, batch_size=24))
    assert fit.epochs[0].is_finite


def test_a_loss_that_is_not_finite_names_the_learning_rate(easy):
    with pytest.raises(TrainingError) as caught:
        trained(easy, settings(learning_rate=1e30))
    assert str(caught.value) == (
        "the loss is not finite in the first epoch of fine-tuning. Lower finetune.learning_rate (now 1e+30)."
    )


@pytest.mark.parametrize("when", ["the head is solved", "it trains"])
def test_a_gpu_out_of_memory_names_what_to_lower(easy, monkeypatch, when):
    run = started(easy)
    if when == "it trains":
        run.solve_head()

    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has")

    monkeypatch.setattr(run, "_computed", fail)
    with pytest.raises(TrainingError) as caught:
        run.fit(lambda _: None, None) if when == "it trains" else run.solve_head()
    assert str(caught.value) == (
        "cpu is out of memory for fine-tuning (CUDA out of memory). Lower finetune.batch_size (now 4), finetune.segments (now 2) "
        "or finetune.stages (now 1)."
    )


@pytest.mark.parametrize("swaps", [True, False])
def test_mirrored_clips_have_the_label_of_their_mirror_image(easy, monkeypatch, swaps):
    """Seen in the loss of the first step: half of the clips are mirrored."""
    pairs = np.array([0, 2, 1]) if swaps else np.arange(3)
    run, seen = started(replace(easy, mirrored=pairs), settings(epochs=1, batch_size=24, flip=True)), {}
    drawn, entropy = tuning.pixel_augmentation.draw, torch.nn.functional.cross_entropy

    def noted_draw(clip, *rest):
        one = drawn(clip, *rest)
        seen[clip] = one.is_mirrored
        return one

    def noted_entropy(logits, labels):
        seen["labels"] = labels.tolist()
        return entropy(logits, labels)

    monkeypatch.setattr(tuning.pixel_augmentation, "draw", noted_draw)
    monkeypatch.setattr(torch.nn.functional, "cross_entropy", noted_entropy)
    run.fit(lambda _: None, None)
    labels = seen.pop("labels")
    assert 4 < sum(seen.values()) < 20
    plain = dict(zip(easy.reader.index.clips, easy.labelled.labels, strict=True))
    assert labels == [pairs[plain[clip]] if is_mirrored else plain[clip] for clip, is_mirrored in seen.items()]


@pytest.mark.gpu
def test_a_gpu_tunes_to_the_same_bytes_on_every_run(easy):
    try:
        first, again = (outcome(easy, replace(AUGMENTED, epochs=1), device="cuda") for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert first == again
