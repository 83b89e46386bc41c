"""Accuracy by group: a model's correct answers for the test clips of each source video or person."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from actionrec.evaluation.logits import answers
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
    """Scores of the groups, from the lowest top-1 to the highest; among equals, by clip."""
    correct = answers(test.logits) == test.labels
    order = np.lexsort((test.clips, test.clusters))
    starts = np.unique(test.clusters[order], return_index=True)[1]
    firsts, hits = test.clips[order][starts], np.add.reduceat(correct[order].astype(np.int64), starts)
    sizes = np.diff(starts, append=len(order))
    scores = map(GroupScore, map(str, firsts), sizes.tolist(), hits.tolist())
    return sorted(scores, key=lambda one: (one.top1, one.first_clip))


def far_below(scores: Sequence[GroupScore]) -> list[GroupScore]:
    """The groups with so few correct answers that they are unlikely to be like the others.

    One-sided binomial test against the accuracy of all other groups, with a clip of each kind added, so that one error is possible;
    Bonferroni-corrected over the groups. The clips of one group are alike, so this describes the group and not the model's luck.

    Args:
        scores: of all groups.
    """
    if len(scores) < 2:
        return []
    clips, correct = np.array([[one.clips, one.correct] for one in scores]).T
    elsewhere = (correct.sum() - correct + 1) / (clips.sum() - clips + 2)
    chances = scipy.stats.binom.cdf(correct, clips, elsewhere)
    return [one for one, chance in zip(scores, chances, strict=True) if len(scores) * chance < SIGNIFICANCE]
