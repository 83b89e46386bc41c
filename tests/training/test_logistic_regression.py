import dataclasses

import numpy as np
import pytest
import torch
from fabricate import BASELINES
from sklearn.linear_model import LogisticRegression

from actionrec.core.errors import TrainingError
from actionrec.evaluation.calibration import softmax
from actionrec.models import create_model
from actionrec.training import logistic_regression, pooled_features
from actionrec.training.classifier import Classifier
from actionrec.training.logistic_regression import ProbeSettings
from actionrec.training.loop import Examples, predict

CLIPS, FRAMES, FEATURE_DIM, CLASSES = 150, 6, 20, 3
TRAIN, HELD_OUT = np.arange(0, 100), np.arange(100, CLIPS)
SETTINGS = ProbeSettings(weight_decay=0.01, standardise=True, class_weights="none")


pytestmark = pytest.mark.usefixtures("one_seeded_thread")


@pytest.fixture
def examples():
    """Classes of unequal size that overlap, in features of very different scale."""
    random = np.random.default_rng(0)
    labels = random.choice(CLASSES, CLIPS, p=[0.6, 0.3, 0.1])
    centres = random.normal(size=(CLASSES, FEATURE_DIM)) * 0.5
    features = centres[labels][:, None] + random.normal(size=(CLIPS, FRAMES, FEATURE_DIM))
    scales = np.logspace(-2, 2, FEATURE_DIM)
    return Examples((features * scales + 3).astype(np.float32), torch.from_numpy(labels), TRAIN, HELD_OUT)


def network(name="mean_pool", classes=CLASSES):
    return Classifier(FEATURE_DIM, create_model(name, {}, feature_dim=FEATURE_DIM, class_count=classes))


def fitted(examples, settings=SETTINGS, name="mean_pool"):
    trained = network(name, int(examples.labels.max()) + 1)
    if settings.standardise:
        trained.standardise.fit(examples.features, examples.train_rows)
    fit = logistic_regression.fit(trained, examples, settings, lambda epoch: None)
    return trained, fit


def by_scikit_learn(examples, trained, weight_decay, class_weight=None):
    """Probabilities (held out, K) of scikit-learn's logistic regression on the same pooled features, standardised."""
    with torch.no_grad():
        pooled = trained.model.pool(trained.standardise(torch.from_numpy(examples.features))).double().numpy()
    pooled = (pooled - pooled[TRAIN].mean(axis=0)) / pooled[TRAIN].std(axis=0)
    solver = LogisticRegression(C=1 / (len(TRAIN) * weight_decay), class_weight=class_weight, tol=1e-8, max_iter=10_000)
    return solver.fit(pooled[TRAIN], examples.labels.numpy()[TRAIN]).predict_proba(pooled[HELD_OUT])


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize(("weight_decay", "class_weights"), [(0.01, "none"), (0.1, "balanced")])
def test_it_finds_the_minimum_that_scikit_learn_finds(examples, name, weight_decay, class_weights):
    trained, _ = fitted(examples, dataclasses.replace(SETTINGS, weight_decay=weight_decay, class_weights=class_weights), name)
    expected = by_scikit_learn(examples, trained, weight_decay, None if class_weights == "none" else "balanced")
    np.testing.assert_allclose(softmax(predict(trained, examples.features, HELD_OUT)), expected, atol=1e-3)


def test_many_blocks_have_the_same_minimum_and_hold_few_logits_at_a_time(monkeypatch):
    clips, classes = 4_000, 30
    random = np.random.default_rng(0)
    labels = random.integers(0, classes, clips)
    mixture = random.normal(size=(FEATURE_DIM, FEATURE_DIM)) * np.arange(1, FEATURE_DIM + 1) ** -1.0  # features correlate
    features = (random.normal(size=(classes, FEATURE_DIM))[labels] + random.normal(size=(clips, FEATURE_DIM))) @ mixture
    rows = np.arange(clips)
    examples = Examples(features.astype(np.float32)[:, None], torch.from_numpy(labels), rows[:2_000], rows[2_000:])
    whole, _ = fitted(examples)
    sizes, mean_loss = [], logistic_regression.mean_loss

    def counted(logits, *arguments):
        sizes.append(len(logits))
        return mean_loss(logits, *arguments)

    monkeypatch.setattr(logistic_regression, "mean_loss", counted)
    monkeypatch.setattr(pooled_features, "ONE_BLOCK", 1_999)
    monkeypatch.setattr(pooled_features, "_BLOCK", 300)
    (blocks, fit), (again, _) = fitted(examples), fitted(examples)
    assert max(sizes) == 300
    assert torch.equal(blocks.model.fc.weight, again.model.fc.weight)
    torch.testing.assert_close(blocks.model.fc.weight, whole.model.fc.weight, rtol=0.01, atol=2e-3)

    with torch.no_grad():
        pooled = blocks.model.pool(blocks.standardise(torch.from_numpy(examples.features))).double().numpy()
    pooled = (pooled - pooled[:2_000].mean(axis=0)) / pooled[:2_000].std(axis=0)
    solver = LogisticRegression(C=1 / (2_000 * SETTINGS.weight_decay), tol=1e-6, max_iter=10_000)
    accuracy = solver.fit(pooled[:2_000], labels[:2_000]).score(pooled[2_000:], labels[2_000:])
    assert 0.5 < accuracy < 0.95
    assert fit.epochs[0].held_out_top1 == pytest.approx(accuracy, abs=0.001)
    logits = torch.from_numpy(predict(blocks, examples.features, examples.train_rows))
    loss = torch.nn.functional.cross_entropy(logits, examples.labels[:2_000]).item()
    assert fit.epochs[0].train_loss == pytest.approx(loss, rel=1e-4)
    assert fit.epochs[0].train_top1 == pytest.approx((logits.argmax(dim=1) == examples.labels[:2_000]).double().mean().item())


