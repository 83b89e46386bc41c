"""Train/validation/test splits.

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
    """The test set is one of so many parts of equal size; not used by `official`."""
    fold: int
    """Which part is the test set: 0 to folds - 1; the number of the list, from 1, under `official`."""
    validation: float
    """Share of the other clips on which the best epoch is chosen, as nearly as whole groups allow; 0 chooses it on the test set, as
    the study did."""

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
        listed: under protocol `official`, clip id -> train, val or test; other clips are left out.

    Raises:
        DataError: fewer units than folds, or a class that is left without a training clip.
    """
    classes = {clip.label for clip in clips}
    clips = sorted((clip for clip in clips if listed is None or clip.id in listed), key=lambda clip: clip.id)
    clusters = units_of(clips, by_group=settings.protocol != "random")
    labels = np.array([clip.label for clip in clips])
    subsets = np.full(len(clips), "train", dtype="<U5")
    if listed is None:
        candidates = _divisible(labels, clusters, np.arange(len(clips)))
        _refuse_too_many_parts(settings.folds, len(set(clusters[candidates])), "testing")
        parts = deal(labels[candidates], clusters[candidates], settings.folds, seed)
        subsets[candidates[parts == settings.fold]] = "test"
    else:
        subsets[:] = [listed[clip.id] for clip in clips]
    if settings.validation and "val" not in subsets:
        subsets[_draw_validation(labels, clusters, np.flatnonzero(subsets == "train"), settings.validation, seed)] = "val"
    untrained = sorted(classes - set(labels[subsets == "train"]))
    if untrained:
        raise DataError(
            f"no training clip is left of {', '.join(untrained)}: their clips come from too few groups, or the official list has "
            "none. Add clips from other sources, or change split.fold, split.folds or seed in params.yaml."
        )
    return dict(zip([clip.id for clip in clips], subsets.tolist(), strict=True))


def _divisible(labels: NDArray[np.str_], clusters: NDArray[np.int64], pool: NDArray[np.int64]) -> NDArray[np.int64]:
    """The clips of a pool whose unit may leave it: no unit that is all that a class has."""
    units_of_class = {label: set(clusters[pool[labels[pool] == label]]) for label in set(labels[pool])}
    pinned = {unit for those in units_of_class.values() if len(those) == 1 for unit in those}
    return pool[~np.isin(clusters[pool], list(pinned))]


def _refuse_too_many_parts(parts: int, available: int, what: str) -> None:
    if available >= parts:
        return
    if available > 1:
        problem = (
            f"wanted {parts} parts of the clips, but they can be divided into no more than {available} without tearing apart what "
            "belongs together (a group; under split.protocol=random, a clip)"
        )
    else:
        problem = (
            f"no clips can be set apart for {what}: each class must keep a group (under split.protocol=random, a clip) for "
            f"training, which leaves {available or 'none'} to divide"
        )
    raise DataError(
        f"{problem}. Lower split.folds in params.yaml, set split.validation to 0, add clips from other sources, or check the "
        "groups in data/clips.csv (data.group)."
    )


def _draw_validation(
    labels: NDArray[np.str_], clusters: NDArray[np.int64], pool: NDArray[np.int64], share: float, seed: int
) -> NDArray[np.int64]:
    """Draw about `share` of the pool, stratified, in whole units; each class keeps a unit in the pool.

    Returns:
        Indices into the clips, from the pool.
    """
    candidates = _divisible(labels, clusters, pool)
    available = len(set(clusters[candidates]))
    _refuse_too_many_parts(2, available, "validation")
    taken, parts = _as_parts(share, available)
    part = deal(labels[candidates], clusters[candidates], parts, seed)
    order = np.argsort(_oversized(clusters[candidates], part, parts), kind="stable")
    drawn = set(clusters[candidates[np.isin(part, order[:taken])]])
    for label in np.unique(labels[candidates]):
        of_class = clusters[pool[labels[pool] == label]]
        if drawn.issuperset(of_class):
            drawn.discard(min(set(of_class), key=lambda unit: ((clusters[pool] == unit).sum(), unit)))
    return pool[np.isin(clusters[pool], list(drawn))]


def _as_parts(share: float, most: int) -> tuple[int, int]:
    """Express a share as so many of equal parts, of as few as come within 2 % of it; of at most `most`.

    >>> _as_parts(0.2, 100), _as_parts(0.4, 100), _as_parts(0.2, 3)
    ((1, 5), (2, 5), (1, 3))
    """
    choices = [(max(1, round(share * parts)), parts) for parts in range(2, most + 1)]
    near = (choice for choice in choices if abs(choice[0] / choice[1] - share) <= 0.02 * share)
    return next(near, None) or min(choices, key=lambda choice: abs(choice[0] / choice[1] - share))


