import dataclasses
import math

import numpy as np
import pytest
import torch
from fabricate import toy_set, train_settings
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from actionrec.core.errors import TrainingError
from actionrec.evaluation import metrics
from actionrec.io import machine
from actionrec.models import create_model
from actionrec.training import augmentation, loop
from actionrec.training.classifier import Classifier
from actionrec.training.loop import Examples, fit, learning_rate, predict

SETTINGS = train_settings()
CLASS_COUNT, FRAMES, FEATURE_DIM = 3, 5, 4


def with_(**changes):
    return dataclasses.replace(SETTINGS, **changes)


@pytest.fixture(autouse=True)
def one_seeded_thread(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(machine, "TRAINING_THREADS", 1)  # two wait for each other on a busy machine
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def toy():
    features, labels, *rows = toy_set(FRAMES, FEATURE_DIM, CLASS_COUNT, margin=2)
    return torch.from_numpy(features), torch.from_numpy(labels), *rows


class Mean(nn.Module):
    """The mean over time, through a linear layer, perhaps with dropout."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.dropout, self.fc = nn.Dropout(dropout), nn.Linear(FEATURE_DIM, CLASS_COUNT)

    def forward(self, features):
        return self.fc(self.dropout(features).mean(dim=1))


def run(model, toy, settings=SETTINGS, seed=0, on_epoch=lambda epoch: None):
    return fit(model, Examples(*toy), settings, seed, on_epoch)


def flat(model):
    return torch.cat([tensor.flatten() for tensor in model.state_dict().values()])


@pytest.fixture
def steps():
    """Learning rate and gradient norm at each step of the optimiser."""
    taken = []

    def note(optimiser, *_):
        gradients = [parameter.grad.norm() for group in optimiser.param_groups for parameter in group["params"]]
        taken.append((optimiser.param_groups[0]["lr"], torch.stack(gradients).norm().item()))

    handle = register_optimizer_step_pre_hook(note)
    yield taken
    handle.remove()


def test_the_learning_rate_halves_after_every_step_size_epochs():
    settings = with_(learning_rate=0.001, step_size=5, gamma=0.5)
    rates = [learning_rate(settings, epoch, step=3, steps=10) for epoch in range(20)]
    assert rates == [0.001] * 5 + [0.0005] * 5 + [0.00025] * 5 + [0.000125] * 5


def test_warm_up_rises_linearly_over_a_fraction_of_an_epoch():
    settings = with_(learning_rate=0.8, warmup_epochs=1.5)
    rates = [learning_rate(settings, epoch, step, steps=4) for epoch in range(2) for step in range(4)]
    assert rates == pytest.approx([0.8 * part / 6 for part in (1, 2, 3, 4, 5, 6, 6, 6)])


def test_warm_up_and_reductions_multiply():
    settings = with_(learning_rate=0.8, warmup_epochs=4, step_size=2, gamma=0.1)
    assert [learning_rate(settings, epoch, 0, steps=1) for epoch in range(5)] == pytest.approx([0.2, 0.4, 0.06, 0.08, 0.008])


def test_the_optimiser_gets_the_scheduled_rates_and_epochs_report_the_last(toy, steps):
    settings = with_(warmup_epochs=0.5, step_size=1, gamma=0.1, epochs=2)  # 21 clips: 6 steps an epoch
    done = run(Mean(), toy, settings)
    wanted = [0.01 / 3, 0.02 / 3, 0.01, 0.01, 0.01, 0.01] + 6 * [0.001]
    assert [rate for rate, _ in steps] == pytest.approx(wanted)
    assert [epoch.learning_rate for epoch in done.epochs] == pytest.approx([0.01, 0.001])


@pytest.mark.parametrize(
    ("name", "arguments", "changes"),
    [
        ("simple_rnn", {"hidden_dim": 16}, {}),
        ("bilstm", {"hidden_dim": 16}, {}),
        (
            "transformer",
            {"d_model": 16, "num_heads": 2, "num_layers": 2, "ff_dim": 32, "dropout": 0.1},
            {"warmup_epochs": 1.0, "clip_norm": 1.0, "learning_rate": 0.003},
        ),
        (
            "swin_transformer",
            {"dim": 16, "depths": (2, 2), "num_heads": (2, 2), "window": 4},
            {"warmup_epochs": 1.0, "clip_norm": 1.0, "learning_rate": 0.003},
        ),
    ],
)
def test_classes_that_differ_only_in_the_order_of_frames_are_learnt(name, arguments, changes):
    random = np.random.default_rng(0)
    rising = np.sort(random.normal(size=(60, 12, FEATURE_DIM)), axis=1) + random.normal(size=(60, 1, FEATURE_DIM))
    labels = np.arange(60) % 2
    features = np.where(labels[:, None, None] == 0, rising, rising[:, ::-1])
    model = Classifier(FEATURE_DIM, create_model(name, arguments, feature_dim=FEATURE_DIM, class_count=2))
    rows = np.arange(60)
    data = torch.from_numpy(features.astype(np.float32)), torch.from_numpy(labels), rows[:40], rows[40:]
    done = run(model, data, with_(epochs=15, step_size=15, **changes))
    assert max(epoch.held_out_top1 for epoch in done.epochs) >= 0.9


def test_each_epoch_shows_every_training_clip_once_in_a_new_order(toy):
    features, labels, train, held_out = toy
    features = torch.arange(30, dtype=torch.float16)[:, None, None].expand(features.shape)
    shown = []
    model = Mean()
    model.register_forward_pre_hook(
        lambda module, inputs: shown.append(inputs[0][:, 0, 0].int().tolist()) if module.training else None
    )
    run(model, (features, labels, train, held_out), with_(epochs=2))
    assert [len(batch) for batch in shown] == 2 * [4, 4, 4, 4, 4, 1]
    first, second = ([clip for batch in epoch for clip in batch] for epoch in (shown[:6], shown[6:]))
    assert sorted(first) == sorted(second) == train.tolist()
    assert first != second != train.tolist() != first


def test_the_training_loss_is_the_mean_over_clips_whatever_the_last_batch(toy):
    model = Mean()
    features, labels, train, _ = toy
    before = predict(model, features, train)
    done = run(model, toy, with_(epochs=1, learning_rate=1e-30))
    assert done.epochs[0].train_loss == pytest.approx(metrics.cross_entropy(before, labels[train].numpy()), rel=1e-5)
    assert done.epochs[0].train_top1 == metrics.top_k(before, labels[train].numpy(), 1)


def scripted(monkeypatch, scores):
    """Have the epochs measure these (top-1, margin) pairs on nine held-out clips of class 0; a wider margin is a lower loss."""
    answers = []
    for right, margin in scores:
        logits = np.zeros((9, CLASS_COUNT), np.float32)
        logits[:right, 0] = margin
        logits[right:, 1] = 1e-3
        answers.append(logits)
    monkeypatch.setattr(loop, "predict", lambda *_: answers.pop(0))


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([(3, 1), (6, 1), (5, 9)], 2),  # the highest top-1, not the lowest loss
        ([(6, 1), (6, 3), (6, 2)], 2),  # of equal top-1 the lowest loss
        ([(6, 3), (5, 1), (6, 3)], 1),  # of equal loss, too, the first
        ([(0, 1), (0, 1), (0, 1)], 1),  # never right: still one is kept
    ],
)
def test_the_best_epoch_has_the_highest_top1_then_the_lowest_loss_then_comes_first(scores, best, toy, monkeypatch):
    scripted(monkeypatch, scores)
    features, _, train, held_out = toy
    states = []
    model = Mean()
    done = run(
        model,
        (features, torch.zeros(30, dtype=torch.long), train, held_out),
        on_epoch=lambda epoch: states.append((epoch.number, flat(model).clone())),
    )
    assert done.best_epoch == best
    assert [number for number, _ in states] == [1, 2, 3]
    assert torch.equal(flat(model), states[best - 1][1])


def test_the_model_holds_the_best_epochs_weights(toy):
    features, labels, _, held_out = toy
    model = Mean(dropout=0.5)
    done = run(model, toy, with_(epochs=8, learning_rate=0.3))
    best = done.epochs[done.best_epoch - 1]
    logits = predict(model, features, held_out)
    assert best.number == done.best_epoch
    assert metrics.top_k(logits, labels[held_out].numpy(), 1) == best.held_out_top1
    assert metrics.cross_entropy(logits, labels[held_out].numpy()) == best.held_out_loss


def trained(toy, seed, name="gru"):
    loop.reproducible(seed, "cpu")
    arguments = {"hidden_dim": 6, "dropout": 0.3}
    model = Classifier(FEATURE_DIM, create_model(name, arguments, feature_dim=FEATURE_DIM, class_count=CLASS_COUNT))
    done = run(model, toy, with_(warmup_epochs=0.5, clip_norm=1.0), seed)
    return flat(model).numpy().tobytes(), done.epochs


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(toy):
    assert trained(toy, 1) == trained(toy, 1)
    assert trained(toy, 1)[0] != trained(toy, 2)[0]


def test_the_order_of_clips_comes_from_the_seed_not_from_the_global_state(toy):
    def outcome(seed, disturb):
        torch.manual_seed(3)
        model = Mean()
        torch.rand(disturb)
        run(model, toy, seed=seed)
        return flat(model)

    assert torch.equal(outcome(1, disturb=0), outcome(1, disturb=5))
    assert not torch.equal(outcome(1, disturb=0), outcome(2, disturb=0))


def test_features_stored_as_fp16_train_like_the_same_values_in_fp32(toy):
    features, *rest = toy
    assert features.dtype == torch.float16
    assert trained((features, *rest), 0) == trained((features.float(), *rest), 0)


def test_clipping_bounds_the_gradient_and_zero_leaves_it(toy, steps):
    run(Mean(), toy, with_(clip_norm=0.05))
    clipped = [norm for _, norm in steps]
    steps.clear()
    run(Mean(), toy)
    free = [norm for _, norm in steps]
    assert max(clipped) <= 0.05 * (1 + 1e-5)
    assert max(free) > 0.5


def test_weight_decay_is_added_to_the_gradient(toy):
    features, labels, train, held_out = toy
    model = nn.Sequential(nn.Flatten(), nn.Linear(FRAMES * FEATURE_DIM, CLASS_COUNT, bias=False))
    before = model[1].weight.detach().clone()
    # Of features that are zero the gradient is the decay alone, and Adam's first step is the learning rate towards zero.
    run(model, (torch.zeros_like(features), labels, train[:4], held_out), with_(epochs=1, weight_decay=0.1))
    torch.testing.assert_close(model[1].weight, before - 0.01 * before.sign())


def test_a_loss_that_is_not_finite_stops_with_advice(toy):
    features, labels, train, held_out = toy
    broken = features.clone()
    broken[0] = math.nan
    told = []
    with pytest.raises(TrainingError) as caught:
        run(Mean(), (broken, labels, train, held_out), on_epoch=told.append)
    assert str(caught.value) == (
        "the loss is not finite in the first epoch (training nan, held out nan). Lower learning_rate (now 0.01), "
        "raise warmup_epochs (now 0.0), or clip gradients (clip_norm, now 0.0)."
    )
    assert told == []


def test_a_later_epoch_that_diverges_ends_training_with_the_best_epoch_before(toy):
    model = Mean()

    def spoil(epoch):
        if epoch.number == 2:
            nn.init.constant_(model.fc.weight, math.inf)

    done = run(model, toy, on_epoch=spoil)
    assert done.diverged_in == 3
    assert [epoch.number for epoch in done.epochs] == [1, 2]
    assert done.best_epoch in (1, 2)
    assert all(weight.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize("clip_norm", [0.0, 0.01])
def test_the_gradients_norm_is_told_as_it_was_before_clipping(toy, clip_norm):
    first = run(Mean(), toy, with_(epochs=1, clip_norm=clip_norm, batch_size=1000)).epochs[0]
    torch.manual_seed(0)
    model = Mean()
    features, labels, train, _ = toy
    nn.functional.cross_entropy(model(features[train].float()), labels[train]).backward()
    wanted = math.sqrt(sum(weight.grad.square().sum().item() for weight in model.parameters()))
    assert first.gradient_norm == pytest.approx(wanted, rel=1e-4)


def unbalanced(toy):
    """16 training clips: 12, 3 and 1 of each class."""
    features, labels, _, held_out = toy
    labels = torch.cat([torch.tensor([0] * 12 + [1] * 3 + [2]), labels[16:]])
    return features, labels, np.arange(16), held_out


def test_balanced_weights_are_scikit_learn_s(toy):
    examples = Examples(*unbalanced(toy))
    labels = examples.labels.numpy()[examples.train_rows]
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    torch.testing.assert_close(examples.balanced_weights(), torch.from_numpy(expected).float())
    assert expected[labels].mean() == pytest.approx(1)


@pytest.mark.parametrize("batch_size", [1, 1000])
def test_balanced_weights_scale_each_clip_s_loss_and_gradient(toy, batch_size, steps):
    features, labels, train, held_out = unbalanced(toy)
    rate = 1e-12  # the network stays as it is
    epoch = run(
        Mean(),
        (features, labels, train, held_out),
        with_(epochs=1, learning_rate=rate, batch_size=batch_size, class_weights="balanced"),
    )
    torch.manual_seed(0)
    model = Mean()
    losses = nn.functional.cross_entropy(model(features[train].float()), labels[train], reduction="none")
    weights = 16 / (3 * torch.tensor([12, 3, 1]))[labels[train]]
    loss = (losses * weights).mean()
    assert epoch.epochs[0].train_loss == pytest.approx(loss.item(), rel=1e-5)
    if batch_size == 1000:
        loss.backward()
        expected = math.sqrt(sum(weight.grad.square().sum().item() for weight in model.parameters()))
        assert epoch.epochs[0].gradient_norm == pytest.approx(expected, rel=1e-4)


def test_balanced_weights_help_a_rare_class():
    random = np.random.default_rng(0)
    labels = np.array([0] * 95 + [1] * 5 + [0, 1] * 100)
    features = random.normal(size=(300, FRAMES, FEATURE_DIM)).astype(np.float32)
    features[:, :, 0] += 0.8 * labels[:, None]
    recalls = []
    for class_weights in ("none", "balanced"):
        torch.manual_seed(0)
        model = Mean()
        data = torch.from_numpy(features), torch.from_numpy(labels), np.arange(100), np.arange(100, 300)
        run(model, data, with_(epochs=20, class_weights=class_weights))
        answers = predict(model, data[0], np.arange(100, 300)).argmax(axis=1)
        recalls.append((answers[labels[100:] == 1] == 1).mean())
    assert recalls[0] < 0.3
    assert recalls[1] > 0.7


def test_with_equal_classes_balanced_weights_change_only_rounding(toy):
    features, labels, _, held_out = toy
    models = []
    for class_weights in ("none", "balanced"):
        torch.manual_seed(0)
        models.append(Mean())
        run(models[-1], (features, labels, np.arange(21), held_out), with_(class_weights=class_weights))
    torch.testing.assert_close(flat(models[0]), flat(models[1]))


@pytest.mark.parametrize("seeds", [[], [0, 0], [-1]])
def test_seeds_are_different_whole_numbers(seeds):
    with pytest.raises(ValueError, match="seeds must be different whole numbers from 0, at least one"):
        with_(seeds=seeds)


def test_prediction_keeps_the_order_of_rows_and_drops_nothing():
    features = torch.randn(150, FRAMES, FEATURE_DIM)
    rows = np.random.default_rng(0).permutation(150)  # more than one batch
    model = Mean(dropout=0.9).train()
    with torch.no_grad():
        logits = predict(model, features, rows)
        wanted = model.eval()(features)[rows]
    assert logits.shape == (150, CLASS_COUNT)
    assert logits.dtype == np.float32
    torch.testing.assert_close(torch.from_numpy(logits), wanted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1; got 0"),
        ({"batch_size": -1}, "batch_size must be at least 1; got -1"),
        ({"step_size": 0}, "step_size must be at least 1; got 0"),
        ({"weight_decay": -1e-5}, "weight_decay must be at least 0; got -1e-05"),
        ({"warmup_epochs": math.nan}, "warmup_epochs must be at least 0; got nan"),
        ({"clip_norm": -1.0}, "clip_norm must be at least 0; got -1.0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0; got 0.0"),
        ({"class_weights": "equal"}, "class_weights must be none or balanced; got 'equal'"),
        ({"gamma": math.nan}, "gamma must be above 0; got nan"),
        ({"mixup": -0.1}, "mixup must be at least 0; got -0.1"),
        ({"mixup": math.nan}, "mixup must be at least 0; got nan"),
        ({"mixup": math.inf}, "mixup must be finite; got inf"),
        ({"drop_frames": -0.1}, "drop_frames must be at least 0; got -0.1"),
        ({"drop_frames": 1.0}, "drop_frames must be below 1; got 1.0"),
        ({"time_jitter": -1}, "time_jitter must be at least 0; got -1"),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match="must be") as caught:
        with_(**change)
    assert str(caught.value) == message


def inputs_of_training(features, labels, train, settings, seed=0):
    """The batches that the network sees in training, (B, T, D)."""
    batches, model = [], Mean()
    model.register_forward_pre_hook(lambda module, given: batches.append(given[0].clone()) if module.training else None)
    run(model, (features, labels, train, np.arange(3)), settings, seed)
    return batches


def numbered():
    """30 clips whose features are 100 times the clip's row plus the time step."""
    numbers = 100 * torch.arange(30)[:, None] + torch.arange(FRAMES)
    return numbers.float()[:, :, None].expand(30, FRAMES, FEATURE_DIM), torch.arange(30) % CLASS_COUNT, np.arange(30)


def test_a_clip_s_steps_in_an_epoch_depend_on_seed_and_epoch_but_not_on_its_batch():
    def seen(batch_size, seed=0):
        settings = with_(epochs=2, batch_size=batch_size, drop_frames=0.3, time_jitter=1)
        clips = torch.cat(inputs_of_training(*numbered(), settings, seed))[:, :, 0]
        epochs = clips.split(30)
        return [epoch[epoch[:, 0].argsort()] for epoch in epochs]  # in order of the rows

    small, large, other = seen(4), seen(16), seen(4, seed=1)
    assert all(torch.equal(one, another) for one, another in zip(small, large, strict=True))
    assert not torch.equal(small[0], small[1])
    assert not torch.equal(small[0], other[0])
    assert torch.equal(small[0] // 100, torch.arange(30)[:, None].expand(30, FRAMES).float())  # never of another clip


def test_mixup_mixes_each_clip_with_the_one_before_it_in_its_batch():
    features, labels, rows = torch.eye(4)[:, None].expand(4, FRAMES, 4), torch.arange(4) % CLASS_COUNT, np.arange(4)
    [batch] = inputs_of_training(features, labels, rows, with_(epochs=1, batch_size=4, mixup=1.0))
    shares = batch[:, 0]  # of each of the 4 clips in each mixture
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(4))
    own, partner = shares.topk(2, dim=1).indices.T
    assert sorted(own.tolist()) == [0, 1, 2, 3]
    assert torch.equal(partner, own.roll(1))


def test_a_run_without_augmentation_draws_nothing(toy, monkeypatch):
    monkeypatch.setattr(loop.augmentation, "_generator", lambda *_: pytest.fail("drawn"))
    run(Mean(), toy)


def test_augmentation_that_changes_nothing_gives_the_same_bytes_as_none(toy):
    def outcome(**changes):
        torch.manual_seed(0)
        model = Mean(dropout=0.3)
        return run(model, toy, with_(**changes)).epochs, flat(model).numpy().tobytes()

    assert outcome(drop_frames=1e-15) == outcome()
    assert outcome(time_jitter=1) != outcome()


def test_the_loss_of_mixtures_is_weighted_and_their_greater_part_counts_as_the_label():
    """A network that always answers class 0: every mixture's loss is known."""

    class Always(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias = nn.Parameter(torch.tensor([2.0, 0.0, 0.0]))

        def forward(self, features):
            return self.bias.expand(len(features), CLASS_COUNT)

    labels = torch.tensor([0, 0, 0, 0, 1, 2])
    data = torch.randn(6, FRAMES, FEATURE_DIM), labels, np.arange(6), np.arange(6)
    [epoch] = run(Always(), data, with_(epochs=1, batch_size=6, mixup=1.0, learning_rate=1e-12)).epochs
    assert epoch.train_top1 == pytest.approx(4 / 6)
    plain = run(Always(), data, with_(epochs=1, batch_size=6, learning_rate=1e-12)).epochs[0].train_loss
    shares = augmentation.own_shares(6, 1.0, seed=0, epoch=1)
    losses = nn.functional.cross_entropy(torch.tensor([[2.0, 0, 0]]).expand(6, 3), labels, reduction="none").numpy()
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0)).numpy()
    partner = np.roll(losses[order], 1)
    expected = (shares[order] * losses[order] + (1 - shares[order]) * partner).mean()
    assert epoch.train_loss == pytest.approx(expected, rel=1e-5)
    assert epoch.train_loss != pytest.approx(plain, rel=1e-3)


