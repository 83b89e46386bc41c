"""The report's section on the tuned backbone, and what card and report say of how it was tuned."""

import dataclasses
import shutil
from dataclasses import replace

import finished
import pytest
from fabricate import BACKBONE, CONTEXT, first_right, trained, write
from tuned import TUNING

from actionrec.core import paths
from actionrec.evaluation.comparison import compare
from actionrec.evaluation.intervals import Interval
from actionrec.evaluation.prediction_files import read_predictions, write_predictions
from actionrec.evaluation.tuning_result import TuningResult
from actionrec.features.tuned_backbone import PREDICTIONS
from actionrec.io.files import read_json
from actionrec.models import MODELS
from actionrec.report.card import card
from actionrec.report.tuned_backbone import tuning_findings
from stages import compare as stage
from stages import package

CLASSES = ("Bright", "Dark", "Striped", "wave")
RESULT = TuningResult(TUNING, 0.75, Interval(0.7, 0.8), 0.95, 0.8, 0.6)


def compared(*names):
    return compare([trained(name, first_right(90 - 10 * place)) for place, name in enumerate(names)], 0.02, BACKBONE)


def test_a_frozen_backbone_has_no_section():
    assert tuning_findings(None, compared("gru", "mean_pool"), CONTEXT) == []


def test_the_sentences_have_the_numbers_of_the_result():
    own, change, fit = tuning_findings(RESULT, compared("gru", "mean_pool"), CONTEXT)
    assert own == (
        "`tsn`, the tuned resnet50 with its own classifier: 75.0 % top-1 on the test clips (95 % interval 70.0–80.0 %). mean_pool, "
        "logistic regression on the same features, has 80.0 %."
    )
    assert change == "Tuning changed validation top-1 from 60.0 % to 80.0 %, the best of its epochs."
    assert fit.startswith(
        "The tuned backbone has 95.0 % top-1 on its training clips, 15.0 points above validation. The models above "
    )


def test_without_mean_pool_validation_or_overfitting_the_sentences_say_so():
    result = replace(RESULT, train_top1=0.75)
    own, change, fit = tuning_findings(result, compared("gru", "lstm"), replace(CONTEXT, val_clips=0))
    assert own.endswith("interval 70.0–80.0 %).")
    assert change.startswith("Tuning changed test top-1")
    assert "5.0 points below test." in fit


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        finished.fabricated(CLASSES)
    return folder


def as_tuned():
    """Let all results in the current folder be of a tuned backbone."""
    for name in MODELS:
        path = paths.model_folder(name) / "model.json"
        description = read_json(path)
        description["features"] |= {"weights": "tuned", "tuning": {**dataclasses.asdict(TUNING), "weights": "IMAGENET1K_V1"}}
        write(path, description)
    record = {"test_top1": 0.5, "train_top1": 0.95, "held_out_top1": 0.8, "frozen_held_out_top1": 0.6}
    write(paths.FINETUNE_METRICS, record)
    write_predictions(paths.BACKBONE / PREDICTIONS, read_predictions(paths.predictions("mean_pool"), len(CLASSES), ""))


def test_report_comparison_and_cards_say_how_the_backbone_was_tuned_or_nothing(results, project):
    shutil.copytree(results, project, dirs_exist_ok=True)
    stage.write_numbers(stage.gather())
    frozen, frozen_card = paths.REPORT.read_text(), card(package.gather()["gru"])
    assert "tune" not in frozen
    assert "tune" not in frozen_card
    assert "tuned_backbone" not in read_json(paths.COMPARISON)

    as_tuned()
    stage.write_numbers(stage.gather())
    report, entry = paths.REPORT.read_text(), read_json(paths.COMPARISON)["tuned_backbone"]
    phrase = "last 2 stages tuned for 3 epochs on the training clips of fold 1"
    assert f"backbone resnet18 with weights IMAGENET1K_V1, {phrase}, seed 0." in report
    assert "## The tuned backbone\n\n- `tsn`, the tuned " in report
    assert (entry["stages"], entry["weights"], entry["train_top1"]) == (2, "IMAGENET1K_V1", 0.95)
    assert entry["tsn"]["top1"] == read_json(paths.COMPARISON)["models"]["mean_pool"]["top1"]
    text = card(package.gather()["gru"])
    assert f"pass one by one through an image network, resnet18.\nIts {phrase}, starting from weights IMAGENET1K_V1." in text
    assert "they are the file `backbone.safetensors`, in the bundle's folder or in `data/backbone`." in text
    assert "resnet18, tuned; weights: tuned; fp32" in text
    assert "frozen" not in text
