"""Fit and evaluate the baselines, which use no sequence model, on the same clips. Reads no parameters."""

import logging
from typing import Any

import numpy as np

from actionrec.core import entry, paths
from actionrec.evaluation import baselines, metrics, predictions
from actionrec.evaluation.baselines import BaselineFit
from actionrec.evaluation.predictions import Answers, Predictions
from actionrec.io import files
from actionrec.training.training_data import TrainingData, read_training_data

logger = logging.getLogger(__name__)


def main() -> None:
    data = read_training_data()
    record: dict[str, Any] = {}
    for name, fit in baselines.BASELINES.items():
        fitted = fit(data.features.features, data.labels, data.rows["train"], data.rows["val"])
        if not fitted.converged:
            logger.warning("%s: the fit did not converge; its accuracy may be slightly too low", name)
        result = answers_of(fitted, data)
        predictions.write_predictions(paths.predictions(name), result)
        test = result.test
        record |= {
            f"{name}_test_top1": metrics.top_k(test.logits, test.labels, 1),
            f"{name}_test_mean_class": metrics.mean_class(test.logits, test.labels),
            f"{name}_parameters": fitted.parameters,
            f"{name}_c": fitted.c,
        }
        logger.info("%s: test top-1 %.1f %%", name, 100 * record[f"{name}_test_top1"])
    files.write_json(paths.BASELINE_METRICS, record)


def answers_of(fitted: BaselineFit, data: TrainingData) -> Predictions:
    """A baseline's logits in the form of a model's predictions; there is one run, and no change of the frames' order."""
    reported = data.reported
    logits = fitted.logits[reported]
    ids = np.array([data.features.clips[row] for row in reported])
    answers = Answers(ids, data.labels[reported], data.clusters[reported], logits, logits[None], {})
    return Predictions(answers, data.reported_subsets, (0,))


if __name__ == "__main__":
    entry.run(main)
