"""Train/validation/test splits.

A split group is a set of clips that stay in one subset. What it is depends on the protocol:

- `group`: all clips with one group number, across all classes. On UCF-50, 25 folds are the established leave-one-group-out.
- `random`, the study's protocol: a single clip. Clips cut from one source video then land in different subsets.
- `official`: lists that come with the data set assign the clips. Validation clips are drawn from the training clips by group.

Under all protocols, copies (clips with the same bytes) are in one split group.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from actionrec.core.errors import DataError
from actionrec.data.clips import Clip, class_names
from actionrec.io.files import read_csv, write_csv

SUBSETS = ("train", "val", "test")
HEADER = ("clip", "subset")


@dataclass(frozen=True)
class SplitSettings:
    """Section `split`."""

    protocol: Literal["group", "random", "official"]
    folds: int
    """Number of parts of equal size, one of which is the test set. Not used by `official`."""
    fold: int
    """Which part is the test set, 0 to folds - 1. Under `official`: the number of the list, from 1."""
    validation: float
    """Share of the other clips, 0 to 0.5, for choosing the best epoch; approximate, since whole groups are drawn. 0 chooses the
    epoch on the test set, as the study did."""

    def __post_init__(self) -> None:
        if self.protocol == "official":
            if self.fold < 1:
                raise ValueError(f"fold must be the number of a list, from 1, under protocol official; got {self.fold}")
        elif self.folds < 2:
            raise ValueError(f"folds must be at least 2; got {self.folds}")
        elif not 0 <= self.fold < self.folds:
            raise ValueError(f"fold must be from 0 to {self.folds - 1} (folds is {self.folds}); got {self.fold}")
        if not 0 <= self.validation <= 0.5:
            raise ValueError(f"validation must be from 0 to 0.5; got {self.validation}")


def divide(clips: Sequence[Clip], settings: SplitSettings, seed: int, listed: Mapping[str, str] | None = None) -> dict[str, str]:
    """Assign each clip id to a subset, stratified by class as far as whole split groups allow.

    A class with a single split group is used for training and not tested.

    Args:
        clips: in any order; the result does not depend on it.
        listed: under protocol `official`, clip id -> train, val or test. Other clips are left out.

    Raises:
        DataError: there are fewer split groups than folds, or a class has no training clip.
    """
    classes = {clip.label for clip in clips}
    clips = sorted((clip for clip in clips if listed is None or clip.id in listed), key=lambda clip: clip.id)
    groups = split_groups(clips, by_group=settings.protocol != "random")
    labels = np.array([clip.label for clip in clips])
    subsets = np.full(len(clips), "train", dtype="<U5")
    if listed is None:
        candidates = _divisible(labels, groups, np.arange(len(clips)))
        _reject_too_many_parts(settings.folds, len(set(groups[candidates])), "testing")
        parts = deal(labels[candidates], groups[candidates], settings.folds, seed)
        subsets[candidates[parts == settings.fold]] = "test"
    else:
        subsets[:] = [listed[clip.id] for clip in clips]
    if settings.validation and "val" not in subsets:
        subsets[_draw_validation(labels, groups, np.flatnonzero(subsets == "train"), settings.validation, seed)] = "val"
    untrained = sorted(classes - set(labels[subsets == "train"]))
    if untrained:
        raise DataError(
            f"no training clips for {', '.join(untrained)}: their clips come from too few groups, or the official list has none. "
            "Add clips from other sources, or change split.fold, split.folds or seed in params.yaml."
        )
    return dict(zip([clip.id for clip in clips], subsets.tolist(), strict=True))


def _divisible(labels: NDArray[np.str_], groups: NDArray[np.int64], pool: NDArray[np.int64]) -> NDArray[np.int64]:
    """The clips of a pool that may leave it: those whose split group is not the only one of a class."""
    classes, owners = np.unique(labels[pool], return_inverse=True)[1], groups[pool]
    pairs = np.unique(classes * (owners.max(initial=0) + 1) + owners)  # each class with each of its split groups
    of_class, of_group = np.divmod(pairs, owners.max(initial=0) + 1)
    pinned = of_group[np.bincount(of_class)[of_class] == 1]
    return pool[~np.isin(owners, pinned)]


def _reject_too_many_parts(parts: int, available: int, what: str) -> None:
    if available >= parts:
        return
    if available > 1:
        problem = (
            f"the clips cannot be divided into {parts} parts; at most {available} are possible, since each group (under "
            "split.protocol=random, each clip) must stay in one part"
        )
    else:
        problem = (
            f"no clips are left for {what}: each class must keep a group (under split.protocol=random, a clip) for training, "
            f"which leaves {available or 'none'}"
        )
    raise DataError(
        f"{problem}. Lower split.folds in params.yaml, set split.validation to 0, add clips from other sources, or check the "
        "groups in data/clips.csv (data.group)."
    )


def _draw_validation(
    labels: NDArray[np.str_], groups: NDArray[np.int64], pool: NDArray[np.int64], share: float, seed: int
) -> NDArray[np.int64]:
    """Draw about `share` of the pool, stratified, in whole split groups. Each class keeps a split group in the pool.

    Returns:
        Indices into the clips, from the pool.
    """
    candidates = _divisible(labels, groups, pool)
    available = len(set(groups[candidates]))
    _reject_too_many_parts(2, available, "validation")
    taken, parts = _as_parts(share, available)
    part = deal(labels[candidates], groups[candidates], parts, seed)
    order = np.argsort(_oversized(groups[candidates], part, parts), kind="stable")
    owners = groups[pool]
    drawn = np.isin(owners, groups[candidates[np.isin(part, order[:taken])]])  # of the pool
    sizes = np.bincount(owners)
    of_clip = np.unique(labels[pool], return_inverse=True)[1]
    by_class = np.split(np.argsort(of_clip, kind="stable"), np.cumsum(np.bincount(of_clip))[:-1])
    for places in by_class:
        if drawn[places].all():
            drawn &= owners != min(set(owners[places]), key=lambda group: (sizes[group], group))
    return pool[drawn]


def _as_parts(share: float, most: int) -> tuple[int, int]:
    """Express a share as a fraction (taken, parts): the fewest parts that come within 2 % of it, at most `most`.

    >>> _as_parts(0.2, 100), _as_parts(0.4, 100), _as_parts(0.2, 3)
    ((1, 5), (2, 5), (1, 3))
    """
    choices = [(max(1, round(share * parts)), parts) for parts in range(2, most + 1)]
    near = (choice for choice in choices if abs(choice[0] / choice[1] - share) <= 0.02 * share)
    return next(near, None) or min(choices, key=lambda choice: abs(choice[0] / choice[1] - share))


def deal(labels: NDArray[np.str_], groups: NDArray[np.int64], parts: int, seed: int) -> NDArray[np.int64]:
    """Deal whole split groups to parts; each goes to the part with the smallest share of its classes so far.

    Split groups are dealt from large to small: sizes are rounded down to powers of two, and equal ones are shuffled.
    scikit-learn's StratifiedGroupKFold balances equally well, but sorts by exact size, so that its seed has no effect if groups
    differ in size, as UCF's do.

    The parts are then numbered in an order drawn from the seed, since the part that is filled first always has the largest split
    group. The exception is part 0, the default test set: it never has a split group that is larger than an equal part.

    Returns:
        (n,) the part of each clip, 0 to parts - 1.
    """
    group_of_clip = np.unique(groups, return_inverse=True)[1]
    class_of_clip = np.unique(labels, return_inverse=True)[1]
    class_sizes = np.bincount(class_of_clip)
    (owners, classes), clips = np.unique(np.stack([group_of_clip, class_of_clip]), axis=1, return_counts=True)
    starts = np.searchsorted(owners, np.arange(group_of_clip.max() + 2))
    sizes = np.bincount(group_of_clip)
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(sizes))
    part_of = np.empty(len(sizes), dtype=np.int64)
    shares = np.zeros((parts, len(class_sizes)))  # of each class, in each part
    filled = np.zeros(parts, dtype=np.int64)
    for current in shuffled[np.argsort(-np.floor(np.log2(sizes[shuffled])), kind="stable")]:
        own = slice(starts[current], starts[current + 1])
        share = clips[own] / class_sizes[classes[own]]
        overlap = np.round(shares[:, classes[own]] @ share, 9)  # rounded, so that ties do not depend on the order of summation
        chosen = np.lexsort((filled, overlap))[0]
        part_of[current] = chosen
        shares[chosen, classes[own]] += share
        filled[chosen] += sizes[current]
    order = rng.permutation(parts)
    oversized = _oversized(group_of_clip, part_of[group_of_clip], parts)
    first = order[~oversized[order]][0]  # there is one: not all parts can be larger than their mean
    number = np.empty(parts, dtype=np.int64)
    number[[first, *order[order != first]]] = np.arange(parts)
    return number[part_of[group_of_clip]]


def _oversized(groups: NDArray[np.int64], part: NDArray[np.int64], parts: int) -> NDArray[np.bool_]:
    """(parts,) whether each part has a split group that is larger than an equal part."""
    numbers, sizes = np.unique(groups, return_counts=True)
    large = np.isin(groups, numbers[sizes * parts > len(groups)])
    return np.isin(np.arange(parts), part[large])


def split_groups(clips: Sequence[Clip], *, by_group: bool) -> NDArray[np.int64]:
    """(n,) the number of each clip's split group: clips with the same contents and, with `by_group`, the same group share it."""
    root = list(range(len(clips)))

    def find(index: int) -> int:
        while root[index] != index:
            root[index] = root[root[index]]
            index = root[index]
        return index

    first: dict[tuple[str, str], int] = {}
    for index, clip in enumerate(clips):
        keys = [("contents", clip.sha256)] + ([("group", clip.group)] if by_group else [])
        for key in keys:
            one, other = find(first.setdefault(key, index)), find(index)
            root[max(one, other)] = min(one, other)
    return np.array([find(index) for index in range(len(clips))], dtype=np.int64)


