"""The result of fine-tuning, as the stage `finetune` leaves it."""

import dataclasses

import fabricate
import pytest
from tuned import TUNING

from actionrec.core import paths
from actionrec.core.errors import DataError
from actionrec.evaluation.intervals import cluster_interval
from actionrec.evaluation.prediction_files import write_predictions
from actionrec.evaluation.tuning_result import read_tuning_result, summary
from actionrec.features.tuned_backbone import PREDICTIONS

RECORD = {"test_top1": 0.75, "train_top1": 0.95, "held_out_top1": 0.8, "frozen_held_out_top1": 0.6, "best_epoch": 3}


@pytest.fixture
def written(project):
    """Files of a tuned backbone that is right on 30 of 40 test clips."""
    model = fabricate.trained("tsn", fabricate.first_right(30, 40), val_right=fabricate.first_right(8, 10))
    paths.BACKBONE.mkdir(parents=True)
    write_predictions(paths.BACKBONE / PREDICTIONS, model.predictions)
    fabricate.write(paths.FINETUNE_METRICS, RECORD)
    return model.predictions


def test_a_frozen_backbone_has_no_result():
    assert read_tuning_result(None, 4) is None
    assert summary(None) == {}


def test_the_result_has_the_accuracy_of_its_predictions_with_their_interval(written):
    result = read_tuning_result(TUNING, 4)
    [correct] = written.correct()
    assert (result.tuning, result.top1) == (TUNING, 0.75)
    assert result.interval == cluster_interval(correct, written.test.clusters)
    assert (result.train_top1, result.held_out_top1, result.frozen_held_out_top1) == (0.95, 0.8, 0.6)
    assert result.gap == pytest.approx(0.15)
    assert summary(result) == {
        "tuned_backbone": {
            **dataclasses.asdict(TUNING),
            "tsn": {"top1": 0.75, "top1_low": result.interval.low, "top1_high": result.interval.high},
            "train_top1": 0.95,
            "held_out_top1": 0.8,
            "frozen_held_out_top1": 0.6,
        }
    }


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({}, "metrics/finetune.json: lacks "),
        ({**RECORD, "train_top1": "high"}, "metrics/finetune.json: train_top1 must be a number; got 'high'."),
        ([], "metrics/finetune.json: must hold keys and values"),
    ],
)
@pytest.mark.usefixtures("written")
def test_a_damaged_record_is_reported(record, message):
    fabricate.write(paths.FINETUNE_METRICS, record)
    with pytest.raises(DataError) as caught:
        read_tuning_result(TUNING, 4)
    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith("Run `dvc repro -f finetune`.")


@pytest.mark.usefixtures("written")
def test_missing_predictions_and_those_of_other_classes_are_reported():
    with pytest.raises(DataError, match=r"data/backbone/predictions\.npz"):
        read_tuning_result(TUNING, 9)
    (paths.BACKBONE / PREDICTIONS).unlink()
    with pytest.raises(DataError, match=r"data/backbone/predictions\.npz is missing"):
        read_tuning_result(TUNING, 4)
