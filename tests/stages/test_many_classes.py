"""From training to the web page with more classes than those of which prediction files hold all logits."""

import json
import sys

import fabricate
import numpy as np
import pytest
from bundles import FRAMES
from commands import actionrec
from projects import edit_params

from actionrec.core import paths
from actionrec.data.clip_seconds import write_clip_seconds
from actionrec.data.clips import read_clips
from actionrec.data.folds import write_other_folds
from actionrec.data.splits import read_split
from actionrec.evaluation import metrics
from actionrec.evaluation.logits import MOST_DENSE, TopLogits
from actionrec.evaluation.prediction_files import read_predictions
from actionrec.features.feature_store import write_shard
from actionrec.web.stored_answers import read_stored_answers
from stages import compare, package, train

CLASSES = [f"class {number:03}" for number in range(MOST_DENSE + 4)]
MODELS = ("mean_pool", "middle_frame", "simple_rnn")
SOURCE = {
    "backbone": "resnet50",
    "weights": "random",
    "weights_sha256": "ab" * 32,
    "precision": "fp32",
    "feature_dim": 16,
    "frames": FRAMES,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of three models, trained with two seeds and in two folds."""
    folder = tmp_path_factory.mktemp("many")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ACTIONREC_DEVICE", "cpu")
        fabricate.results(CLASSES, test=len(CLASSES), val=len(CLASSES))
        changes = {"train.epochs": 2, "train.seeds": [0, 1], "model.hidden_dim": 16, "train.precision": "fp32"}
        edit_params(folder, changes)
        write_features()
        for name in MODELS:
            patch.setattr(sys, "argv", ["stages.train", name])
            train.main()
    return folder


def write_features():
    """Write features that mostly tell the classes apart. The second fold tests clips that the first one trains on."""
    random = np.random.default_rng(0)
    centres = dict(zip(CLASSES, random.normal(size=(len(CLASSES), 16)), strict=True))
    clips, subsets = read_clips(paths.CLIPS), read_split(paths.SPLIT)
    arrays = {clip.id: (centres[clip.label] + random.normal(0, 0.5, (2, 16))).astype(np.float16) for clip in clips}
    write_shard(paths.FEATURES / "shard-0000.safetensors", arrays, SOURCE)
    write_clip_seconds(paths.CLIP_SECONDS, dict.fromkeys(arrays, 1.0))
    training = [clip for clip, subset in subsets.items() if subset == "train"]
    tested = dict.fromkeys(training[: len(CLASSES)], "test")
    second = {clip: "train" if subset == "test" else subset for clip, subset in subsets.items()} | tested
    write_other_folds(paths.OTHER_FOLDS, {1: second})


def test_predictions_hold_the_highest_logits_of_all_seeds_and_folds(trained, monkeypatch):
    monkeypatch.chdir(trained)
    for name in MODELS:
        result = read_predictions(paths.predictions(name), len(CLASSES), "")
        assert isinstance(result.answers.logits, TopLogits)
        assert result.correct().shape == (2, 2 * len(CLASSES))
        assert sorted(np.unique(result.test_folds)) == [0, 1]
        record = json.loads(paths.model_metrics(name).read_text())
        assert record["test_top1"] == metrics.top_k(result.saved_test.logits, result.saved_test.labels, 1)
        assert record["folds_top1_mean"] == pytest.approx(result.correct().mean())


def test_evaluate_repeats_what_training_recorded(trained):
    done = actionrec("evaluate", "--model", "simple_rnn", "--json", cwd=trained)
    assert (done.returncode, "recorded" in done.stderr) == (0, False), done.stderr
    record = json.loads((trained / paths.model_metrics("simple_rnn")).read_text())
    for key in ("ece", "ece_calibrated", "loss"):
        assert json.loads(done.stdout)[key] == record[f"test_{key}"]


def test_the_models_are_compared_and_packaged_and_their_answers_shown(trained, monkeypatch):
    monkeypatch.chdir(trained)
    for stage in (compare, package):
        monkeypatch.setattr(stage, "MODELS", MODELS)
    compare.write_numbers(compare.gather())
    package.main()
    best = json.loads(paths.COMPARISON.read_text())["best"]
    assert (paths.BEST / "README.md").is_file()
    result = read_predictions(paths.predictions(best), len(CLASSES), "")
    shown = read_stored_answers(paths.predictions(best), len(CLASSES), 1.0)
    assert shown.clips.tolist() == result.test.clips.tolist()
    assert np.array_equal(shown.predicted == shown.labels, result.test.logits.classes[:, 0] == result.test.labels)