def duplicates(clips: Sequence[Clip]) -> list[list[Clip]]:
    """Sets of clips with the same bytes, each sorted by id."""
    by_contents = defaultdict(list)
    for clip in sorted(clips, key=lambda clip: clip.id):
        by_contents[clip.sha256].append(clip)
    return [copies for copies in by_contents.values() if len(copies) > 1]


def summarise(
    clips: Sequence[Clip], subsets: Mapping[str, str], others: Mapping[int, Mapping[str, str]] | None = None
) -> dict[str, Any]:
    """Summarise a split: clips per subset, groups, siblings of test clips in training, duplicates, untested classes.

    Args:
        others: the other evaluated folds. Siblings and untested classes are counted over all folds, clips per subset are not.
    """
    counts = Counter(subsets.values())
    used = [clip for clip in clips if clip.id in subsets]
    tested, siblings = [], 0
    for fold in (subsets, *(others or {}).values()):
        trained = {clip.cluster for clip in clips if fold.get(clip.id) == "train"}
        test = [clip for clip in clips if fold.get(clip.id) == "test"]
        siblings += sum(clip.cluster in trained for clip in test)
        tested += test
    return {
        "classes": len(class_names(clips)),
        "clips": len(clips),
        "groups": len({clip.group for clip in clips}),
        "clips_without_group": sum(clip.group == clip.id for clip in clips),
        **{f"{subset}_clips": counts[subset] for subset in SUBSETS},
        "unused_clips": len(clips) - len(used),
        "test_clips_with_sibling_in_training": siblings / len(tested),
        "duplicated_clips": sum(len(copies) for copies in duplicates(clips)),
        "classes_without_test_clips": sorted(set(class_names(clips)) - {clip.label for clip in tested}),
    }


