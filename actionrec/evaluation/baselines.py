"""Baselines that ignore the order of frames: logistic regression on a clip's mean features, or on its middle frame.

A sequence model that is not better than these does not benefit from the sequence. n clips, T frames, D features, K classes.

The mean is exact, so the order of frames cannot change a single bit of the baseline: every float16 is a multiple of 2 ** -24
below 2 ** 16, so the sum of up to 8,192 of them fits into the 53 bits of a float64 without rounding.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from actionrec.evaluation import metrics
from actionrec.features.feature_store import Features

GRID = (0.0001, 0.001, 0.01, 0.1, 1.0)  # values of C, the inverse of the penalty on weights; small ones are best for large D
WITHOUT_VALIDATION = 1.0  # C if there are no validation clips to choose it on: scikit-learn's default
_MOST_STEPS = 1_000  # of the optimiser
_THREADS = 1  # of the matrix products; fixed, because the number of cores must not change a result


@dataclass(frozen=True)
class BaselineFit:
    """A fitted baseline's logits for all n clips."""

    logits: NDArray[np.float32]  # (n, K); softmax makes them probabilities
    c: float
    parameters: int  # (D + 1) K, or D + 1 for two classes
    converged: bool  # whether the chosen fit converged within 1,000 steps


def mean_pool_logistic(
    features: Features,
    labels: NDArray[np.int64],
    train_rows: NDArray[np.int64],
    val_rows: NDArray[np.int64],
    grid: Sequence[float] = GRID,
) -> BaselineFit:
    """Logistic regression on the mean of a clip's features over time.

    The means are standardised with the training clips' statistics. C is the value of the grid with the highest validation top-1;
    ties are decided by the lowest cross-entropy, then the smallest C. Without validation clips it is 1. Like the other models,
    the baseline never trains on validation clips.

    Args:
        features: (n, T, D).
        labels: (n,), from 0 to K - 1; each class has a training clip.
        train_rows: the training clips among the n.
        val_rows: the validation clips; may be empty.

    Raises:
        ValueError: a class has no training clip, or there is only one class.
    """
    # Row by row, because a float64 copy of all frames would take four times the features' memory.
    means = np.stack([features[row].mean(axis=0, dtype=np.float64) for row in range(len(labels))])
    return _logistic(means, labels, train_rows, val_rows, grid)


def middle_frame_logistic(
    features: Features,
    labels: NDArray[np.int64],
    train_rows: NDArray[np.int64],
    val_rows: NDArray[np.int64],
    grid: Sequence[float] = GRID,
) -> BaselineFit:
    """Logistic regression on a clip's frame T // 2 alone, counted from 0. See `mean_pool_logistic`."""
    middle = np.stack([features[row][features.shape[1] // 2] for row in range(len(labels))]).astype(np.float64)
    return _logistic(middle, labels, train_rows, val_rows, grid)


def _logistic(
    inputs: NDArray[np.float64],
    labels: NDArray[np.int64],
    train_rows: NDArray[np.int64],
    val_rows: NDArray[np.int64],
    grid: Sequence[float],
) -> BaselineFit:
    class_count = int(labels.max()) + 1
    untrained = sorted(set(range(class_count)) - set(labels[train_rows].tolist()))
    if untrained or class_count < 2:
        raise ValueError(
            f"expected training clips of each of at least two classes; without training clips: {untrained or 'all but one'}"
        )
    fits = [_fit(inputs, labels, train_rows, c) for c in (sorted(grid) if len(val_rows) else [WITHOUT_VALIDATION])]
    if not len(val_rows):
        return fits[0]

    def order(fit: BaselineFit) -> tuple[float, float]:
        logits = fit.logits[val_rows]
        return (-metrics.top_k(logits, labels[val_rows], 1), metrics.cross_entropy(logits, labels[val_rows]))

    return min(fits, key=order)


def _fit(inputs: NDArray[np.float64], labels: NDArray[np.int64], train_rows: NDArray[np.int64], c: float) -> BaselineFit:
    regression = LogisticRegression(C=c, solver="lbfgs", max_iter=_MOST_STEPS)
    network = make_pipeline(StandardScaler(), regression)
    with threadpool_limits(_THREADS), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # reported in `converged`
        network.fit(inputs[train_rows], labels[train_rows])
        scores = network.decision_function(inputs)
    if scores.ndim == 1:  # two classes: the log odds of the second
        scores = np.stack([-scores / 2, scores / 2], axis=1)
    return BaselineFit(
        logits=scores.astype(np.float32),
        c=c,
        parameters=regression.coef_.size + regression.intercept_.size,
        converged=bool(regression.n_iter_.max() < _MOST_STEPS),
    )


# Name, also of the file of predictions -> function that fits it.
BASELINES = {"mean_pool": mean_pool_logistic, "middle_frame": middle_frame_logistic}
