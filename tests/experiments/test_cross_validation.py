import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fabricate import train_settings
from ruamel.yaml import YAML

from actionrec.core import paths
from actionrec.core.errors import DataError, ParamsError
from actionrec.data.clips import Clip, write_clips
from actionrec.data.splits import SplitSettings
from actionrec.experiments import cross_validation
from actionrec.features import feature_store
from actionrec.features.feature_store import FeatureSet
from actionrec.training.recipes import Recipe

ROOT = Path(__file__).parents[2]
GROUPS = 6


@pytest.fixture
def featured(project):
    """A project whose features are made: two classes that are easily told apart, in six groups."""
    random = np.random.default_rng(0)
    clips, shard = [], {}
    for label in ("a", "b"):
        for group in range(1, GROUPS + 1):
            name = f"{label}/v_{label}_g{group:02d}_c01.avi"
            clips.append(Clip(name, label, f"g{group:02d}", 1, name))
            shard[name] = random.normal(3 if label == "a" else 0, 1, (4, 8)).astype(np.float16)
    write_clips(paths.CLIPS, clips)
    paths.FEATURES.mkdir(parents=True)
    feature_store.write_shard(paths.FEATURES / "shard-0000.safetensors", shard, {"backbone": "resnet50", "weights": "random"})
    shutil.copy(ROOT / "params.yaml", project)
    change(**{"train.epochs": 2, "train.batch_size": 4, "model.hidden_dim": 4, "data.dataset": "made"})
    return project


def change(**values: object) -> None:
    yaml, file = YAML(), Path("params.yaml")
    document = yaml.load(file)
    for path, value in values.items():
        section, key = path.rsplit(".", 1)
        inner = document
        for name in section.split("."):
            inner = inner[name]
        inner[key] = value
    yaml.dump(document, file)


def begin(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "actionrec", "cross-validate", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def validate(*arguments: object) -> tuple[int, str, str]:
    process = begin(*arguments)
    printed = process.communicate(timeout=180)
    return process.returncode, *printed


def comes(true: Callable[[], bool]) -> bool:
    """Wait until something is true, for a minute at most."""
    end = time.monotonic() + 60
    while not true() and time.monotonic() < end:
        time.sleep(0.1)
    return true()


def stored() -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in cross_validation.STORE.glob("*.npz")}


@pytest.mark.slow
def test_each_clip_is_tested_once_a_failing_model_is_named_and_a_second_run_trains_nothing(featured):
    change(**{"models.gru.learning_rate": 1e38})
    before = (featured / "params.yaml").read_bytes()
    status, printed, said = validate("--folds", 3, "--models", "gru,simple_rnn", "--jobs", 1)
    assert status == 2
    assert "error: 1 of 2 models failed and are not in the table:\n  gru, fold 0: the loss is not finite" in said
    assert "Traceback" not in said
    assert "made, group split, 3 folds, seed 0; 12 clips of 12 source videos, each tested once" in printed
    assert "| gru" not in printed
    assert printed == (cross_validation.STORE / "report.md").read_text()
    with (cross_validation.STORE / "folds.csv").open(newline="") as stream:
        folds = [(row["model"], row["fold"], row["test_clips"]) for row in csv.DictReader(stream)]
    assert folds == [("simple_rnn", str(fold), "4") for fold in range(3)]
    assert (featured / "params.yaml").read_bytes() == before

    trained = stored()
    assert len(trained) == 3
    damaged = min(cross_validation.STORE.glob("*.npz"))
    damaged.write_bytes(damaged.read_bytes()[:-100])
    status, again, said = validate("--folds", 3, "--models", "simple_rnn", "--output", featured / "elsewhere", "--json")
    assert status == 0, said
    assert "2 of 3 training runs are cached from an earlier run" in said
    assert {name for name, changed in stored().items() if trained[name] != changed} == {damaged.name}
    [result] = json.loads(again)["models"]
    with (featured / "elsewhere" / "report.csv").open(newline="") as stream:
        [row] = csv.DictReader(stream)
    assert row["model"] == result["model"] == "simple_rnn"
    assert row["top1_percent"] == f"{100 * result['top1']:.2f}"