@pytest.mark.parametrize(
    "changes", [{"mixup": 0.5}, {"drop_frames": 0.3}, {"time_jitter": 1}, {"mixup": 0.5, "class_weights": "balanced"}]
)
def test_classes_are_learnt_from_augmented_clips(toy, changes):
    done = run(Mean(), toy, with_(epochs=15, **changes))
    assert done.epochs[-1].held_out_top1 >= 0.9


@pytest.mark.gpu
@pytest.mark.parametrize("on_gpu", [True, False], ids=["resident", "read"])
def test_a_gpu_augments_alike_on_every_run_and_as_a_cpu_does(toy, on_gpu):
    features, labels, train, held_out = toy

    def outcome(device):
        loop.reproducible(0, device)
        model = Classifier(FEATURE_DIM, create_model("gru", {"hidden_dim": 16}, feature_dim=FEATURE_DIM, class_count=CLASS_COUNT))
        model.to(device)
        examples = Examples(features.to(device) if on_gpu else features.numpy(), labels.to(device), train, held_out)
        settings = with_(epochs=8, mixup=0.4, drop_frames=0.2, time_jitter=1)
        done = fit(model, examples, settings, 0, lambda epoch: None)
        return flat(model).cpu().numpy().tobytes(), done.epochs[-1].train_loss

    first, again, cpu = outcome("cuda"), outcome("cuda"), outcome("cpu")
    torch.use_deterministic_algorithms(False)
    assert first == again
    assert first[1] == pytest.approx(cpu[1], abs=0.05)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["gru", "bilstm", "transformer", "swin_transformer"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpu_learns_the_same_bytes_on_every_run_and_about_what_a_cpu_does(toy, name, precision):
    arguments = {"hidden_dim": 16} if name in ("gru", "bilstm") else {}
    if name == "transformer":
        arguments = {"d_model": 16, "num_heads": 2, "num_layers": 1, "ff_dim": 32}
    if name == "swin_transformer":
        arguments = {"dim": 16, "depths": (1, 1), "num_heads": (2, 2), "window": 2}
    features, labels, train, held_out = toy

    def outcome(device):
        loop.reproducible(0, device)
        model = create_model(name, arguments, feature_dim=FEATURE_DIM, class_count=CLASS_COUNT)
        model = Classifier(FEATURE_DIM, model).to(device)
        settings = with_(precision=precision, epochs=8)
        done = fit(model, Examples(features.to(device), labels.to(device), train, held_out), settings, 0, lambda epoch: None)
        return flat(model).cpu().numpy().tobytes(), done.epochs[-1].train_loss

    first, again, cpu = outcome("cuda"), outcome("cuda"), outcome("cpu")
    torch.use_deterministic_algorithms(False)
    assert first == again
    assert first[1] == pytest.approx(cpu[1], abs=0.2)


def test_bf16_is_used_where_the_processor_has_it_and_changes_little(toy, monkeypatch):
    def outcome(precision, has):
        monkeypatch.setattr(machine, "has_bf16", lambda device: has)
        loop.reproducible(0, "cpu")
        model = create_model("lstm", {"hidden_dim": 16}, feature_dim=FEATURE_DIM, class_count=CLASS_COUNT)
        done = run(Classifier(FEATURE_DIM, model), toy, with_(precision=precision, epochs=8))
        return done.epochs

    exact = outcome("fp32", True)
    assert outcome("bf16", False) == exact
    rounded = outcome("bf16", True)
    assert rounded != exact
    assert rounded[-1].train_loss == pytest.approx(exact[-1].train_loss, abs=0.05)
    assert rounded[-1].train_top1 == pytest.approx(exact[-1].train_top1, abs=0.1)
