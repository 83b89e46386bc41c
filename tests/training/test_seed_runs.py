import numpy as np
import pytest
import torch
from fabricate import train_settings

from actionrec.features.feature_store import FeatureSet
from actionrec.io import machine
from actionrec.training import loop, seed_runs
from actionrec.training.bundle import Architecture
from actionrec.training.recipes import Recipe
from actionrec.training.training_data import TrainingData

CLIPS, FRAMES, FEATURE_DIM = 24, 4, 6
SETTINGS = train_settings(epochs=2, seeds=[0, 1, 2])


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(machine, "TRAINING_THREADS", 1)
    yield
    torch.set_num_threads(before)


def training_data(*, validation=True):
    random = np.random.default_rng(0)
    labels = np.arange(CLIPS) % 2
    features = random.normal(size=(CLIPS, FRAMES, FEATURE_DIM)).astype(np.float16)
    rows = {"train": np.arange(12), "val": np.arange(12, 18), "test": np.arange(18, 24)}
    if not validation:
        rows |= {"train": np.arange(18), "val": np.arange(0)}
    names = [f"{place:02d}.avi" for place in range(CLIPS)]
    return TrainingData(labels, ["a", "b"], np.arange(CLIPS) // 2, rows, FeatureSet(names, features, {}))


def train(data, seeds=(0, 1, 2), project_seed=0):
    recipe = Recipe(project_seed, SETTINGS, {"hidden_dim": 5, "dropout": 0.1})
    architecture = Architecture("gru", recipe.arguments, FEATURE_DIM, data.class_names)
    return [seed_runs.run(data, architecture, recipe, seed, "cpu", lambda epoch: None) for seed in seeds]


def test_another_seed_is_another_run_and_the_same_seed_the_same():
    first, second = train(training_data(), (0, 1))
    [again] = train(training_data(), (1,))
    assert not np.array_equal(first.logits, second.logits)
    assert np.array_equal(second.logits, again.logits)


def test_the_project_s_seed_is_added():
    [one] = train(training_data(), (1,), project_seed=2)
    [other] = train(training_data(), (3,), project_seed=0)
    assert np.array_equal(one.logits, other.logits)


def swap_answers(run, rows):
    """The same run with other answers for some of the reported clips."""
    logits = run.logits.copy()
    logits[rows] = logits[rows, ::-1]
    return seed_runs.SeedRun(run.seed, run.network, run.fit, logits)


def test_the_best_run_is_chosen_on_validation_clips_and_never_on_test_clips():
    data = training_data()
    runs = train(data)
    chosen = seed_runs.best(runs, data)
    # Other answers for test clips do not change the choice.
    changed = [swap_answers(run, data.reported_subsets == "test") for run in runs]
    assert seed_runs.best(changed, data).seed == chosen.seed
    # A run that has every validation clip right is chosen.
    perfect = runs[2].logits.copy()
    validation = data.reported_subsets == "val"
    perfect[validation] = 9 * np.eye(2, dtype=np.float32)[data.labels[data.reported][validation]]
    assert seed_runs.best([*runs[:2], seed_runs.SeedRun(2, runs[2].network, runs[2].fit, perfect)], data).seed == 2


def test_without_validation_the_first_seed_is_chosen():
    data = training_data(validation=False)
    assert seed_runs.best(train(data), data).seed == 0


def test_predictions_hold_every_seed_and_the_chosen_one_with_frames_in_other_orders():
    data = training_data()
    runs = train(data)
    result = seed_runs.predictions(runs, runs[1], data, 3, "cpu")
    assert result.folds.tolist() == [3] * len(result.subsets)
    assert result.saved_fold == 3
    assert result.seeds == (0, 1, 2)
    assert np.array_equal(result.answers.logits, runs[1].logits)
    assert np.array_equal(result.answers.seed_logits[2], runs[2].logits)
    backwards = torch.from_numpy(data.features.features[data.reported]).flip(1)
    expected = loop.predict(runs[1].network, backwards, np.arange(len(backwards)))
    assert np.array_equal(result.answers.changed["reversed"], expected)
    assert np.array_equal(result.answers.clusters, data.clusters[data.reported])