def deal(labels: NDArray[np.str_], clusters: NDArray[np.int64], parts: int, seed: int) -> NDArray[np.int64]:
    """Deal whole units to parts, each unit to the part that has the least of the unit's classes so far: 0 to parts - 1 a clip.

    Units come largest first, by powers of two, and shuffled within a power. scikit-learn's StratifiedGroupKFold balances as well,
    but sorts strictly: where groups differ in size, as UCF's do, its seed changes nothing.

    The parts are then numbered in an order drawn from the seed, so that none is special: the first to be filled always has the
    largest unit. Only part 0, the default test set, never has a unit that is larger than an equal part.
    """
    unit = np.unique(clusters, return_inverse=True)[1]
    label = np.unique(labels, return_inverse=True)[1]
    class_sizes = np.bincount(label)
    (owners, classes), clips = np.unique(np.stack([unit, label]), axis=1, return_counts=True)
    starts = np.searchsorted(owners, np.arange(unit.max() + 2))
    sizes = np.bincount(unit)
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(sizes))
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
    order = rng.permutation(parts)
    first = order[~_oversized(unit, part_of[unit], parts)[order]][0]  # not all parts can have more than their mean
    number = np.empty(parts, dtype=np.int64)
    number[[first, *order[order != first]]] = np.arange(parts)
    return number[part_of[unit]]


def _oversized(clusters: NDArray[np.int64], part: NDArray[np.int64], parts: int) -> NDArray[np.bool_]:
    """Whether a part has a unit that is larger than an equal part: (parts,)."""
    names, sizes = np.unique(clusters, return_counts=True)
    large = np.isin(clusters, names[sizes * parts > len(clusters)])
    return np.isin(np.arange(parts), part[large])


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
    trained = {clip.cluster for clip in used if subsets[clip.id] == "train"}
    tested = [clip for clip in used if subsets[clip.id] == "test"]
    return {
        "classes": len(class_names(clips)),
        "clips": len(clips),
        "groups": len({clip.group for clip in clips}),
        "clips_without_group": sum(clip.group == clip.id for clip in clips),
        **{f"{subset}_clips": counts[subset] for subset in SUBSETS},
        "unused_clips": len(clips) - len(used),
        "test_clips_with_sibling_in_training": sum(clip.cluster in trained for clip in tested) / len(tested),
        "duplicated_clips": sum(len(same) for same in duplicates(clips)),
        "classes_without_test_clips": sorted(set(class_names(clips)) - {clip.label for clip in tested}),
    }


def warnings(
    clips: Sequence[Clip], subsets: Mapping[str, str], settings: SplitSettings, listed: Mapping[str, str] | None = None
) -> list[str]:
    """What makes a split's results say less than they seem to, a sentence each.

    The test or validation set is far (a third of it, and two clips) from the share that was asked for, or most test clips come
    from one source.
    """
    counts = Counter(subsets.values())
    notes = []
    if settings.protocol != "official":
        notes += _far_off("test", counts["test"], counts.total(), 1 / settings.folds, f"one of {settings.folds} folds")
    if counts["val"] and "val" not in (listed or {}).values():
        asked = f"split.validation {settings.validation:g}"
        notes += _far_off("validation", counts["val"], counts["val"] + counts["train"], settings.validation, asked)
    clusters = Counter(clip.cluster for clip in clips if subsets.get(clip.id) == "test")
    (cluster, most) = clusters.most_common(1)[0]
    if most * 2 > clusters.total():
        notes.append(
            f"{most:,} of {clusters.total():,} test clips come from one source ({'/'.join(filter(None, cluster))}), so the results "
            "say little of other sources. Change split.fold or seed, or add sources."
        )
    return notes


def _far_off(what: str, got: int, total: int, share: float, asked: str) -> list[str]:
    wanted = share * total
    if abs(got - wanted) < 2 or 2 / 3 <= got / wanted <= 1.5:
        return []
    return [
        f"the {what} set has {got:,} of {total:,} clips, {got / total:.0%}, where {asked} would be {share:.0%}: groups stay whole, "
        "and they are few or differ much in size."
    ]


def write_split(path: Path, subsets: Mapping[str, str]) -> None:
    write_csv(path, HEADER, sorted(subsets.items()))


def read_split(path: Path) -> dict[str, str]:
    """Read data/split.csv: clip id -> train, val or test."""
    return {row["clip"]: row["subset"] for row in read_csv(path, HEADER)}
