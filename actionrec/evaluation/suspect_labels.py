"""Suspect labels: test clips whose label is probably wrong, by confident learning (Northcutt et al. 2021, cleanlab).

The models that predict a clip were not trained on it. n clips, K classes.
"""

import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actionrec.evaluation.calibration import probabilities
from actionrec.evaluation.trained_models import TrainedModel

_BLOCK = 8_000_000  # logits of all models that are averaged at a time: a few hundred MB in float64
_WIDE = 20_000_000  # up to this many probabilities are kept in float64: 160 MB; more are kept in float32

HEADER = ("rank", "clip", "label", "suggestion", "probability_of_label", "probability_of_suggestion", "suspect")


@dataclass(frozen=True)
class LabelCheck:
    """One clip's label and what the models predict; a clip that several folds test has one check."""

    clip: str
    label: str
    suggestion: str
    """The most probable class."""
    probability_of_label: float
    probability_of_suggestion: float
    suspect: bool
    """Whether confident learning finds that the label is wrong."""


def check_labels(models: Sequence[TrainedModel], avoid: Collection[str]) -> list[LabelCheck]:
    """Check the labels of all test clips, the least probable label first.

    Probabilities are the mean of the models' calibrated probabilities, over all folds that test the clip. No label is suspect if
    the advice is against all models, because models that only guess contradict most labels.

    Args:
        models: compared on the same test clips.
        avoid: names of models that the advice is against; they are left out, unless it is against all.
    """
    from cleanlab.rank import get_label_quality_scores  # takes seconds to load: only where labels are checked

    reliable = [model for model in models if model.name not in avoid]
    names, first = models[0].class_names, models[0].predictions
    tested = np.flatnonzero(first.subsets == "test")
    order = tested[np.argsort(first.answers.clips[tested], kind="stable")]  # the predictions of one clip are neighbours
    clips, starts = np.unique(first.answers.clips[order], return_index=True)
    labels = first.answers.labels[order[starts]]
    shares = _mean_probabilities(reliable or models, np.split(order, starts[1:]))
    suspects = _suspects(labels, shares) if reliable else np.zeros(len(labels), dtype=np.bool_)
    own = shares[np.arange(len(labels)), labels]
    scores = get_label_quality_scores(labels, shares, method="self_confidence")
    suggestions = shares.argmax(axis=1)
    return [
        LabelCheck(
            str(clips[row]),
            names[labels[row]],
            names[suggestions[row]],
            float(own[row]),
            float(shares[row, suggestions[row]]),
            bool(suspects[row]),
        )
        for row in np.lexsort((clips, scores))
    ]


def _mean_probabilities(models: Sequence[TrainedModel], rows: Sequence[NDArray[np.int64]]) -> NDArray[np.floating]:
    """Mean of the models' calibrated probabilities for each clip, (n, K), computed in blocks.

    Args:
        rows: of each clip's predictions, one or more.
    """
    class_count = len(models[0].class_names)
    dtype = np.float64 if len(rows) * class_count <= _WIDE else np.float32
    shares = np.empty((len(rows), class_count), dtype=dtype)
    step = max(1, _BLOCK // (class_count * len(models)))
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        together, tests = np.concatenate(block), np.array([len(one) for one in block])
        of_models = [probabilities(model.predictions.answers.logits[together], model.temperature or 1.0) for model in models]
        answered = np.mean(of_models, axis=0)
        shares[start : start + step] = np.add.reduceat(answered, np.cumsum(tests) - tests) / tests[:, None]
    return shares


def _suspects(labels: NDArray[np.int64], shares: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(n,) which labels confident learning finds wrong. Classes without clips are left out, as it needs clips of each class."""
    from cleanlab.filter import find_label_issues  # see check_labels

    present = np.unique(labels)
    if len(present) < 2:
        return np.zeros(len(labels), dtype=np.bool_)
    among = shares[:, present]
    among /= among.sum(axis=1, keepdims=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="May not flag all label issues")  # in classes with few clips: nothing to act on
        is_suspect: NDArray[np.bool_] = find_label_issues(np.searchsorted(present, labels), among, n_jobs=1)
    return is_suspect


def csv_rows(checks: Sequence[LabelCheck]) -> Iterator[list[str | int]]:
    """Rows under HEADER."""
    for rank, one in enumerate(checks, start=1):
        shares = (f"{one.probability_of_label:.4f}", f"{one.probability_of_suggestion:.4f}")
        yield [rank, one.clip, one.label, one.suggestion, *shares, "yes" if one.suspect else "no"]
