"""Summary of a data set: numbers that are known before training."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from actionrec.data.clips import class_names
from actionrec.data.splits import duplicates
from actionrec.inspection.leaks import inseparable_classes, possible_folds, random_split_leak
from actionrec.inspection.probe import Probe
from actionrec.inspection.suspicion import Suspicion, codec_of, size_of, suspicions
from actionrec.video.decoder import Header

FOLDS = 5  # of the random split whose leak is computed


@dataclass(frozen=True)
class ClassSummary:
    """One class."""

    name: str
    clips: int
    share: float
    """Share of all clips, 0 to 1."""
    groups: int
    """A clip without a group counts as one."""
    median_seconds: float | None
    """None if no duration is known."""


@dataclass(frozen=True)
class Durations:
    """Durations of the clips for which it is known, in seconds."""

    total: float
    shortest: float
    low: float
    """5th percentile."""
    median: float
    high: float
    """95th percentile."""
    longest: float


@dataclass(frozen=True)
class Summary:
    """Summary of a data set. Clips are given by id, shares are from 0 to 1, counts are sorted by frequency."""

    dataset: str
    read_through: bool
    """Whether all clips were decoded, not only their headers read."""
    clips: int
    groups: int
    """A group number counts once across all classes; a clip without a group counts as a group."""
    clips_without_group: int
    bytes: int
    classes: tuple[ClassSummary, ...]
    """Largest first."""
    imbalance: float
    """Number of clips of the largest class, divided by that of the smallest."""
    durations: Durations | None
    """None if no duration is known."""
    frame_rates: dict[str, int]
    sizes: dict[str, int]
    codecs: dict[str, int]
    unreadable: dict[str, str]
    """Clip -> error."""
    suspicious: tuple[Suspicion, ...]
    copies_within_class: tuple[tuple[str, ...], ...]
    """Sets of clips of one class with the same bytes."""
    copies_across_classes: tuple[tuple[str, ...], ...]
    """Sets of clips of several classes with the same bytes, of which at least one has a wrong label."""
    folds: int
    """Folds of the random split for `random_split_leak`."""
    random_split_leak: float
    """Expected share of test clips with a known sibling in training under a random split; under a group split it is 0."""
    group_folds: int
    """Most folds that a group split can have; 0 if it is impossible."""
    group_folds_of_all_classes: int
    """Most folds with which a group split can test each divisible class in every fold."""
    inseparable_classes: tuple[str, ...]
    """Classes with a single group, which a group split cannot test."""


def summarise(dataset: str, probes: Sequence[Probe], *, read_through: bool) -> Summary:
    """Summarise a data set with at least one clip per class, in any order."""
    probes = sorted(probes, key=lambda probe: probe.clip.id)
    clips = [probe.clip for probe in probes]
    classes = _classes(probes)
    copies = [clip_set for clip_set in duplicates(clips) if clip_set[0].bytes]  # empty files do not count as copies
    across = [clip_set for clip_set in copies if len({clip.label for clip in clip_set}) > 1]
    within = [clip_set for clip_set in copies if len({clip.label for clip in clip_set}) == 1]
    group_folds, group_folds_of_all_classes = possible_folds(clips)
    return Summary(
        dataset=dataset,
        read_through=read_through,
        clips=len(clips),
        groups=len({clip.group for clip in clips}),
        clips_without_group=sum(clip.group == clip.id for clip in clips),
        bytes=sum(clip.bytes for clip in clips),
        classes=classes,
        imbalance=classes[0].clips / classes[-1].clips,
        durations=_durations(probes),
        frame_rates=_count(probes, lambda header: f"{header.frames_per_second:.2f}".rstrip("0").rstrip(".")),
        sizes=_count(probes, size_of),
        codecs=_count(probes, codec_of),
        unreadable={probe.clip.id: probe.error for probe in probes if probe.error},
        suspicious=tuple(suspicions(probes)),
        copies_within_class=tuple(tuple(clip.id for clip in clip_set) for clip_set in within),
        copies_across_classes=tuple(tuple(clip.id for clip in clip_set) for clip_set in across),
        folds=FOLDS,
        random_split_leak=random_split_leak(clips, FOLDS),
        group_folds=group_folds,
        group_folds_of_all_classes=group_folds_of_all_classes,
        inseparable_classes=tuple(inseparable_classes(clips)),
    )


def _classes(probes: Sequence[Probe]) -> tuple[ClassSummary, ...]:
    by_class: dict[str, list[Probe]] = {name: [] for name in class_names(probe.clip for probe in probes)}
    for probe in probes:
        by_class[probe.clip.label].append(probe)
    summaries = []
    for name, of_class in by_class.items():
        seconds = [probe.seconds for probe in of_class if probe.seconds is not None]
        groups = len({probe.clip.group for probe in of_class})
        share = len(of_class) / len(probes)
        summaries.append(ClassSummary(name, len(of_class), share, groups, median(seconds) if seconds else None))
    return tuple(sorted(summaries, key=lambda summary: (-summary.clips, summary.name)))


def _durations(probes: Sequence[Probe]) -> Durations | None:
    seconds = [probe.seconds for probe in probes if probe.seconds is not None]
    if not seconds:
        return None
    return Durations(sum(seconds), *(float(value) for value in np.percentile(seconds, [0, 5, 50, 95, 100])))


def _count(probes: Sequence[Probe], value_of: Callable[[Header], str]) -> dict[str, int]:
    counts = Counter(value_of(probe.header) for probe in probes if probe.header)
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
