import json
import shutil
from pathlib import Path

import finished
import numpy as np
import pytest
from bundles import clips

from actionrec.core import paths
from actionrec.core.errors import DataError
from actionrec.features import tuned_backbone
from actionrec.features.tuned_backbone import Tuning
from actionrec.inference import predictor
from actionrec.io.files import whole_folder
from actionrec.io.tensors import save_tensors
from actionrec.models import MODELS
from stages import package

CLASSES = ("Bright", "Dark", "Striped", "wave")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What the stages before `package` write, fabricated once."""
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        finished.fabricated(CLASSES, weights="random")
    return folder


@pytest.fixture(autouse=True)
def in_project(results, project):
    shutil.copytree(results, ".", dirs_exist_ok=True)


def outputs():
    return {str(path): path.read_bytes() for folder in ("data/best", "metrics/cards") for path in sorted(Path(folder).iterdir())}


def test_each_model_has_a_card_and_the_best_one_s_bundle_is_copied_with_its_card():
    package.main()
    best = json.loads(paths.COMPARISON.read_text())["best"]
    first = outputs()
    assert {Path(path).stem for path in first if path.startswith("metrics/")} == {*MODELS, "DATASET"}
    for file in ("model.json", "model.safetensors"):
        assert first[f"data/best/{file}"] == (paths.model_folder(best) / file).read_bytes()
    assert first["data/best/README.md"] == first[f"metrics/cards/{best}.md"]
    [clip, *_] = clips(Path("clips"), count=1)
    copy, original = (predictor.load(folder).predict(clip) for folder in (paths.BEST, paths.model_folder(best)))
    assert copy.probabilities.tolist() == original.probabilities.tolist()
    package.main()  # a second run replaces the outputs
    assert outputs() == first


def test_a_table_of_classes_that_is_cut_has_a_file_with_all(monkeypatch):
    monkeypatch.setattr(package, "is_cut", lambda classes: classes == len(CLASSES))
    package.main()
    rows = (paths.DATASET_CARD.parent / "classes.csv").read_text().splitlines()
    assert rows[0] == "class,clips,groups,train,val,test"
    assert [row.split(",")[0] for row in rows[1:]] == list(CLASSES)


def test_the_best_one_s_bundle_includes_a_tuned_backbone():
    with whole_folder(paths.BACKBONE) as draft:
        save_tensors(draft / tuned_backbone.WEIGHTS, {"fc": np.ones(3, dtype=np.float32)}, {})
        tuned_backbone.write_description(draft, Tuning("random", stages=1, epochs=2, protocol="group", fold=0, seed=0, gain=1.0))
    package.main()
    assert (paths.BEST / predictor.BACKBONE).read_bytes() == (paths.BACKBONE / tuned_backbone.WEIGHTS).read_bytes()


METRICS, BUNDLE = paths.model_metrics("gru"), paths.model_folder("gru") / "model.json"


@pytest.mark.parametrize(
    ("path", "change", "message"),
    [
        (paths.COMPARISON, None, "metrics/compare.json is missing. Run `dvc repro` to make it."),
        (METRICS, {"test_top1_mean": 0.5}, "they are not from one run. Run `dvc repro -f compare`"),
        (METRICS, {"test_top1": 0.5}, "they are not from one run. Run `dvc repro -f train@gru`."),
        (METRICS, {"test_ece": ...}, "lacks 'test_ece'. Run `dvc repro -f train@gru`"),
        (BUNDLE, {"sha256": ...}, "lacks 'sha256'. Run `dvc repro -f train@gru`"),
        (paths.COMPARISON, {"models": {}}, "metrics/compare.json or metrics/bilstm/metrics.json: lacks 'bilstm'"),
        (paths.COMPARISON, {"models": [1]}, "metrics/bilstm/metrics.json: damaged (TypeError("),
        (paths.COMPARISON, {"best": "../../elsewhere"}, "metrics/compare.json does not say which model is the best."),
        (paths.COMPARISON, {"best": ["gru"]}, "metrics/compare.json does not say which model is the best."),
        (paths.AUDIT, "{}", "metrics/audit.json: lacks "),
        (paths.AUDIT, "[1]", "metrics/audit.json: an entry has the wrong type (TypeError("),
        (METRICS, {"flops": 1.5}, "gru/metrics.json: flops must be a whole number; got 1.5."),
        (METRICS, "7", "gru/metrics.json: must hold keys and values; got 7."),
        (BUNDLE, {"class_names": 7}, "class_names must be a list, each item text; got 7"),
        (paths.SPLIT_METRICS, {"folds": None}, "metrics/split.json: folds must be a whole number; got None."),
        (paths.CLIPS, None, "data/clips.csv is missing. Run `dvc repro` to make it."),
        (paths.FRAMES / "ledger.csv", "clip\n", "data/frames/ledger.csv: the header is 'clip'"),
        (paths.FRAMES / "frames.json", "{}", "data/frames/frames.json, data/frames/ledger.csv or metrics/audit.json: an entry is "),
        (paths.SPLIT_METRICS, {"validation": ...}, "metrics/split.json, data/frames/frames.json, "),
        (paths.FRAME_METRICS, "[]", "metrics/extract_frames.json: must hold keys and values; got []."),
    ],
)
def test_results_that_do_not_match_are_rejected_before_anything_is_written(path, change, message):
    if isinstance(change, dict):
        record = {**json.loads(path.read_text()), **change}
        change = json.dumps({key: value for key, value in record.items() if value is not ...})
    path.unlink() if change is None else path.write_text(change)
    with pytest.raises(DataError) as error:
        package.main()
    assert message in str(error.value)
    assert not paths.BEST.exists()
    assert not (paths.METRICS / "cards").exists()
