"""Leaks between subsets: how many test clips have siblings (clips of the same source video) in training."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache
from math import comb, prod

from actionrec.data.clips import Clip
from actionrec.data.splits import split_groups


def random_split_leak(clips: Sequence[Clip], folds: int) -> float:
    """Expected share of test clips that have a sibling in training, under a random split into `folds` parts.

    The result is the mean over all parts, each tested in turn, weighted by test clips. No clips are used for validation. Copies
    count once, since a split keeps them together. A class with one clip is never tested.

    Of a class's n clips, a random part gets t, which is n / folds rounded down or up. Take a test clip whose cluster has m clips in
    its class. It has no sibling of that class in training if the m - 1 others are all among the t - 1 other test clips, with
    probability C(t - 1, m - 1) / C(n - 1, m - 1). If its cluster has m clips in another class, none of these is in training with
    probability C(t, m) / C(n, m), averaged over parts, since classes are dealt independently.
    """
    distinct = {clip.sha256: clip for clip in sorted(clips, key=lambda clip: clip.id, reverse=True)}.values()
    of_cluster: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for clip in distinct:
        of_cluster[clip.cluster][clip.label] += 1
    sizes = Counter(clip.label for clip in distinct)
    parts = {label: [n // folds + (part < n % folds) for part in range(folds)] for label, n in sizes.items()}

    @cache
    def all_tested(label: str, m: int) -> float:
        """Probability that all m clips of a cluster in a class are in the tested part."""
        n = sizes[label]
        return 0.0 if n == 1 else sum(comb(t, m) / comb(n, m) for t in parts[label]) / folds

    leaking = 0.0
    for members in of_cluster.values():
        for label, m in members.items():
            n = sizes[label]
            elsewhere = prod(all_tested(other, count) for other, count in members.items() if other != label)
            for t in parts[label] if n > 1 else ():
                leaking += t * m / n * (1 - elsewhere * comb(t - 1, m - 1) / comb(n - 1, m - 1)) if t else 0.0
    tested = sum(n for n in sizes.values() if n > 1)
    return min(1.0, leaking / tested) if tested else 0.0  # rounding may exceed 1


def inseparable_classes(clips: Sequence[Clip]) -> list[str]:
    """Classes with a single split group: a group split uses them for training and never tests them."""
    return sorted(label for label, groups in _groups_of_class(clips).items() if len(groups) == 1)


def possible_folds(clips: Sequence[Clip]) -> tuple[int, int]:
    """The most folds that a group split can have, and the most folds with which each divisible class is tested in every fold.

    Both are 0 if no class can be divided.
    """
    groups_of_class = _groups_of_class(clips).values()
    pinned = {group for groups in groups_of_class if len(groups) == 1 for group in groups}
    free = [groups - pinned for groups in groups_of_class if len(groups) > 1]
    return len(set().union(*free)), min((len(groups) for groups in free), default=0)


def _groups_of_class(clips: Sequence[Clip]) -> dict[str, set[int]]:
    """Class -> the numbers of its split groups under a group split."""
    groups: dict[str, set[int]] = defaultdict(set)
    for clip, group in zip(clips, split_groups(clips, by_group=True), strict=True):
        groups[clip.label].add(int(group))
    return groups