def test_the_fit_is_one_epoch_with_the_figures_of_the_solved_network(examples):
    seen = []
    trained = network()
    trained.standardise.fit(examples.features, TRAIN)
    fit = logistic_regression.fit(trained, examples, SETTINGS, seen.append)
    [epoch] = fit.epochs
    assert seen == [epoch]
    assert (epoch.number, fit.best_epoch, fit.diverged_in) == (1, 1, None)
    logits, labels = torch.from_numpy(predict(trained, examples.features, TRAIN)), examples.labels[TRAIN]
    assert epoch.train_loss == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-3)
    assert epoch.train_top1 == pytest.approx((logits.argmax(dim=1) == labels).float().mean().item())
    held_out = predict(trained, examples.features, HELD_OUT).argmax(axis=1)
    assert epoch.held_out_top1 == pytest.approx((held_out == examples.labels[HELD_OUT].numpy()).mean())
    assert epoch.gradient_norm < 1e-3


@pytest.mark.parametrize("name", BASELINES)
def test_initial_weights_do_not_matter(examples, name):
    first, _ = fitted(examples, name=name)
    torch.manual_seed(1)
    second, _ = fitted(examples, name=name)
    assert all(torch.equal(one, other) for one, other in zip(first.parameters(), second.parameters(), strict=True))


def test_a_constant_feature_is_ignored_and_classes_that_separate_are_no_problem(examples):
    features = examples.features.copy()
    features[:, :, 0] = 7
    features[:, :, 1] += 1000 * examples.labels.numpy()[:, None]
    trained, fit = fitted(dataclasses.replace(examples, features=features), dataclasses.replace(SETTINGS, weight_decay=0.0))
    assert fit.epochs[0].train_top1 == 1
    assert fit.epochs[0].held_out_top1 > 0.95
    assert not trained.model.fc.weight[:, 0].any()
    assert torch.isfinite(trained.model.fc.weight).all()


def test_without_standardisation_features_are_used_as_they_are(examples):
    settings = dataclasses.replace(SETTINGS, standardise=False, weight_decay=1.0)
    trained, _ = fitted(examples, settings)
    pooled = examples.features.mean(axis=1).astype(np.float64)
    solver = LogisticRegression(C=1 / len(TRAIN), tol=1e-8, max_iter=100_000)
    expected = solver.fit(pooled[TRAIN], examples.labels.numpy()[TRAIN]).predict_proba(pooled[HELD_OUT])
    np.testing.assert_allclose(softmax(predict(trained, examples.features, HELD_OUT)), expected, atol=0.01)


@pytest.mark.parametrize(("row", "clips"), [(0, "training"), (CLIPS - 1, "held-out")])
def test_features_that_are_not_finite_are_an_error_that_names_the_remedy(examples, row, clips):
    features = examples.features.copy()
    features[row, 0, 0] = np.inf
    with pytest.raises(TrainingError, match=f"features of {clips} clips are not finite, .* Set standardise to true"):
        fitted(dataclasses.replace(examples, features=features), dataclasses.replace(SETTINGS, standardise=False))


def test_a_resumed_run_takes_the_stored_solution(examples):
    class Stored:
        progress = None

        def load(self):
            return self.progress

        def save(self, progress):
            self.progress = progress

    store, first, second = Stored(), network(), network()
    fit = logistic_regression.fit(first, examples, SETTINGS, lambda epoch: None, store)
    again = logistic_regression.fit(second, dataclasses.replace(examples, features=None), SETTINGS, lambda epoch: None, store)
    assert again == fit
    assert all(torch.equal(one, other) for one, other in zip(first.parameters(), second.parameters(), strict=True))
