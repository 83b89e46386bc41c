from dataclasses import replace

import numpy as np
import pytest
from fabricate import toy_set, train_settings

from actionrec.core.errors import ParamsError, TrainingError
from actionrec.experiments import part_runs
from actionrec.features.feature_store import FeatureSet
from actionrec.training.recipes import Recipe
from actionrec.training.training_data import TrainingData

RECIPE = Recipe(0, train_settings(epochs=2), {})


def data(*, train=15) -> TrainingData:
    features, labels, *_ = toy_set(4, 5, 3, margin=2)
    rows = {"train": np.arange(train), "val": np.arange(15, 22), "test": np.arange(22, 30)}
    clips = [f"{place:02}.avi" for place in range(30)]
    return TrainingData(labels, ["a", "b", "c"], np.arange(30), rows, FeatureSet(clips, features, {}))


def a_run(part="all", model="mean_pool", recipe=RECIPE, task=None, features_sum="", device="cpu"):
    return part_runs.part_run(part, model, recipe, task or data(), features_sum, device)


def test_a_result_is_known_by_all_that_it_depends_on(monkeypatch):
    known = a_run().predictions
    assert a_run(part="another name").predictions == known
    others = [
        a_run(recipe=replace(RECIPE, seed=1)),
        a_run(recipe=replace(RECIPE, train=train_settings(epochs=3))),
        a_run(recipe=replace(RECIPE, train=train_settings(epochs=2, class_weights="balanced"))),
        a_run(model="gru", recipe=replace(RECIPE, arguments={"hidden_dim": 5})),
        a_run(model="gru", recipe=replace(RECIPE, arguments={"hidden_dim": 6})),
        a_run(features_sum="other"),
        a_run(task=data(train=12)),
    ]
    monkeypatch.setattr(part_runs, "code_digest", lambda stage: "other code")
    others.append(a_run())
    monkeypatch.undo()
    monkeypatch.setattr(part_runs.torch, "__version__", "other torch")
    others.append(a_run())
    monkeypatch.undo()
    monkeypatch.setattr(part_runs.machine, "TRAINING_THREADS", 4)
    others.append(a_run())
    assert len({known, *(run.predictions for run in others)}) == 1 + len(others)


def test_other_features_have_another_digest(tmp_path):
    (tmp_path / "shard-0000.safetensors").write_bytes(b"some")
    before = part_runs.digest_of(tmp_path)
    assert part_runs.digest_of(tmp_path) == before
    (tmp_path / "shard-0001.safetensors").write_bytes(b"more")
    assert part_runs.digest_of(tmp_path) != before


def test_arguments_that_do_not_fit_are_refused_before_training():
    arguments = {"d_model": 6, "num_heads": 4, "num_layers": 1, "ff_dim": 8, "dropout": 0.0}
    with pytest.raises(ParamsError, match=r"params.yaml: models\.transformer \(or model\): "):
        a_run(model="transformer", recipe=replace(RECIPE, arguments=arguments))


@pytest.mark.slow
def test_runs_are_trained_once_and_damaged_results_again(project, caplog):
    several = replace(RECIPE, train=train_settings(epochs=2, seeds=(0, 3)))
    runs = [a_run(), a_run(part="half", recipe=several, task=data(train=9))]
    first = part_runs.complete(runs, 1)
    assert [one.seeds for one in first] == [(0,), (0, 3)]
    assert [one.correct().shape for one in first] == [(1, 8), (2, 8)]
    times = [run.predictions.stat().st_mtime_ns for run in runs]
    damaged = runs[1].predictions
    damaged.write_bytes(damaged.read_bytes()[:-100])
    caplog.set_level("INFO")
    again = part_runs.complete(runs, 1)
    assert "1 of 2 training runs are cached from an earlier run" in caplog.text
    assert runs[0].predictions.stat().st_mtime_ns == times[0]
    assert damaged.stat().st_mtime_ns != times[1]
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one.test.seed_logits, other.test.seed_logits)


@pytest.mark.slow
def test_a_failed_run_is_named_and_the_others_are_kept(project):
    bad = replace(RECIPE, train=train_settings(epochs=2, learning_rate=3e38))
    bad = replace(bad, arguments={"hidden_dim": 4})
    runs = [a_run(part="1/4", model="simple_rnn", recipe=bad), a_run(part="all")]
    with pytest.raises(TrainingError) as caught:
        part_runs.complete(runs, 1)
    assert str(caught.value).startswith("simple_rnn, 1/4: the loss is not finite in the first epoch")
    assert "all" not in str(caught.value).split(":")[0]
    assert runs[1].predictions.exists()
