import json
import shutil
import sys

import numpy as np
import pytest
from projects import ROOT, edit_params
from small_features import CLASSES, CLIPS, FOLDS, write_features, write_split_files

from actionrec.core import paths
from actionrec.core.errors import DataError, TrainingError
from actionrec.data.folds import write_other_folds
from actionrec.data.splits import read_split
from actionrec.evaluation import metrics
from actionrec.evaluation.prediction_files import read_predictions
from stages import train

MODEL = "simple_rnn"


def divided(fold, every=False):
    """Write split.csv and other_folds.csv as the split stage does, and set split.fold."""
    write_split_files(fold, every)
    edit_params(paths.PARAMS.absolute().parent, {"split.fold": fold})


@pytest.fixture
def features(project, monkeypatch):
    """36 clips of three classes with features that tell the classes apart, mostly."""
    monkeypatch.setenv("ACTIONREC_DEVICE", "cpu")
    monkeypatch.setattr(sys, "argv", ["stages.train", MODEL])
    for file in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / file, file)
    changes = {"split.folds": FOLDS, "train.epochs": 3, "train.seeds": [0, 1], "model.hidden_dim": 8, "train.precision": "fp32"}
    edit_params(project, changes)
    write_features()


def trained():
    train.main()
    return read_predictions(paths.predictions(MODEL), len(CLASSES), "")


@pytest.mark.usefixtures("features")
def test_each_fold_is_trained_as_if_it_were_the_only_one():
    alone = {}
    for fold in range(FOLDS):
        divided(fold)
        alone[fold] = trained()
        assert set(alone[fold].folds) == {fold}
        training = {clip for clip, subset in read_split(paths.SPLIT).items() if subset == "train"}
        expected = np.median([1 + int(clip.group[1:]) for clip in CLIPS if clip.id in training])
        assert json.loads((paths.model_folder(MODEL) / "model.json").read_text())["clips"] == {"median_seconds": expected}
    weights = (paths.model_folder(MODEL) / "model.safetensors").read_bytes()  # of the last fold

    divided(FOLDS - 1, every=True)
    every = trained()
    assert sorted(every.test.clips) == sorted(clip.id for clip in CLIPS)
    for fold, one in alone.items():
        rows = every.test_folds == fold
        assert np.array_equal(every.test.clips[rows], one.test.clips)
        assert np.array_equal(every.test.logits[rows], one.test.logits)
        mine = [logits[rows] for logits in every.test.seed_logits]
        assert np.array_equal(mine, one.test.seed_logits)
        assert all(np.array_equal(every.test.changed[change][rows], one.test.changed[change]) for change in one.test.changed)
    assert np.array_equal(every.val.logits, alone[FOLDS - 1].val.logits)
    assert (paths.model_folder(MODEL) / "model.safetensors").read_bytes() == weights

    record = json.loads(paths.model_metrics(MODEL).read_text())
    own = alone[FOLDS - 1].test
    assert record["test_top1"] == metrics.top_k(own.logits, own.labels, 1)
    assert record["test_top1_mean"] == pytest.approx(alone[FOLDS - 1].correct().mean())
    assert record["folds_top1_mean"] == pytest.approx(np.mean([one.correct().mean() for one in alone.values()]))


@pytest.mark.usefixtures("features")
def test_a_run_over_all_folds_resumes_and_gives_the_same_bytes(monkeypatch):
    divided(0, every=True)
    train.main()
    whole = paths.predictions(MODEL).read_bytes()
    files = sorted((paths.WORK / "training" / MODEL).glob("*.safetensors"))
    assert len(files) == 2 * FOLDS
    kept = {file: file.stat().st_mtime_ns for file in files[1:]}
    files[0].unlink()
    paths.predictions(MODEL).unlink()
    train.main()
    assert paths.predictions(MODEL).read_bytes() == whole
    assert {file: file.stat().st_mtime_ns for file in kept} == kept  # finished runs were not trained again


@pytest.mark.usefixtures("features")
def test_a_fold_without_training_clips_of_a_class_is_named():
    divided(0, every=True)
    write_other_folds(paths.OTHER_FOLDS, {2: {clip.id: "train" if clip.label != "Sit" else "test" for clip in CLIPS}})
    with pytest.raises(DataError, match=r"^fold 2, which evaluation.folds=all needs: no training clip of Sit"):
        train.main()


@pytest.mark.usefixtures("features")
def test_another_fold_that_cannot_be_trained_is_named(monkeypatch):
    divided(0, every=True)
    run, own = train.seed_runs.run, train.read_job(MODEL).data.rows["test"].tolist()

    def failing(data, *arguments):
        if data.rows["test"].tolist() != own:
            raise TrainingError("the loss is not finite in the first epoch")
        return run(data, *arguments)

    monkeypatch.setattr(train.seed_runs, "run", failing)
    with pytest.raises(TrainingError, match=r"^fold 1, which evaluation.folds=all needs: the loss is not finite"):
        train.main()


@pytest.mark.usefixtures("features")
def test_another_fold_that_diverges_later_is_logged(monkeypatch, caplog):
    divided(0, every=True)
    run, own = train.seed_runs.run, train.read_job(MODEL).data.rows["test"].tolist()

    def diverging(data, *arguments):
        result = run(data, *arguments)
        if data.rows["test"].tolist() != own:
            result.fit.diverged_in = 2
        return result

    monkeypatch.setattr(train.seed_runs, "run", diverging)
    train.main()
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warned == [f"{MODEL}: fold {fold}, seed {seed} diverged in epoch 2" for fold in (1, 2) for seed in (0, 1)]
