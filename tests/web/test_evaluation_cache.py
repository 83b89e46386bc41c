"""Reading the test clips of a run: once, and again when a file has changed."""

import json
import os

import fabricate
import numpy as np
import pytest

from actionrec.core import paths
from actionrec.core.errors import DataError
from actionrec.evaluation.calibration import softmax
from actionrec.evaluation.prediction_files import read_predictions
from actionrec.models import MODELS
from actionrec.web import evaluation_cache
from actionrec.web.evaluated_clips import ClipQuery
from actionrec.web.evaluation_cache import EvaluationCache
from actionrec.web.predict_request import RequestError

NAMES = ["Jump", "Run", "Walk"]


@pytest.fixture
def run_results(project):
    """Predictions of all models for 40 test clips, and a comparison in which gru is the best."""
    fabricate.results(NAMES)
    models = {name: {"rank": 1 if name == "gru" else 2 + place} for place, name in enumerate(MODELS)}
    fabricate.write(
        paths.COMPARISON, {"dataset": "mine", "best": "gru", "models": models, "suspect_labels": ["Jump/v_00003.avi", "Gone/x.avi"]}
    )


def test_a_run_is_read_as_the_comparison_reads_it(run_results):
    known = EvaluationCache().clips()
    assert next(iter(known.answers)) == "gru"
    assert set(known.answers) == set(MODELS)
    assert known.left_out == {}
    for name in ("gru", "transformer"):
        expected = read_predictions(paths.predictions(name), 3, "").test
        order = np.argsort(expected.clips)
        temperature = json.loads(paths.model_metrics(name).read_text())["temperature"]
        np.testing.assert_array_equal(known.answers[name].predicted, expected.logits[order].argmax(axis=1))
        np.testing.assert_allclose(
            known.answers[name].confidence, softmax(expected.logits[order], temperature).max(axis=1), rtol=1e-6
        )
    assert [one.clip for one in known.listed(ClipQuery(suspect=True)).clips] == ["Jump/v_00003.avi"]
    assert known.answers_for("Jump/v_00003.avi").group == "Jump-0"


def test_files_are_read_again_only_when_they_change(run_results, monkeypatch):
    cache, read = EvaluationCache(), []
    original = evaluation_cache.read_stored_answers

    def noted(path, *rest):
        read.append(path.stem)
        return original(path, *rest)

    monkeypatch.setattr(evaluation_cache, "read_stored_answers", noted)
    first = cache.clips()
    assert cache.clips() is first
    assert sorted(read) == sorted(MODELS)
    os.utime(paths.predictions("lstm"), (1, 1))
    assert cache.clips() is not first
    assert read[len(MODELS) :] == ["lstm"]
    paths.predictions("lstm").unlink()
    assert "lstm" not in cache.clips().answers


def test_models_that_do_not_fit_are_left_out_with_the_reason(run_results):
    paths.predictions("lstm").write_bytes(b"no file")
    (paths.model_folder("bilstm") / "model.json").write_text("{}")
    other = read_predictions(paths.predictions("gru"), 3, "")
    fabricate.write_predictions(
        paths.predictions("mean_std"),
        fabricate.predictions(other.answers.clips[:9], other.answers.labels[:9], other.subsets[:9], other.answers.logits[:9]),
    )
    known = EvaluationCache().clips()
    assert set(MODELS) - set(known.answers) == {"lstm", "bilstm", "mean_std"} == set(known.left_out)
    assert "train@lstm" in known.left_out["lstm"]
    assert "class_names" in known.left_out["bilstm"]
    assert known.left_out["mean_std"] == "mean_std was tested on other clips or classes. Run `dvc repro`."


def test_groups_and_comparison_may_be_missing(run_results):
    paths.CLIPS.unlink()
    paths.COMPARISON.unlink()
    known = EvaluationCache().clips()
    assert (known.choices().groups, known.choices().suspects) == ([], 0)
    assert list(known.answers) == sorted(MODELS)


def test_without_predictions_the_next_step_is_named(project):
    with pytest.raises(RequestError, match=r"There are no predictions of test clips\. Run `dvc repro`") as refused:
        EvaluationCache().clips()
    assert refused.value.status_code == 404
    paths.PREDICTIONS.mkdir(parents=True)
    paths.predictions("gru").write_bytes(b"")
    with pytest.raises(DataError):
        EvaluationCache().clips()


def test_only_test_clips_of_the_data_set_have_a_file(run_results):
    cache = EvaluationCache()
    for name in ("Jump/v_00003.avi", "Jump/v_00054.avi"):  # a test clip, and one for validation
        (paths.RAW / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (paths.RAW / "mine" / name).write_bytes(b"x")
    assert cache.file("Jump/v_00003.avi") == paths.RAW / "mine/Jump/v_00003.avi"
    for clip, message in (
        ("Jump/v_00054.avi", "no such test clip"),
        ("../../params.yaml", "no such test clip"),
        ("/etc/passwd", "no such test clip"),
        ("Run/v_00001.avi", "its file is missing"),
    ):
        with pytest.raises(RequestError, match=message):
            cache.file(clip)
