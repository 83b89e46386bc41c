"""Accuracy by group: a model's correct answers for the test clips of each source video or person."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from actionrec.evaluation.predictions import Answers
from actionrec.evaluation.significance_tests import SIGNIFICANCE


@dataclass(frozen=True)
class GroupScore:
    """One model's answers for the test clips of one source video or person."""

    first_clip: str
    """The first of its clips by name, to recognise the group by."""
    clips: int
    correct: int

    @property
    def top1(self) -> float:
        return self.correct / self.clips


def group_scores(test: Answers) -> list[GroupScore]:
    """Scores of the groups, from the lowest top-1 to the highest; among equals, by clip. Clips are sorted by name."""
    correct = test.logits.argmax(axis=1) == test.labels
    scores = []
    for cluster in np.unique(test.clusters):
        rows = np.flatnonzero(test.clusters == cluster)
        scores.append(GroupScore(min(str(test.clips[row]) for row in rows), len(rows), int(correct[rows].sum())))
    return sorted(scores, key=lambda one: (one.top1, one.first_clip))


def far_below(scores: Sequence[GroupScore]) -> list[GroupScore]:
    """The groups with so few correct answers that they are unlikely to be like the others.

    One-sided binomial test against the accuracy of all other groups, with a clip of each kind added, so that one error is possible;
    Bonferroni-corrected over the groups. The clips of one group are alike, so this describes the group and not the model's luck.

    Args:
        scores: of all groups.
    """
    clips, correct = sum(one.clips for one in scores), sum(one.correct for one in scores)

    def chance(one: GroupScore) -> float:
        elsewhere = (correct - one.correct + 1) / (clips - one.clips + 2)
        return float(scipy.stats.binom.cdf(one.correct, one.clips, elsewhere))

    return [one for one in scores if len(scores) > 1 and len(scores) * chance(one) < SIGNIFICANCE]
