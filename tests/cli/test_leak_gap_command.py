import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from projects import edit_params

from actionrec.cli import leak_gap, learning_curve
from actionrec.core.errors import DataError
from actionrec.data import clips
from actionrec.data.clips import Clip
from actionrec.features import feature_store
from actionrec.features.feature_store import FeatureSet
from actionrec.io import machine

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """params.yaml with two short training runs a model, and features of 40 clips from 10 sources in 2 classes."""
    shutil.copy(PARAMS, tmp_path)
    edit_params(tmp_path, {"train.epochs": 2, "train.seeds": [0, 1], "split.folds": 5, "split.validation": 0})
    found = [
        Clip(f"{label}/{group}-{n}.avi", label, f"{group}", 1, f"{label}{group}{n}")
        for label in "ab"
        for group in range(10)
        for n in "xy"
    ]
    features = np.random.default_rng(0).normal(size=(40, 3, 8)).astype(np.float16)
    monkeypatch.setattr(machine, "TRAINING_THREADS", 1)
    monkeypatch.setattr(clips, "read_clips", lambda path: found)
    monkeypatch.setattr(feature_store, "read_features", lambda path: FeatureSet(sorted(clip.id for clip in found), features, {}))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("folds", "common"), [("all", 40), ("one", None)])
def test_leak_gap_trains_all_seeds_on_the_chosen_folds(project, capsys, folds, common):
    parser = argparse.ArgumentParser()
    leak_gap.register(parser.add_subparsers())
    arguments = parser.parse_args(["leak-gap", "--models", "mean_pool", "--folds", folds, "--json"])
    arguments.run(arguments)
    [gap] = json.loads(capsys.readouterr().out)
    assert (gap["model"], gap["seeds"]) == ("mean_pool", 2)
    assert gap["group"]["clips"] == (40 if folds == "all" else 8)
    if common:
        assert (gap["common"]["clips"], gap["common"]["sources"]) == (40, 10)
        assert gap["common"]["interval"]["low"] <= gap["common"]["difference"] <= gap["common"]["interval"]["high"]
    else:
        assert gap["common"] is None or gap["common"]["clips"] < 8


@pytest.mark.parametrize("command", ["leak-gap", "learning-curve"])
def test_features_of_a_tuned_backbone_are_refused(project, monkeypatch, command):
    module = {"leak-gap": leak_gap, "learning-curve": learning_curve}[command]
    stored = replace(feature_store.read_features(Path()), source={"weights": "tuned", "tuning": {}})
    monkeypatch.setattr(feature_store, "read_features", lambda path: stored)
    data = SimpleNamespace(features=stored)
    monkeypatch.setattr("actionrec.training.training_data.read_training_data", lambda: data)
    monkeypatch.setattr("actionrec.experiments.part_runs.digest_of", lambda folder: "")
    Path("metrics").mkdir()
    Path("metrics/summary.json").write_text('{"best": "mean_pool"}')
    parser = argparse.ArgumentParser()
    module.register(parser.add_subparsers())
    arguments = parser.parse_args([command])
    with pytest.raises(
        DataError, match=r"^data/features are of a tuned backbone\. It has seen the labels of .+Set finetune\.epochs to 0"
    ):
        arguments.run(arguments)
