"""Result of fine-tuning: what the stage `finetune` measured of the tuned backbone with its own head, which is called `tsn`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from actionrec.core import paths
from actionrec.evaluation.intervals import Interval, cluster_interval
from actionrec.evaluation.prediction_files import read_predictions
from actionrec.evaluation.trained_models import typed_values
from actionrec.features.tuned_backbone import PREDICTIONS, Tuning
from actionrec.io.files import read_json

_REMAKE = "Run `dvc repro -f finetune`."


@dataclass(frozen=True)
class TuningResult:
    """Accuracies of a tuned backbone with its own head, as fractions."""

    tuning: Tuning
    top1: float
    """Of the test clips."""
    interval: Interval
    """Of `top1`, 95 %."""
    train_top1: float
    held_out_top1: float
    """Of the validation clips, or of the test clips if there are none, with a few sample points a clip, like `train_top1`."""
    frozen_held_out_top1: float
    """Before tuning, of logistic regression on the frozen backbone's features."""

    @property
    def gap(self) -> float:
        """Training minus held-out accuracy. Models learn from features of clips whose labels the backbone has seen."""
        return self.train_top1 - self.held_out_top1


def read_tuning_result(tuning: Tuning | None, class_count: int) -> TuningResult | None:
    """Read what the stage `finetune` wrote; None if the backbone is frozen.

    Args:
        tuning: of the features that the models were trained on.
        class_count: K.

    Raises:
        DataError: a file is missing or damaged.
    """
    if tuning is None:
        return None
    names = ("test_top1", "train_top1", "held_out_top1", "frozen_held_out_top1")
    _, train, held_out, frozen = typed_values(
        read_json(paths.FINETUNE_METRICS), dict.fromkeys(names, float), paths.FINETUNE_METRICS, _REMAKE
    )
    answers = read_predictions(paths.BACKBONE / PREDICTIONS, class_count, _REMAKE)
    [correct] = answers.correct()
    return TuningResult(tuning, float(correct.mean()), cluster_interval(correct, answers.test.clusters), train, held_out, frozen)


def summary(result: TuningResult | None) -> Mapping[str, Any]:
    """The entry of compare.json; empty if the backbone is frozen."""
    if result is None:
        return {}
    return {
        "tuned_backbone": {
            **asdict(result.tuning),
            "tsn": {"top1": result.top1, "top1_low": result.interval.low, "top1_high": result.interval.high},
            "train_top1": result.train_top1,
            "held_out_top1": result.held_out_top1,
            "frozen_held_out_top1": result.frozen_held_out_top1,
        }
    }
