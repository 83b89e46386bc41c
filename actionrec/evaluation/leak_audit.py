"""Does training give test clips away: siblings, the same bytes, and pictures that are all but the same.

n clips, T frames, D features. Names tell siblings, hashes tell copies; only features tell a clip that was cut, scaled or encoded
anew, or siblings whose names say nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from actionrec.data.clips import Clip, cluster_ids
from actionrec.data.splits import duplicates
from actionrec.features.feature_store import Features, FeatureSet

LOWEST_THRESHOLD = 0.95  # of the similarity of near-duplicates
DEFAULT_THRESHOLD = 0.98  # where nothing shows how similar unrelated clips are
FALSE_ALARMS = 0.01  # test clips flagged though unrelated, as a share, if unrelated clips' similarities are as modelled
FEWEST_PAIRS = 100  # of unrelated clips, below which their spread is not believed

_BATCH = 512  # test clips at a time: 33 MB of similarities to 16,000 training clips
_PAIRS = 500  # clips of one class and side whose similarities are looked at, evenly spaced over the class


@dataclass(frozen=True)
class Copies:
    """Clips with the same bytes that are in more than one subset."""

    clips: tuple[str, ...]  # ids, sorted
    subsets: tuple[str, ...]  # of each


@dataclass(frozen=True)
class NearestTraining:
    """A test clip and the training clip that is most similar to it."""

    test: str
    train: str
    similarity: float  # cosine, -1 to 1, rounded to 6 digits
    same_class: bool
    sibling: bool  # of the same cluster


@dataclass(frozen=True)
class NearDuplicates:
    """Test clips whose features are all but those of a training clip."""

    test_clips: int  # that have features and were compared
    threshold: float  # of the similarity
    unrelated_pairs: int  # that the threshold was derived from; 0: it is the default
    flagged: int  # test clips above the threshold
    strangers: int  # of the flagged, those whose nearest training clip is no sibling by name
    share: float  # flagged of compared
    top: tuple[NearestTraining, ...]  # the most similar pairs, most similar first, flagged or not


@dataclass(frozen=True)
class Audit:
    """What training gives away about the test clips."""

    train_clips: int
    test_clips: int
    siblings: int  # test clips with a training clip of the same cluster
    sibling_share: float
    copied: int  # test clips with the same bytes as a training clip
    copied_share: float
    copies: tuple[Copies, ...]  # across any subsets
    near: NearDuplicates | None  # none without features


def audit(clips: Sequence[Clip], subsets: Mapping[str, str], features: FeatureSet | None = None, top: int = 20) -> Audit:
    """Look for test clips that training gives away.

    Args:
        clips: all clips of the data set.
        subsets: clip id -> train, val or test.
        features: of all clips, or of those that could be decoded.
        top: how many of the most similar pairs to return.

    Raises:
        ValueError: no test or no training clip, or none with features.
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

    From each mean the mean over the training clips is taken first: what all clips have in common says nothing. See `threshold`
    for what is flagged. Beside the features it takes 230 MB for 20,000 clips of 2,048 features (measured), and half a minute.

    Raises:
        ValueError: no test or no training clip has features.
    """
    place = {clip: row for row, clip in enumerate(features.clips)}
    train, test = ([clip for clip in side if clip.id in place] for side in (train, test))
    if not train or not test:
        raise ValueError(f"no near-duplicates to look for: {len(train)} training and {len(test)} test clips have features")
    rows = {side: np.array([place[clip.id] for clip in members]) for side, members in (("train", train), ("test", test))}
    known = mean_over_time(features.features, rows["train"])
    centre = known.mean(axis=0, dtype=np.float64).astype(np.float32)
    asked = mean_over_time(features.features, rows["test"])
    for means in (known, asked):
        means -= centre
        _to_unit_length(means)

    limit, pairs = threshold(train, test, known, asked)
    found = []
    for start in range(0, len(test), _BATCH):
        similar = asked[start : start + _BATCH] @ known.T
        for clip, nearest, value in zip(test[start:], similar.argmax(axis=1), similar.max(axis=1), strict=False):
            other = train[nearest]
            similarity = round(float(value), 6)
            same_class, sibling = clip.label == other.label, clip.cluster == other.cluster
            found.append(NearestTraining(clip.id, other.id, similarity, same_class, sibling))
    found.sort(key=lambda pair: (-pair.similarity, pair.test))
    flagged = [pair for pair in found if pair.similarity > limit]
    return NearDuplicates(
        test_clips=len(test),
        threshold=limit,
        unrelated_pairs=pairs,
        flagged=len(flagged),
        strangers=sum(not pair.sibling for pair in flagged),
        share=len(flagged) / len(test),
        top=tuple(found[:top]),
    )


def threshold(
    train: Sequence[Clip], test: Sequence[Clip], known: NDArray[np.float32], asked: NDArray[np.float32]
) -> tuple[float, int]:
    """Find the similarity above which a test clip and a training clip are called near-duplicates, and from how many pairs.

    Unrelated clips are those of one class and different clusters: as similar as different videos get. Their similarities, as
    atanh (Fisher's z), are taken for normal, with the median as the mean and 1.4826 median absolute deviations as the standard
    deviation: undiscovered copies among them (4 % of the pairs, where five siblings in a class of 130 have no group in their
    names) then hardly raise the threshold that is to find them. A high percentile of the pairs would be a copy's similarity as
    soon as one pair in a thousand is one.

    The threshold is what the most similar of m unrelated training clips exceeds with chance 0.01, m the mean number of unrelated
    clips that a test clip is compared with; and at least 0.95, since real similarities have heavier tails than the normal. With
    fewer than 100 unrelated pairs it is 0.98.

    Args:
        known: (training clips, D) of length 1 or 0, in the order of `train`.
        asked: (test clips, D) likewise.
    """
    gathered: list[NDArray[np.float64]] = []
    ids = cluster_ids([*train, *test])
    for label in sorted({clip.label for clip in test} & {clip.label for clip in train}):
        ours, theirs = (_evenly([row for row, clip in enumerate(side) if clip.label == label]) for side in (test, train))
        apart = ids[len(train) + np.array(ours)][:, None] != ids[np.array(theirs)][None, :]
        gathered.append((asked[ours] @ known[theirs].T)[apart].astype(np.float64))
    similar = np.concatenate(gathered) if gathered else np.empty(0)
    if len(similar) < FEWEST_PAIRS:
        return DEFAULT_THRESHOLD, 0
    spread = np.arctanh(np.clip(similar, -1 + 1e-7, 1 - 1e-7))
    middle = float(np.median(spread))
    deviation = 1.4826 * float(np.median(np.abs(spread - middle)))
    classes, siblings = Counter(clip.label for clip in train), Counter((clip.label, clip.cluster) for clip in train)
    compared = max(1.0, sum(classes[clip.label] - siblings[clip.label, clip.cluster] for clip in test) / len(test))
    return max(LOWEST_THRESHOLD, float(np.tanh(middle + scipy.stats.norm.isf(FALSE_ALARMS / compared) * deviation))), len(similar)


def mean_over_time(features: Features, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mean over frames of some clips of (n, T, D): (rows, D).

    It does not depend on the order of the frames; see `actionrec.evaluation.baselines`.
    """
    means = np.empty((len(rows), features.shape[2]), dtype=np.float32)
    for place, row in enumerate(rows):
        means[place] = features[row].mean(axis=0, dtype=np.float64)
    return means


def _to_unit_length(vectors: NDArray[np.float32]) -> None:
    """Scale rows to length 1, in place; a row of zeros stays, and is similar to nothing."""
    length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    np.divide(vectors, length, out=vectors, where=length > 0)


def _evenly(rows: list[int]) -> list[int]:
    return rows[:: -(-len(rows) // _PAIRS)] if rows else rows
