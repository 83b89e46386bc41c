"""Preview of the split that params.yaml asks for: its subsets, and the difference between two models that its test set can show."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actionrec.core import paths
from actionrec.core.errors import DataError
from actionrec.data.clip_list import INDEX
from actionrec.data.clips import Clip, class_names, cluster_ids
from actionrec.data.fold_plan import plan_folds
from actionrec.data.folds import EvaluationSettings
from actionrec.data.splits import SUBSETS, SplitSettings
from actionrec.evaluation.significance_tests import FEWEST_DIFFERING, paired_tests
from actionrec.io import params
from actionrec.io.params import DataSettings

_PAIRS = 10
ACCURACY = 0.8  # of the models in a simulated pair


@dataclass(frozen=True)
class Plan:
    """The settings that a split is made with."""

    seed: int
    split: SplitSettings
    group_pattern: str | None
    """`data.group`, or None for the names of published data sets."""
    group_from: str = "data.group"
    """Where the pattern is set: data.group, or --group, which replaces it."""
    all_folds: bool = False
    """Whether every fold is tested (`evaluation.folds=all`), not only `split.fold`."""
    is_default: bool = False
    """Whether there is no params.yaml."""


DEFAULTS = Plan(0, SplitSettings("group", 5, 0, 0.2), None, is_default=True)
"""As in the project's own params.yaml."""


@dataclass(frozen=True)
class _Params:
    seed: int
    data: DataSettings
    split: SplitSettings
    evaluation: EvaluationSettings


@dataclass(frozen=True)
class SplitPreview:
    """Sizes of the subsets of `split.fold`; if all folds are tested, the test set has the clips of all.

    If the clips cannot be divided, `problem` says why, and all others are empty.
    """

    plan: Plan
    listed_groups: bool
    """Whether the data set has a list of clips, whose groups replace those from names."""
    clips: dict[str, int]
    """Subset -> clips."""
    sources: dict[str, int]
    """Subset -> clusters, see actionrec.data.clips.Clip.cluster."""
    test_clips: dict[str, int]
    """Class -> clips in the test set."""
    detectable: float | None
    """See `detectable`; None if the test set has too few sources to show any difference."""
    problem: str = ""


def read_plan(group_pattern: str | None = None) -> Plan:
    """Read params.yaml, or use the defaults if the file is missing; `group_pattern` replaces `data.group`.

    Raises:
        ParamsError: params.yaml has errors.
    """
    plan = DEFAULTS
    if paths.PARAMS.is_file():
        settings = params.read(_Params)
        plan = Plan(settings.seed, settings.split, settings.data.group, all_folds=settings.evaluation.folds == "all")
    return plan if group_pattern is None else replace(plan, group_pattern=group_pattern, group_from="--group")


def preview(folder: Path, clips: Sequence[Clip], plan: Plan) -> SplitPreview:
    """Divide the clips of a folder as the stage `split` would."""
    listed_groups = (folder / INDEX).is_file()
    try:
        return _summarised(clips, plan, _divided(folder, clips, plan), listed_groups)
    except DataError as error:
        return SplitPreview(plan, listed_groups, {}, {}, {}, None, str(error))


def _divided(folder: Path, clips: Sequence[Clip], plan: Plan) -> list[Mapping[str, str]]:
    """Clip id -> subset, in `split.fold` and then in the other folds that are tested."""
    folds = plan_folds(folder, clips, plan.split, plan.seed, all_folds=plan.all_folds)
    return [folds.subsets, *folds.others.values()]


def _summarised(clips: Sequence[Clip], plan: Plan, folds: Sequence[Mapping[str, str]], listed_groups: bool) -> SplitPreview:
    members = {subset: [clip for clip in clips if folds[0].get(clip.id) == subset] for subset in SUBSETS}
    members["test"] = [clip for clip in clips if any(subset_of.get(clip.id) == "test" for subset_of in folds)]
    tested = Counter(clip.label for clip in members["test"])
    return SplitPreview(
        plan,
        listed_groups,
        clips={subset: len(of_subset) for subset, of_subset in members.items()},
        sources={subset: len({clip.cluster for clip in of_subset}) for subset, of_subset in members.items()},
        test_clips={name: tested[name] for name in class_names(clips)},
        detectable=detectable(cluster_ids(members["test"])),
    )


def detectable(clusters: NDArray[np.int64]) -> float | None:
    """The smallest difference in top-1 between two models that a test set finds with 80 % power; None if it can find none.

    The mean over simulated pairs of independent models, each correct on all clips of a source or on none, and on 80 % of the
    sources. So exactly one of a pair is correct on 32 % of the sources. A difference also needs FEWEST_DIFFERING sources.

    Args:
        clusters: (n,) the cluster of each test clip, from 0.
    """
    count = len(np.unique(clusters))
    if count < FEWEST_DIFFERING:
        return None
    draw = np.random.default_rng(0)
    differences = []
    for _ in range(_PAIRS):
        first, second = draw.random((2, count)) < ACCURACY
        [test] = paired_tests([(first[clusters].astype(np.float64), second[clusters].astype(np.float64))], clusters)
        differences.append(test.detectable)
    return min(1.0, max(float(np.mean(differences)), FEWEST_DIFFERING / count))
