"""Leak audit: test clips with siblings, copies or near-duplicates among the training clips.

n clips, T frames, D features. Siblings are found by name and copies by hash. Only features reveal clips that were cut, scaled or
re-encoded, and siblings whose names do not show it.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from actionrec.data.clips import Clip, cluster_ids
from actionrec.data.splits import duplicates
from actionrec.evaluation.nearest_vectors import ListIndex, nearest
from actionrec.features.feature_store import Features, FeatureSet
from actionrec.io.scratch import scratch_array

LOWEST_THRESHOLD = 0.95  # of the similarity of near-duplicates
DEFAULT_THRESHOLD = 0.98  # if there are too few unrelated clips to derive it from
FALSE_ALARMS = 0.01  # share of unrelated test clips that are flagged, if similarities are distributed as modelled
FEWEST_PAIRS = 100  # of unrelated clips, to derive a threshold from

EXACT_PAIRS = 2_000_000_000
"""Up to this many pairs of a test and a training clip, each is compared: 125,000 clips, of which 20 % are tested."""

_PAIRS = 500  # clips of a class and subset to compare for the threshold, evenly spaced over the class
_ALL_PAIRS = 10_000_000  # of all classes: above 40 classes, fewer clips are compared of a class that has many


@dataclass(frozen=True)
class Copies:
    """Clips with the same bytes that are in more than one subset."""

    clips: tuple[str, ...]  # ids, sorted
    subsets: tuple[str, ...]  # of each


@dataclass(frozen=True)
class NearestTraining:
    """A test clip and its most similar training clip."""

    test: str
    train: str
    similarity: float  # cosine, -1 to 1, rounded to 6 digits
    same_class: bool
    sibling: bool  # of the same cluster


@dataclass(frozen=True)
class NearDuplicates:
    """Test clips whose features are nearly those of a training clip."""

    test_clips: int  # test clips with features, which were compared
    threshold: float  # of the similarity
    unrelated_pairs: int  # number of pairs that the threshold was derived from; 0 for the default threshold
    flagged: int  # test clips above the threshold
    strangers: int  # flagged clips whose nearest training clip is not a sibling by name
    share: float  # flagged / test_clips
    top: tuple[NearestTraining, ...]  # the most similar pairs, most similar first, flagged or not
    recall: float | None  # share of planted copies at the threshold that the search finds; None if it compared every pair


@dataclass(frozen=True)
class Audit:
    """Test clips that leak into training, by siblings, copies and near-duplicates."""

    train_clips: int
    test_clips: int
    siblings: int  # test clips with a training clip of the same cluster
    sibling_share: float
    copied: int  # test clips with the same bytes as a training clip
    copied_share: float
    copies: tuple[Copies, ...]  # across any subsets
    near: NearDuplicates | None  # None without features


def audit(clips: Sequence[Clip], subsets: Mapping[str, str], features: FeatureSet | None = None, top: int = 20) -> Audit:
    """Find test clips with siblings, copies or near-duplicates among the training clips.

    Args:
        clips: all clips of the data set.
        subsets: clip id -> train, val or test.
        features: of all clips, or of those that could be decoded; without, near-duplicates are not searched.
        top: how many of the most similar pairs to return.

    Raises:
        ValueError: there are no test clips or no training clips, or none with features.
    """
    train = [clip for clip in clips if subsets[clip.id] == "train"]
    test = [clip for clip in clips if subsets[clip.id] == "test"]
    if not train or not test:
        raise ValueError(f"an audit needs training and test clips; got {len(train)} and {len(test)}")
    clusters = {clip.cluster for clip in train}
    contents = {clip.sha256 for clip in train}
    siblings = sum(clip.cluster in clusters for clip in test)
    copied = sum(clip.sha256 in contents for clip in test)
    copies = [Copies(tuple(clip.id for clip in same), tuple(subsets[clip.id] for clip in same)) for same in duplicates(clips)]
    return Audit(
        train_clips=len(train),
        test_clips=len(test),
        siblings=siblings,
        sibling_share=siblings / len(test),
        copied=copied,
        copied_share=copied / len(test),
        copies=tuple(same for same in copies if len(set(same.subsets)) > 1),
        near=None if features is None else near_duplicates(train, test, features, top),
    )


def near_duplicates(train: Sequence[Clip], test: Sequence[Clip], features: FeatureSet, top: int = 20) -> NearDuplicates:
    """Find each test clip's most similar training clip, by the cosine of their features' means over time.

    The mean over the training clips is subtracted first, because what all clips have in common is not evidence. See `threshold`
    for which pairs are flagged. Up to EXACT_PAIRS each test clip is compared with each training clip; beyond, with those of a
    `ListIndex`, whose recall is measured. Memory: 4 * D bytes per clip, in a temporary file above 1 GiB.

    Raises:
        ValueError: no test or no training clip has features.
    """
    row_of = {clip: row for row, clip in enumerate(features.clips)}
    train, test = ([clip for clip in subset if clip.id in row_of] for subset in (train, test))
    if not train or not test:
        raise ValueError(f"cannot search near-duplicates: {len(train)} training and {len(test)} test clips have features")
    train_means, test_means = (
        mean_over_time(features.features, np.array([row_of[clip.id] for clip in subset])) for subset in (train, test)
    )
    centre = train_means.mean(axis=0, dtype=np.float64).astype(np.float32)
    for means in (train_means, test_means):
        means -= centre
        _to_unit_length(means)

    limit, pairs = threshold(train, test, train_means, test_means)
    if len(train) * len(test) <= EXACT_PAIRS:
        neighbours, recall = nearest(test_means, train_means), None
    else:
        index = ListIndex(train_means)
        neighbours, recall = index.search(test_means), index.recall(limit)
    nearest_pairs = []
    for clip, row, value in zip(test, neighbours.rows, neighbours.similarities, strict=True):
        other = train[row]
        similarity = round(float(value), 6)
        same_class, sibling = clip.label == other.label, clip.cluster == other.cluster
        nearest_pairs.append(NearestTraining(clip.id, other.id, similarity, same_class, sibling))
    nearest_pairs.sort(key=lambda pair: (-pair.similarity, pair.test))
    flagged = [pair for pair in nearest_pairs if pair.similarity > limit]
    return NearDuplicates(
        test_clips=len(test),
        threshold=limit,
        unrelated_pairs=pairs,
        flagged=len(flagged),
        strangers=sum(not pair.sibling for pair in flagged),
        share=len(flagged) / len(test),
        top=tuple(nearest_pairs[:top]),
        recall=recall,
    )


def threshold(
    train: Sequence[Clip], test: Sequence[Clip], train_means: NDArray[np.float32], test_means: NDArray[np.float32]
) -> tuple[float, int]:
    """Find the similarity above which two clips count as near-duplicates, from pairs of unrelated clips.

    Unrelated clips are those of one class and different clusters: as similar as different videos get. Their similarities, as
    atanh (Fisher's z), are modelled as normal, with the median as the mean and 1.4826 median absolute deviations as the standard
    deviation. So undiscovered copies among them hardly raise the threshold (they are 4 % of the pairs, if five siblings in a
    class of 130 have no group in their names). A high percentile of the similarities would be a copy's as soon as one pair in a
    thousand is a copy.

    The most similar of m unrelated training clips exceeds the threshold with probability 0.01; m is the mean number of unrelated
    clips that a test clip is compared with. The threshold is at least 0.95, because real similarities have heavier tails than
    the normal, and 0.98 if there are fewer than 100 unrelated pairs.

    Args:
        train_means: (training clips, D) of length 1 or 0, in the order of `train`.
        test_means: (test clips, D) likewise.

    Returns:
        The threshold, and the number of unrelated pairs that it was derived from.
    """
    by_class: list[NDArray[np.float64]] = []
    ids = cluster_ids([*train, *test])
    rows_of_train, rows_of_test = _rows_by_class(train), _rows_by_class(test)
    labels = sorted(rows_of_test.keys() & rows_of_train.keys())
    most = min(_PAIRS, math.isqrt(_ALL_PAIRS // max(1, len(labels))))
    for label in labels:
        test_rows, train_rows = _evenly(rows_of_test[label], most), _evenly(rows_of_train[label], most)
        unrelated = ids[len(train) + np.array(test_rows)][:, None] != ids[np.array(train_rows)][None, :]
        by_class.append((test_means[test_rows] @ train_means[train_rows].T)[unrelated].astype(np.float64))
    similarities = np.concatenate(by_class) if by_class else np.empty(0)
    if len(similarities) < FEWEST_PAIRS:
        return DEFAULT_THRESHOLD, 0
    z = np.arctanh(np.clip(similarities, -1 + 1e-7, 1 - 1e-7))
    median = float(np.median(z))
    deviation = 1.4826 * float(np.median(np.abs(z - median)))
    classes, siblings = Counter(clip.label for clip in train), Counter((clip.label, clip.cluster) for clip in train)
    compared = max(1.0, sum(classes[clip.label] - siblings[clip.label, clip.cluster] for clip in test) / len(test))
    derived = float(np.tanh(median + scipy.stats.norm.isf(FALSE_ALARMS / compared) * deviation))
    return max(LOWEST_THRESHOLD, derived), len(similarities)


def mean_over_time(features: Features, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mean over frames of the given rows of (n, T, D): (rows, D).

    Independent of the order of the frames; see `actionrec.models.mean_pool`.
    """
    means = scratch_array((len(rows), features.shape[2]))
    for place, row in enumerate(rows):
        means[place] = features[row].mean(axis=0, dtype=np.float64)
    return means


def _to_unit_length(vectors: NDArray[np.float32]) -> None:
    """Scale rows to length 1, in place; rows of zeros stay, and have similarity 0 to every clip."""
    length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    np.divide(vectors, length, out=vectors, where=length > 0)


def _rows_by_class(clips: Sequence[Clip]) -> dict[str, list[int]]:
    rows = defaultdict(list)
    for row, clip in enumerate(clips):
        rows[clip.label].append(row)
    return rows


def _evenly(rows: list[int], most: int) -> list[int]:
    """At most `most` of the rows, evenly spaced."""
    return rows[:: -(-len(rows) // most)]
