"""All that is known of a data set before training, as numbers."""

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

FOLDS = 5  # of the random split that is judged


@dataclass(frozen=True)
class ClassSummary:
    """One class."""

    name: str
    clips: int
    share: float
    """Of all clips, 0 to 1."""
    groups: int
    """A clip without a group counts as one."""
    median_seconds: float | None
    """None where no clip tells its duration."""


@dataclass(frozen=True)
class Durations:
    """Of the clips that tell it, in seconds."""

    total: float
    shortest: float
    low: float
    """5 % of the clips are shorter."""
    median: float
    high: float
    """5 % of the clips are longer."""
    longest: float


@dataclass(frozen=True)
class Summary:
    """A data set. Clips are named by their ids, shares go from 0 to 1, values are counted most frequent first."""

    dataset: str
    read_through: bool
    """False: by headers alone."""
    clips: int
    groups: int
    """A group's number counts once, whatever classes it is in; a clip without a group counts as one."""
    clips_without_group: int
    bytes: int
    classes: tuple[ClassSummary, ...]
    """Largest first."""
    imbalance: float
    """Clips of the largest class for each clip of the smallest."""
    durations: Durations | None
    """None where no clip tells it."""
    frame_rates: dict[str, int]
    sizes: dict[str, int]
    codecs: dict[str, int]
    unreadable: dict[str, str]
    """Clip -> why."""
    suspicious: tuple[Suspicion, ...]
    copies_within_class: tuple[tuple[str, ...], ...]
    """Sets of clips of one class with the same bytes."""
    copies_across_classes: tuple[tuple[str, ...], ...]
    """Sets of clips of several classes with the same bytes: at least one label is wrong."""
    folds: int
    """Of the random split that `random_split_leak` judges."""
    random_split_leak: float
    """Expected share of test clips with a known sibling in training; under a group split it is 0."""
    group_folds: int
    """Folds that a group split can have at most; 0 where there can be none."""
    group_folds_of_all_classes: int
    """Folds up to which each can test every class that is divisible."""
    inseparable_classes: tuple[str, ...]
    """Classes that come from a single group, so that a group split cannot test them."""


def summarise(dataset: str, probes: Sequence[Probe], *, read_through: bool) -> Summary:
    """Sum up at least one clip a class, in any order."""
    probes = sorted(probes, key=lambda one: one.clip.id)
    clips = [one.clip for one in probes]
    classes = _classes(probes)
    copies = [same for same in duplicates(clips) if same[0].bytes]  # empty files are no copies of one another
    across = [same for same in copies if len({clip.label for clip in same}) > 1]
    within = [same for same in copies if same not in across]
    most, of_all = possible_folds(clips)
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
        unreadable={one.clip.id: one.error for one in probes if one.error},
        suspicious=tuple(suspicions(probes)),
        copies_within_class=tuple(tuple(clip.id for clip in same) for same in within),
        copies_across_classes=tuple(tuple(clip.id for clip in same) for same in across),
        folds=FOLDS,
        random_split_leak=random_split_leak(clips, FOLDS),
        group_folds=most,
        group_folds_of_all_classes=of_all,
        inseparable_classes=tuple(inseparable_classes(clips)),
    )


def _classes(probes: Sequence[Probe]) -> tuple[ClassSummary, ...]:
    found = []
    for name in class_names(one.clip for one in probes):
        own = [one for one in probes if one.clip.label == name]
        seconds = [one.seconds for one in own if one.seconds is not None]
        groups = len({one.clip.group for one in own})
        found.append(ClassSummary(name, len(own), len(own) / len(probes), groups, median(seconds) if seconds else None))
    return tuple(sorted(found, key=lambda one: (-one.clips, one.name)))


def _durations(probes: Sequence[Probe]) -> Durations | None:
    seconds = [one.seconds for one in probes if one.seconds is not None]
    if not seconds:
        return None
    return Durations(sum(seconds), *(float(value) for value in np.percentile(seconds, [0, 5, 50, 95, 100])))


def _count(probes: Sequence[Probe], value_of: Callable[[Header], str]) -> dict[str, int]:
    counts = Counter(value_of(one.header) for one in probes if one.header)
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
