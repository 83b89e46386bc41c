import dataclasses
import threading

import numpy as np
import pytest
import torch
from fabricate import toy_set, train_settings

from actionrec.io import machine
from actionrec.models import create_model
from actionrec.training import checkpoints, loop
from actionrec.training.checkpoints import Checkpoint
from actionrec.training.classifier import Classifier
from actionrec.training.loop import Examples, Progress

SETTINGS = train_settings(epochs=4, warmup_epochs=0.5, clip_norm=1.0)
FEATURE_DIM, CLASS_COUNT, FRAMES = 4, 3, 8
ARGUMENTS = {
    "gru": {"hidden_dim": 6, "dropout": 0.3},
    "stacked_lstm": {"hidden_dim": 6, "dropout": 0.3},
    "transformer": {"d_model": 8, "num_heads": 2, "num_layers": 1, "ff_dim": 16, "dropout": 0.3},
    "swin_transformer": {"dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window": 4, "dropout": 0.3},
}


class Killed(BaseException):
    pass


class Waiting(Checkpoint):
    """Is written after each epoch, however short epochs are."""

    def save(self, progress):
        super().save(progress)
        self.wait()


@pytest.fixture(autouse=True)
def in_a_folder_with_one_thread(tmp_path, monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine, "TRAINING_THREADS", 1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def toy():
    features, labels, *rows = toy_set(FRAMES, FEATURE_DIM, CLASS_COUNT, margin=0.4)
    return features, torch.from_numpy(labels), *rows


def run(toy, name="gru", checkpointer=None, killed_in=None, settings=SETTINGS):
    """Train; where `killed_in` is an epoch, end in it before its checkpoint is written."""
    loop.reproducible(3, "cpu")
    made = create_model(name, ARGUMENTS[name], feature_dim=FEATURE_DIM, class_count=CLASS_COUNT)
    model = Classifier(FEATURE_DIM, made)
    told = []

    def on_epoch(epoch):
        told.append(epoch)
        if epoch.number == killed_in:
            raise Killed

    done = loop.fit(model, Examples(*toy), settings, 3, on_epoch, checkpointer)
    weights = {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}
    return weights, dataclasses.replace(done, seconds=0), told


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(toy, name, tmp_path):
    undisturbed = run(toy, name)
    checkpointer = Waiting(tmp_path / "c.safetensors")
    with pytest.raises(Killed):
        run(toy, name, checkpointer, killed_in=3)
    assert len(checkpointer.load().epochs) == 2
    torch.rand(7)  # another random state than the run that was killed had
    assert run(toy, name, checkpointer) == undisturbed


@pytest.mark.parametrize("killed_in", [2, 3])
def test_a_killed_run_repeats_its_augmentation(toy, tmp_path, killed_in):
    settings = dataclasses.replace(SETTINGS, mixup=0.4, drop_frames=0.2, time_jitter=1)
    undisturbed = run(toy, settings=settings)
    checkpointer = Waiting(tmp_path / "c.safetensors")
    with pytest.raises(Killed):
        run(toy, checkpointer=checkpointer, killed_in=killed_in, settings=settings)
    assert run(toy, checkpointer=checkpointer, settings=settings) == undisturbed
    assert undisturbed[0] != run(toy)[0]


def test_a_kill_costs_the_epoch_in_flight_and_no_other(toy, tmp_path, monkeypatch):
    checkpointer = Waiting(tmp_path / "c.safetensors")
    trained, train = [], loop._train_epoch
    monkeypatch.setattr(loop, "_train_epoch", lambda *a: (trained.append(a[-1]), train(*a))[1])
    for epoch in range(1, 5):
        with pytest.raises(Killed):
            run(toy, checkpointer=checkpointer, killed_in=epoch)
    assert trained == [1, 1, 2, 2, 3, 3, 4]


def test_a_checkpoint_is_written_while_training_goes_on(tmp_path, monkeypatch):
    goes_on, save_tensors, written = threading.Event(), checkpoints.save_tensors, []

    def save_later(path, tensors, metadata):
        assert goes_on.wait(60)
        written.append(len(tensors))
        save_tensors(path, tensors, metadata)

    monkeypatch.setattr(checkpoints, "save_tensors", save_later)
    checkpointer, weights, best = Checkpoint(tmp_path / "c.safetensors"), torch.ones(3), torch.zeros(2)
    checkpointer.save(Progress([], None, 1.0, False, {"weights.a": weights, "best.a": best}))
    weights += 1  # by the next step
    checkpointer.save(Progress([], None, 2.0, False, {"weights.a": weights}))  # is skipped
    assert not checkpointer.path.exists()
    goes_on.set()
    assert checkpointer.load().tensors["weights.a"].tolist() == [1, 1, 1]
    for seconds, now, finished in ((3.0, best, False), (4.0, torch.ones(2), True)):
        checkpointer.save(Progress([], None, seconds, finished, {"best.a": now}))
        if not finished:
            checkpointer.wait()
        stored = Checkpoint(checkpointer.path).load()  # a finished run's is there
        assert (stored.seconds, stored.tensors["best.a"].tolist()) == (seconds, now.tolist())
    assert written == [2, 1, 1]


def test_two_checkpoints_of_one_path_do_not_disturb_each_other(tmp_path):
    checkpointers = [Checkpoint(tmp_path / "c.safetensors") for _ in range(4)]
    for number, one in enumerate(checkpointers):
        one.save(Progress([], None, float(number), False, {"weights.a": torch.full((500_000,), float(number))}))
    for one in checkpointers:
        one.wait()
    assert checkpointers[0].load().seconds == 3.0


def test_a_checkpoint_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    checkpointer = Checkpoint(tmp_path / "file" / "c.safetensors")
    checkpointer.save(Progress([], None, 1.0, False, {}))
    with pytest.raises(OSError, match="file"):
        checkpointer.wait()
    assert checkpointer.load() is None  # once is enough


def test_a_finished_run_trains_nothing_and_tells_its_epochs(toy, tmp_path, monkeypatch):
    checkpointer = Waiting(tmp_path / "c.safetensors")
    first = run(toy, checkpointer=checkpointer)
    monkeypatch.setattr(loop, "_train_epoch", lambda *_: pytest.fail("trained again"))
    assert run(toy, checkpointer=checkpointer) == first
    assert {name.split(".")[0] for name in checkpointer.load().tensors} == {"best"}  # no moments of Adam


def test_a_run_that_diverged_is_finished(toy, tmp_path):
    settings = dataclasses.replace(SETTINGS, learning_rate=1e-2)
    checkpointer = Waiting(tmp_path / "c.safetensors")
    progress = None
    features, *rest = toy

    class Spoiling(Checkpoint):
        def save(self, kept):
            nonlocal progress
            super().save(kept)
            progress = kept
            if len(kept.epochs) == 2:
                features[:] = np.nan

    run((features, *rest), checkpointer=Spoiling(checkpointer.path), settings=settings)
    assert (progress.diverged_in, progress.finished) == (3, True)
    assert (checkpointer.load().diverged_in, checkpointer.load().finished) == (3, True)


@pytest.mark.parametrize("harm", ["cut", "flipped", "emptied", "text"])
def test_a_damaged_checkpoint_is_logged_and_not_believed(toy, tmp_path, caplog, harm):
    undisturbed = run(toy)
    checkpointer = Waiting(tmp_path / "c.safetensors")
    with pytest.raises(Killed):
        run(toy, checkpointer=checkpointer, killed_in=3)
    contents = bytearray(checkpointer.path.read_bytes())
    if harm == "cut":
        contents = contents[:-1]
    elif harm == "emptied":
        contents = b""
    elif harm == "flipped":
        contents[-5] ^= 1
    else:
        contents = contents.replace(b'\\"number\\": ', b'\\"number\\":1')
    checkpointer.path.write_bytes(contents)
    assert checkpointer.load() is None
    assert f"{checkpointer.path} is damaged" in caplog.text
    assert run(toy, checkpointer=checkpointer) == undisturbed


def test_time_adds_up_over_runs(toy, tmp_path):
    checkpointer = Waiting(tmp_path / "c.safetensors")
    with pytest.raises(Killed):
        run(toy, checkpointer=checkpointer, killed_in=3)
    progress = checkpointer.load()
    checkpointer.save(dataclasses.replace(progress, seconds=progress.seconds + 1000))
    loop.reproducible(3, "cpu")
    model = Classifier(FEATURE_DIM, create_model("gru", ARGUMENTS["gru"], feature_dim=FEATURE_DIM, class_count=CLASS_COUNT))
    assert loop.fit(model, Examples(*toy), SETTINGS, 3, lambda epoch: None, checkpointer).seconds > 1000


def test_the_key_tells_settings_and_code_apart(monkeypatch):
    first = checkpoints.checkpoint("gru", {"seed": 0})
    assert checkpoints.checkpoint("gru", {"seed": 0}).path == first.path
    assert checkpoints.checkpoint("gru", {"seed": 1}).path != first.path
    monkeypatch.setattr(checkpoints, "code_digest", lambda stage: "other code")
    assert checkpoints.checkpoint("gru", {"seed": 0}).path != first.path


def test_only_the_wanted_checkpoints_of_a_model_stay(toy):
    kept, old = (checkpoints.checkpoint("gru", {"seed": seed}) for seed in (0, 1))
    other = checkpoints.checkpoint("lstm", {"seed": 1})
    for one in (kept, old, other):
        run(toy, checkpointer=one)
    checkpoints.keep_only("gru", [kept])
    assert [one.path.exists() for one in (kept, old, other)] == [True, False, True]


def test_a_gradient_that_is_not_finite_is_kept_as_it_is(toy, tmp_path):
    checkpointer = Waiting(tmp_path / "c.safetensors")
    run(toy, checkpointer=checkpointer)
    progress = checkpointer.load()
    progress.epochs[1] = dataclasses.replace(progress.epochs[1], gradient_norm=float("inf"))
    checkpointer.save(progress)
    assert checkpointer.load().epochs == progress.epochs


@pytest.mark.gpu
@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_run_killed_on_a_gpu_goes_on_and_ends_with_the_same_bytes(toy, name, tmp_path):
    def outcome(checkpointer=None, killed_in=None):
        loop.reproducible(3, "cuda")
        made = create_model(name, ARGUMENTS[name], feature_dim=FEATURE_DIM, class_count=CLASS_COUNT)
        model = Classifier(FEATURE_DIM, made).to("cuda")

        def on_epoch(epoch):
            if epoch.number == killed_in:
                raise Killed

        features, labels, *rows = toy
        loop.fit(model, Examples(features, labels.to("cuda"), *rows), SETTINGS, 3, on_epoch, checkpointer)
        return {name: tensor.cpu().numpy().tobytes() for name, tensor in model.state_dict().items()}

    undisturbed = outcome()
    checkpointer = Waiting(tmp_path / "c.safetensors")
    with pytest.raises(Killed):
        outcome(checkpointer, killed_in=3)
    assert outcome(checkpointer) == undisturbed
    torch.use_deterministic_algorithms(False)
