"""Fold plan: the split of every fold that is evaluated, by the protocol or by the data set's official lists."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from actionrec.data import official_splits
from actionrec.data.clips import Clip
from actionrec.data.folds import divide_others
from actionrec.data.splits import SplitSettings, divide


@dataclass(frozen=True)
class FoldPlan:
    """Clip id -> train, val or test, in each evaluated fold."""

    subsets: dict[str, str]
    """Of `split.fold`."""
    others: dict[int, dict[str, str]]
    """Fold -> subsets, of the other folds; empty if only one fold is evaluated."""
    listed: Mapping[str, str] | None
    """The official list of `split.fold`; None under the other protocols."""


def plan_folds(folder: Path, clips: Sequence[Clip], settings: SplitSettings, seed: int, *, all_folds: bool) -> FoldPlan:
    """Divide the clips of a data set in `split.fold`, and with `all_folds` in every other fold.

    Args:
        folder: the data set's, where official lists are.

    Raises:
        DataError: see `divide`, `divide_others` and `official_splits.read_lists`.
    """
    is_official = settings.protocol == "official"

    def listed(fold: int) -> Mapping[str, str] | None:
        return official_splits.read_lists(folder, fold, [clip.id for clip in clips]) if is_official else None

    own_list = listed(settings.fold)
    subsets = divide(clips, settings, seed, own_list)
    every = official_splits.list_numbers(folder) if is_official else range(settings.folds)
    others = divide_others(clips, settings, seed, every, listed) if all_folds else {}
    return FoldPlan(subsets, others, own_list)
