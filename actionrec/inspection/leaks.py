"""How far a split can keep siblings, clips cut from one source video, apart."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache
from math import comb, prod

from actionrec.data.clips import Clip
from actionrec.data.splits import units_of


def random_split_leak(clips: Sequence[Clip], folds: int) -> float:
    """Expected share of test clips that have a sibling in training, each of `folds` parts tested in turn.

    Of a class's n clips, a random part gets t, which is n / folds rounded down or up. A test clip whose cluster has m clips in its
    class has no sibling of that class in training if the m - 1 others are all among the t - 1 other test clips:
    C(t - 1, m - 1) / C(n - 1, m - 1). Of the m clips that its cluster has in another class, none is in training with chance
    C(t, m) / C(n, m), the mean over parts, as classes are dealt independently. The share is the mean over parts, classes and
    clusters, weighted by test clips. No clip is held back for validation. Copies count once, since a split keeps them together;
    a class of one clip is never tested.
    """
    distinct = {clip.sha256: clip for clip in sorted(clips, key=lambda clip: clip.id, reverse=True)}.values()
    of_cluster: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for clip in distinct:
        of_cluster[clip.cluster][clip.label] += 1
    sizes = Counter(clip.label for clip in distinct)
    parts = {label: [n // folds + (part < n % folds) for part in range(folds)] for label, n in sizes.items()}

    @cache
    def all_tested(label: str, m: int) -> float:
        """The chance that all m clips of a cluster in a class are in the part that is tested."""
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
    return min(1.0, leaking / tested) if tested else 0.0  # sums of shares round


def inseparable_classes(clips: Sequence[Clip]) -> list[str]:
    """Classes whose clips all belong together: under a group split they are trained on, and never tested."""
    return sorted(label for label, clusters in _units(clips).items() if len(clusters) == 1)


def possible_folds(clips: Sequence[Clip]) -> tuple[int, int]:
    """How many folds a group split can have at most, and how many that can test every class that can be tested at all.

    0 where no class can be divided.
    """
    of_class = _units(clips).values()
    pinned = {unit for clusters in of_class if len(clusters) == 1 for unit in clusters}
    free = [clusters - pinned for clusters in of_class if len(clusters) > 1]
    return len(set().union(*free)), min((len(clusters) for clusters in free), default=0)


def _units(clips: Sequence[Clip]) -> dict[str, set[int]]:
    """Class -> its units: what a group split does not tear apart."""
    clusters: dict[str, set[int]] = defaultdict(set)
    for clip, unit in zip(clips, units_of(clips, by_group=True), strict=True):
        clusters[clip.label].add(int(unit))
    return clusters
