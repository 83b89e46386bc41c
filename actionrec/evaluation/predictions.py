"""Predictions for the validation and test clips. n clips, K classes, S seeds.

With `evaluation.folds=all` they are those of the test clips of every fold, and of the validation clips of the saved fold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from actionrec.evaluation import metrics
from actionrec.evaluation.logits import Logits, joined


@dataclass(frozen=True)
class Answers:
    """One model's logits for the clips of one subset, or of all; sorted by clip."""

    clips: NDArray[np.str_]
    """(n,)"""
    labels: NDArray[np.int64]
    """(n,), from 0 to K - 1."""
    clusters: NDArray[np.int64]
    """(n,), the number of each clip's cluster; clips of one source video share it."""
    logits: Logits
    """(n, K), of the saved model."""
    seed_logits: Sequence[Logits]
    """S tables (n, K)."""
    changed: dict[str, Logits]
    """Change to the order of frames -> (n, K), of the saved model."""

    def chosen(self, rows: NDArray[np.bool_]) -> Self:
        """The answers for some of the clips.

        Args:
            rows: (n,), True for the clips to keep.
        """
        return type(self)(
            self.clips[rows],
            self.labels[rows],
            self.clusters[rows],
            self.logits[rows],
            [logits[rows] for logits in self.seed_logits],
            {name: logits[rows] for name, logits in self.changed.items()},
        )


@dataclass(frozen=True)
class Predictions:
    """One model's answers for the validation and test clips."""

    answers: Answers
    subsets: NDArray[np.str_]
    """(n,), val or test."""
    seeds: tuple[int, ...]
    folds: NDArray[np.int64]
    """(n,), the fold whose models made the prediction."""
    saved_fold: int
    """The fold of the saved model."""

    @property
    def val(self) -> Answers:
        """Of the saved fold."""
        return self.answers.chosen(self.subsets == "val")

    @property
    def test(self) -> Answers:
        """Of all evaluated folds."""
        return self.answers.chosen(self.subsets == "test")

    @property
    def saved_test(self) -> Answers:
        """Of the saved fold: the saved model's own answers."""
        return self.answers.chosen((self.subsets == "test") & (self.folds == self.saved_fold))

    @property
    def test_folds(self) -> NDArray[np.int64]:
        """(m,), the fold of each of `test`."""
        return self.folds[self.subsets == "test"]

    def correct(self) -> NDArray[np.float64]:
        """(S, n): for each seed and test clip 1 if the answer is correct, else 0."""
        test = self.test
        return np.stack([metrics.correct_at_k(logits, test.labels, 1) for logits in test.seed_logits]).astype(np.float64)


def pooled(saved: Predictions, others: Sequence[Predictions]) -> Predictions:
    """Join the saved fold's predictions with other folds' predictions for their test clips; sorted by clip, then fold."""
    if not others:
        return saved
    parts = [(saved, np.ones(len(saved.subsets), dtype=np.bool_)), *((one, one.subsets == "test") for one in others)]
    answers = [one.answers.chosen(rows) for one, rows in parts]
    folds = np.concatenate([one.folds[rows] for one, rows in parts])
    clips = np.concatenate([one.clips for one in answers])
    order = np.lexsort((folds, clips))
    together = Answers(
        clips[order],
        np.concatenate([one.labels for one in answers])[order],
        np.concatenate([one.clusters for one in answers])[order],
        joined([one.logits for one in answers])[order],
        [joined(tables)[order] for tables in zip(*(one.seed_logits for one in answers), strict=True)],
        {change: joined([one.changed[change] for one in answers])[order] for change in saved.answers.changed},
    )
    subsets = np.concatenate([one.subsets[rows] for one, rows in parts])[order]
    return Predictions(together, subsets, saved.seeds, folds[order], saved.saved_fold)
