"""Who learns from what: clips divided into train, validation and test.

Clips that belong together stay on one side. Under `group`, that is a group NUMBER across all classes (on UCF-50, 25 folds are
the established leave-one-group-out); under `random`, the study's protocol, each clip stands alone, and siblings cut from one
source video land on both sides. Under either, the same bytes under two names stay together. Under `official`, lists that come
with the data set say which clips are for training and which for testing, and validation clips are drawn from the former, whole
groups at a time.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from actionrec.clips import Clip, class_names
from actionrec.errors import DataError
from actionrec.files import read_csv, write_csv

SUBSETS = ("train", "val", "test")
HEADER = ("clip", "subset")


@dataclass(frozen=True)
class SplitSettings:
    """Section `split`."""

    protocol: Literal["group", "random", "official"]
    folds: int
    """The test set is one of so many parts of equal size; not used by `official`."""
    fold: int
    """Which part is the test set: 0 to folds - 1; the number of the list, from 1, under `official`."""
    validation: float
    """Share of the other clips on which the best epoch is chosen; 0 chooses it on the test set, as the study did."""

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
    """Assign each clip id to a subset, stratified by class as far as what belongs together allows.

    A class whose clips all belong together cannot be on two sides: it is trained on and not tested.

    Args:
        clips: in any order; the result does not depend on it.
        listed: under protocol `official`, clip id -> train, val or test; other clips are for nothing, and left out.

    Raises:
        DataError: fewer units than folds, or a class that is left without a training clip.
    """
    classes = {clip.label for clip in clips}
    clips = sorted((clip for clip in clips if listed is None or clip.id in listed), key=lambda clip: clip.id)
    units = units_of(clips, by_group=settings.protocol != "random")
    labels = np.array([clip.label for clip in clips])
    subsets = np.full(len(clips), "train", dtype="<U5")
    if listed is None:
        subsets[_draw(labels, units, subsets == "train", settings.folds, settings.fold, seed, exact=True)] = "test"
    else:
        subsets[:] = [listed[clip.id] for clip in clips]
    if settings.validation and "val" not in subsets:
        parts = max(2, round(1 / settings.validation))
        subsets[_draw(labels, units, subsets == "train", parts, 0, seed, exact=False)] = "val"
    untrained = sorted(classes - set(labels[subsets == "train"]))
    if untrained:
        raise DataError(
            f"no training clip is left of {', '.join(untrained)}: their clips come from too few groups, or the official list has "
            "none. Add clips from other sources, or change split.fold, split.folds or seed in params.yaml."
        )
    return dict(zip([clip.id for clip in clips], subsets.tolist(), strict=True))


def _draw(
    labels: NDArray[np.str_], units: NDArray[np.int64], pool: NDArray[np.bool_], parts: int, part: int, seed: int, *, exact: bool
) -> NDArray[np.int64]:
    """Draw one of `parts` equal, stratified parts of the pool (of fewer, larger ones where need be, unless `exact`).

    Returns:
        Indices into the clips.
    """
    units_of_class = {label: set(units[pool & (labels == label)]) for label in set(labels[pool])}
    pinned = {unit for those in units_of_class.values() if len(those) == 1 for unit in those}
    candidates = np.flatnonzero(pool & ~np.isin(units, list(pinned)))
    available = len(set(units[candidates]))
    parts = parts if exact else max(2, min(parts, available))
    if available < parts:
        raise DataError(
            f"wanted {parts} parts of the clips, but they can be divided into no more than {available} without tearing apart what "
            "belongs together (a group; under split.protocol=random, a clip). Lower split.folds in params.yaml, set "
            "split.validation to 0, or add clips from other sources."
        )
    return candidates[deal(labels[candidates], units[candidates], parts, seed) == part]


def deal(labels: NDArray[np.str_], units: NDArray[np.int64], parts: int, seed: int) -> NDArray[np.int64]:
    """Deal whole units to parts, each unit to the part that has the least of the unit's classes so far: 0 to parts - 1 a clip.

    Units come largest first, by powers of two, and shuffled within a power. scikit-learn's StratifiedGroupKFold balances as well,
    but sorts strictly: where groups differ in size, as UCF's do, its seed changes nothing.
    """
    unit = np.unique(units, return_inverse=True)[1]
    label = np.unique(labels, return_inverse=True)[1]
    class_sizes = np.bincount(label)
    (owners, classes), clips = np.unique(np.stack([unit, label]), axis=1, return_counts=True)
    starts = np.searchsorted(owners, np.arange(unit.max() + 2))
    sizes = np.bincount(unit)
    shuffled = np.random.default_rng(seed).permutation(len(sizes))
    part_of = np.empty(len(sizes), dtype=np.int64)
    shares = np.zeros((parts, len(class_sizes)))  # of each class, in each part
    filled = np.zeros(parts, dtype=np.int64)
    for current in shuffled[np.argsort(-np.floor(np.log2(sizes[shuffled])), kind="stable")]:
        own = slice(starts[current], starts[current + 1])
        share = clips[own] / class_sizes[classes[own]]
        overlap = np.round(shares[:, classes[own]] @ share, 9)  # rounded: no tie depends on the order of a processor's sums
        chosen = np.lexsort((filled, overlap))[0]
        part_of[current] = chosen
        shares[chosen, classes[own]] += share
        filled[chosen] += sizes[current]
    return part_of[unit]


def units_of(clips: Sequence[Clip], *, by_group: bool) -> NDArray[np.int64]:
    """Number the clips so that those which belong together share a number: same contents, and same group where asked for."""
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
    """Clips with the same bytes under different names, each set sorted by id."""
    by_contents = defaultdict(list)
    for clip in sorted(clips, key=lambda clip: clip.id):
        by_contents[clip.sha256].append(clip)
    return [same for same in by_contents.values() if len(same) > 1]


def summarise(clips: Sequence[Clip], subsets: Mapping[str, str]) -> dict[str, Any]:
    """Count what a split did: clips and groups a subset, siblings across sides, duplicates, untested classes."""
    counts = Counter(subsets.values())
    used = [clip for clip in clips if clip.id in subsets]
    trained = {(clip.label, clip.group) for clip in used if subsets[clip.id] == "train"}
    tested = [clip for clip in used if subsets[clip.id] == "test"]
    return {
        "classes": len(class_names(clips)),
        "clips": len(clips),
        "groups": len({clip.group for clip in clips}),
        "clips_without_group": sum(clip.group == clip.id for clip in clips),
        **{f"{subset}_clips": counts[subset] for subset in SUBSETS},
        "unused_clips": len(clips) - len(used),
        "test_clips_with_sibling_in_training": sum((clip.label, clip.group) in trained for clip in tested) / len(tested),
        "duplicated_clips": sum(len(same) for same in duplicates(clips)),
        "classes_without_test_clips": sorted(set(class_names(clips)) - {clip.label for clip in tested}),
    }


def write_split(path: Path, subsets: Mapping[str, str]) -> None:
    write_csv(path, HEADER, sorted(subsets.items()))


def read_split(path: Path) -> dict[str, str]:
    """Read data/split.csv: clip id -> train, val or test."""
    return {row["clip"]: row["subset"] for row in read_csv(path, HEADER)}