@pytest.mark.slow
def test_ctrl_c_ends_all_processes_and_keeps_what_is_trained(featured):
    change(**{"models.gru.epochs": 1_000_000})
    process = begin("--folds", 2, "--models", "gru,simple_rnn", "--jobs", 2)
    assert comes(lambda: len(stored()) == 1)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert len(workers) >= 2
    assert comes(lambda: not any(Path(f"/proc/{worker}/cmdline").exists() for worker in workers))
    assert len(stored()) == 1


def made(recipe: Recipe, *, features_sum: str = "", device: str = "cpu", seed: int = 0, folds: int = 3) -> list[str]:
    """Names of the results of one model under a fabricated set of clips."""
    clips = [Clip(f"{label}/{group}.avi", label, f"g{group}", 1, f"{label}{group}") for label in "ab" for group in range(GROUPS)]
    stored = FeatureSet([clip.id for clip in clips], np.zeros((len(clips), 2, 3), dtype=np.float16), {})
    settings = cross_validation.group_split(SplitSettings("official", 5, 4, 0.2), folds)
    runs = cross_validation.runs(clips, stored, features_sum, settings, seed, {"gru": recipe}, device)
    assert [run.fold for run in runs] == [*range(folds)]
    tested = np.concatenate([run.task.rows["test"] for run in runs])
    assert sorted(tested) == [*range(len(clips))]
    return [run.predictions.name for run in runs]


RECIPE = Recipe(0, train_settings(), {"hidden_dim": 4})


def test_a_result_is_known_by_all_that_it_depends_on(monkeypatch):
    known = made(RECIPE)
    assert made(RECIPE) == known
    assert len(set(known)) == 3
    others = [
        made(replace(RECIPE, seed=1)),
        made(replace(RECIPE, train=train_settings(epochs=RECIPE.train.epochs + 1))),
        made(replace(RECIPE, arguments={"hidden_dim": 5})),
        made(RECIPE, features_sum="other"),
        made(RECIPE, seed=1),
        made(RECIPE, folds=2),
    ]
    monkeypatch.setattr(cross_validation, "code_digest", lambda stage: "other code")
    others.append(made(RECIPE))
    monkeypatch.undo()
    monkeypatch.setattr(cross_validation.torch, "__version__", "other torch")
    others.append(made(RECIPE))
    monkeypatch.undo()
    monkeypatch.setattr(cross_validation.machine, "TRAINING_THREADS", 4)
    others.append(made(RECIPE))
    for other in others:
        assert not set(known) & set(other)


def test_other_features_have_another_digest(featured):
    before = cross_validation.digest_of(paths.FEATURES)
    assert cross_validation.digest_of(paths.FEATURES) == before
    (paths.FEATURES / "shard-0001.safetensors").write_bytes(b"more")
    assert cross_validation.digest_of(paths.FEATURES) != before


def test_folds_that_there_cannot_be_are_refused():
    with pytest.raises(DataError, match="folds must be at least 2"):
        made(RECIPE, folds=1)
    with pytest.raises(DataError, match="the clips cannot be divided into 7 parts"):
        made(RECIPE, folds=7)


def test_arguments_that_do_not_fit_are_refused_before_training():
    clips = [Clip(f"{label}/{group}.avi", label, f"g{group}", 1, f"{label}{group}") for label in "ab" for group in range(GROUPS)]
    stored = FeatureSet([clip.id for clip in clips], np.zeros((len(clips), 2, 3), dtype=np.float16), {})
    recipe = replace(RECIPE, arguments={"d_model": 6, "num_heads": 4, "num_layers": 1, "ff_dim": 8, "dropout": 0.0})
    settings = cross_validation.group_split(SplitSettings("group", 5, 4, 0.2), 2)
    with pytest.raises(ParamsError, match=r"models\.transformer"):
        cross_validation.runs(clips, stored, "", settings, 0, {"transformer": recipe}, "cpu")