def warnings(
    clips: Sequence[Clip], subsets: Mapping[str, str], settings: SplitSettings, listed: Mapping[str, str] | None = None
) -> list[str]:
    """Warnings about a split whose results are less reliable than they seem, one sentence each.

    The size of the test or validation set differs by two clips and a third from the requested share, or most test clips come from
    one source.
    """
    counts = Counter(subsets.values())
    notes = []
    if settings.protocol != "official":
        notes += _far_off("test", counts["test"], counts.total(), 1 / settings.folds, f"one of {settings.folds} folds")
    if counts["val"] and "val" not in (listed or {}).values():
        requested = f"split.validation {settings.validation:g}"
        notes += _far_off("validation", counts["val"], counts["val"] + counts["train"], settings.validation, requested)
    clusters = Counter(clip.cluster for clip in clips if subsets.get(clip.id) == "test")
    (cluster, most) = clusters.most_common(1)[0]
    if most * 2 > clusters.total():
        notes.append(
            f"{most:,} of {clusters.total():,} test clips come from one source ({'/'.join(filter(None, cluster))}), so the results "
            "say little about other sources. Change split.fold or seed, or add sources."
        )
    return notes


def _far_off(subset: str, got: int, total: int, share: float, requested: str) -> list[str]:
    expected = share * total
    if abs(got - expected) < 2 or 2 / 3 <= got / expected <= 1.5:
        return []
    return [
        f"the {subset} set has {got:,} of {total:,} clips ({got / total:.0%}); {requested} is {share:.0%}. Groups are not divided, "
        "and they are few or differ much in size."
    ]


def write_split(path: Path, subsets: Mapping[str, str]) -> None:
    write_csv(path, HEADER, sorted(subsets.items()))


def read_split(path: Path) -> dict[str, str]:
    """Read data/split.csv: clip id -> train, val or test."""
    return {row["clip"]: row["subset"] for row in read_csv(path, HEADER)}
