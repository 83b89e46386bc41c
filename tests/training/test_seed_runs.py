import numpy as np
import pytest
import torch
from fabricate import train_settings

from actionrec.features.feature_store import FeatureSet
from actionrec.io import machine
from actionrec.training import loop, seed_runs
from actionrec.training.bundle import Architecture
from actionrec.training.training_data import TrainingData

CLIPS, FRAMES, FEATURE_DIM = 24, 4, 6
SETTINGS = train_settings(epochs=2, seeds=[0, 1, 2])


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(machine, "TRAINING_THREADS", 1)
    yield
    torch.set_num_threads(before)


def task(*, validation=True):
    random = np.random.default_rng(0)
    labels = np.arange(CLIPS) % 2
    features = random.normal(size=(CLIPS, FRAMES, FEATURE_DIM)).astype(np.float16)
    rows = {"train": np.arange(12), "val": np.arange(12, 18), "test": np.arange(18, 24)}
    if not validation:
        rows |= {"train": np.arange(18), "val": np.arange(0)}
    names = [f"{place:02d}.avi" for place in range(CLIPS)]
    return TrainingData(FeatureSet(names, features, {}), labels, ["a", "b"], np.arange(CLIPS) // 2, rows)


def run(task, seeds=(0, 1, 2), seed=0):
    architecture = Architecture("gru", {"hidden_dim": 5, "dropout": 0.1}, FEATURE_DIM, task.class_names)
    return [seed_runs.run(task, architecture, SETTINGS, seed, one, "cpu", lambda epoch: None) for one in seeds]


def test_another_seed_is_another_run_and_the_same_seed_the_same():
    first, second = run(task(), (0, 1))
    [again] = run(task(), (1,))
    assert not np.array_equal(first.logits, second.logits)
    assert np.array_equal(second.logits, again.logits)


def test_the_project_s_seed_is_added():
    [one] = run(task(), (1,), seed=2)
    [other] = run(task(), (3,), seed=0)
    assert np.array_equal(one.logits, other.logits)


def swap_answers(trial, rows):
    """The same trial with other answers for some of the reported clips."""
    logits = trial.logits.copy()
    logits[rows] = logits[rows, ::-1]
    return seed_runs.SeedRun(trial.seed, trial.network, trial.fit, logits)


def test_the_best_trial_is_chosen_on_validation_and_never_on_test():
    whole = task()
    made = run(whole)
    chosen = seed_runs.best(made, whole)
    # Whatever the test clips' answers become, the choice stays.
    spoilt = [swap_answers(trial, whole.reported_subsets == "test") for trial in made]
    assert seed_runs.best(spoilt, whole).seed == chosen.seed
    # A trial that has every validation clip right is taken.
    perfect = made[2].logits.copy()
    validation = whole.reported_subsets == "val"
    perfect[validation] = 9 * np.eye(2, dtype=np.float32)[whole.labels[whole.reported][validation]]
    assert seed_runs.best([*made[:2], seed_runs.SeedRun(2, made[2].network, made[2].fit, perfect)], whole).seed == 2


def test_without_validation_the_first_seed_is_taken():
    whole = task(validation=False)
    assert seed_runs.best(run(whole), whole).seed == 0


def test_predictions_hold_every_seed_and_the_chosen_one_with_frames_in_other_orders():
    whole = task()
    made = run(whole)
    result = seed_runs.predictions(made, made[1], whole, "cpu")
    assert result.seeds == (0, 1, 2)
    assert np.array_equal(result.answers.logits, made[1].logits)
    assert np.array_equal(result.answers.seed_logits[2], made[2].logits)
    backwards = torch.from_numpy(whole.features.features[whole.reported]).flip(1)
    wanted = loop.predict(made[1].network, backwards, np.arange(len(backwards)))
    assert np.array_equal(result.answers.changed["reversed"], wanted)
    assert np.array_equal(result.answers.clusters, whole.clusters[whole.reported])
