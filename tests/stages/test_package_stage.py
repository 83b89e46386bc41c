import json
import subprocess
import sys
from pathlib import Path

import finished
import pytest
from bundles import clips

from actionrec.core import paths
from actionrec.core.errors import DataError
from actionrec.inference import predictor
from actionrec.models import MODELS
from stages import package

CLASSES = ("Bright", "Dark", "Striped", "wave")


@pytest.fixture(autouse=True)
def in_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finished.fabricated(CLASSES, weights="random")


def made():
    return {str(path): path.read_bytes() for folder in ("data/best", "metrics/cards") for path in sorted(Path(folder).iterdir())}


def test_a_card_for_each_model_and_the_best_ones_bundle_with_its_own():
    package.main()
    best = json.loads(paths.COMPARISON.read_text())["best"]
    first = made()
    assert {Path(path).stem for path in first if path.startswith("metrics/")} == set(MODELS)
    for file in ("model.json", "model.safetensors"):
        assert first[f"data/best/{file}"] == (paths.model_folder(best) / file).read_bytes()
    assert first["data/best/README.md"] == first[f"metrics/cards/{best}.md"]
    package.main()  # over what is there
    assert made() == first


def test_the_copy_answers_as_the_model_does():
    package.main()
    best = json.loads(paths.COMPARISON.read_text())["best"]
    [clip, *_] = clips(Path("clips"), count=1)
    copy, original = (predictor.load(folder).predict(clip) for folder in (paths.BEST, paths.model_folder(best)))
    assert copy.probabilities.tolist() == original.probabilities.tolist()


def spoil(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def lose(path, key):
    record = json.loads(path.read_text())
    del record[key]
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (paths.COMPARISON.unlink, "metrics/compare.json is missing. Run `dvc repro` to make it."),
        (lambda: spoil(paths.model_metrics("gru"), test_top1_mean=0.5), "they are not from one run. Run `dvc repro -f compare`"),
        (lambda: spoil(paths.model_metrics("gru"), test_top1=0.5), "they are not from one run. Run `dvc repro -f train@gru`."),
        (lambda: lose(paths.model_metrics("gru"), "test_ece"), "lacks 'test_ece'. Run `dvc repro -f train@gru`"),
        (lambda: lose(paths.model_folder("lstm") / "model.json", "sha256"), "lacks 'sha256'. Run `dvc repro -f train@lstm`"),
        (lambda: spoil(paths.COMPARISON, models={}), "metrics/compare.json or metrics/bilstm/metrics.json: lacks 'bilstm'"),
        (lambda: paths.AUDIT.write_text("{}"), "metrics/audit.json: lacks "),
        (lambda: paths.AUDIT.write_text("[1]"), "metrics/audit.json: an entry has the wrong type (TypeError("),
        (lambda: spoil(paths.COMPARISON, best="../../elsewhere"), "metrics/compare.json does not say which model is the best."),
        (lambda: spoil(paths.COMPARISON, best=["gru"]), "metrics/compare.json does not say which model is the best."),
        (
            lambda: spoil(paths.COMPARISON, models=[1]),
            "metrics/bilstm/metrics.json: damaged (TypeError(",
        ),
        (lambda: spoil(paths.model_metrics("gru"), test_top1="x"), "gru/metrics.json: test_top1 must be a number; got 'x'."),
        (lambda: spoil(paths.model_metrics("gru"), flops=1.5), "gru/metrics.json: flops must be a whole number; got 1.5."),
        (lambda: spoil(paths.model_metrics("gru"), health_notes="x"), "health_notes must be a list, each item text; got 'x'."),
        (
            lambda: spoil(paths.model_folder("gru") / "model.json", class_names=7),
            "class_names must be a list, each item text; got 7",
        ),
        (lambda: spoil(paths.model_folder("gru") / "model.json", features=[]), "model.json: features must be "),
        (lambda: paths.model_metrics("gru").write_text("[" * 10**5), "gru/metrics.json: not valid JSON (nested too deeply)."),
        (lambda: paths.model_metrics("gru").write_text("7"), "gru/metrics.json: must hold keys and values; got 7."),
        (lambda: spoil(paths.SPLIT_METRICS, folds=None), "metrics/split.json: folds must be a whole number; got None."),
        (lambda: paths.FRAME_METRICS.write_text("[]"), "metrics/extract_frames.json: must hold keys and values; got []."),
    ],
)
def test_what_does_not_belong_together_is_refused_before_anything_is_written(break_it, message):
    break_it()
    with pytest.raises(DataError) as error:
        package.main()
    assert message in str(error.value)
    assert not paths.BEST.exists()
    assert not (paths.METRICS / "cards").exists()


def test_the_stage_starts_from_the_command_line_and_fails_in_one_line():
    paths.AUDIT.unlink()
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "stages.package"], env={"PYTHONPATH": str(root), "PATH": ""}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (2, "error: metrics/audit.json is missing. Run `dvc repro` to make it.\n")
