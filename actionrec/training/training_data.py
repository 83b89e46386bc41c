"""Training data: the clips that could be decoded, with their classes, source videos and subsets, and their features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrec.core import paths
from actionrec.core.errors import DataError
from actionrec.data import folds
from actionrec.data.clips import Clip, class_names, cluster_ids, read_clips
from actionrec.data.splits import SUBSETS, read_split
from actionrec.features.feature_store import FeatureSet, StoredFeatures, read_features


@dataclass(frozen=True)
class LabelledClips:
    """Classes, clusters and subsets of n clips, sorted by id; K classes."""

    labels: NDArray[np.int64]
    """(n,), indices into `class_names`."""
    class_names: list[str]
    clusters: NDArray[np.int64]
    """(n,), the number of each clip's cluster; see `actionrec.data.clips.Clip.cluster`."""
    rows: dict[str, NDArray[np.int64]]
    """Subset -> indices of its clips, sorted by clip."""

    @property
    def held_out(self) -> str:
        """The subset that the best epoch is chosen on: val, or test if there are no validation clips."""
        return "val" if len(self.rows["val"]) else "test"

    @property
    def reported(self) -> NDArray[np.int64]:
        """Indices of the validation and test clips, sorted by clip."""
        return np.sort(np.concatenate([self.rows["val"], self.rows["test"]]))

    @property
    def reported_subsets(self) -> NDArray[np.str_]:
        """val or test, for each of `reported`."""
        return np.where(np.isin(self.reported, self.rows["test"]), "test", "val")


@dataclass(frozen=True)
class TrainingData(LabelledClips):
    """Labelled clips with their features."""

    features: FeatureSet

    @property
    def training_clips(self) -> list[str]:
        """Ids of the clips that models are trained on, sorted."""
        return [self.features.clips[row] for row in self.rows["train"]]

    def signature(self) -> dict[str, Any]:
        """Values that identify this data: clips, classes, subsets, and the files of features."""
        rows = {subset: rows.tolist() for subset, rows in self.rows.items()}
        stored = self.features.features.signature() if isinstance(self.features.features, StoredFeatures) else None
        return {"clips": self.features.clips, "labels": self.labels.tolist(), "rows": rows, "features": stored}


def read_training_data() -> TrainingData:
    """Join the files of features, clips and split.

    Raises:
        DataError: see `make_training_data`; or a file is missing or damaged.
    """
    return make_training_data(read_clips(paths.CLIPS), read_split(paths.SPLIT), read_features(paths.FEATURES))


def read_other_folds(features: FeatureSet) -> dict[int, TrainingData]:
    """The data of each other fold that `evaluation.folds` asks for, on the same features.

    Raises:
        DataError: see `make_training_data`; names the fold. Or a file is missing or damaged.
    """
    clips, others = read_clips(paths.CLIPS), {}
    for fold, split in folds.read_other_folds(paths.OTHER_FOLDS).items():
        try:
            others[fold] = make_training_data(clips, split, features)
        except DataError as error:
            raise DataError(f"fold {fold}, which evaluation.folds=all needs: {error}") from None
    return others


def make_training_data(clips: Sequence[Clip], split: Mapping[str, str], features: FeatureSet) -> TrainingData:
    """Join features, classes and split.

    Raises:
        DataError: see `label_clips`.
    """
    labelled = label_clips(clips, split, features.clips, paths.FEATURES)
    return TrainingData(labelled.labels, labelled.class_names, labelled.clusters, labelled.rows, features)


def label_clips(clips: Sequence[Clip], split: Mapping[str, str], ids: Sequence[str], folder: Path) -> LabelledClips:
    """Find the classes and subsets of the clips that could be decoded.

    Clips without a subset (no official list names them) are in no subset.

    Args:
        clips: of the data set.
        ids: of the clips in `folder`, sorted.

    Raises:
        DataError: `folder` has other clips, or a class has no training clip, or a subset no clip.
    """
    by_id = {clip.id: clip for clip in clips}
    names = class_names(clips)
    unknown = [clip for clip in ids if clip not in by_id]
    if unknown:
        raise DataError(f"{folder}: {len(unknown)} clips are not in {paths.CLIPS} ({unknown[0]}). Run `dvc repro`.")
    number = {name: place for place, name in enumerate(names)}
    labels = np.array([number[by_id[clip].label] for clip in ids], dtype=np.int64)
    clusters = cluster_ids([by_id[clip] for clip in ids])
    subsets = np.array([split.get(clip, "unused") for clip in ids])
    rows = {subset: np.flatnonzero(subsets == subset) for subset in SUBSETS}
    untrained = [name for name in names if not (labels[rows["train"]] == number[name]).any()]
    if untrained:
        raise DataError(
            f"no training clip of {', '.join(untrained)} could be decoded; see {paths.FRAMES}/ledger.csv. "
            "Fix these clips, or remove the class from the data set."
        )
    for subset in ("val", "test"):
        if subset in split.values() and not len(rows[subset]):
            raise DataError(f"no {subset} clip could be decoded; see {paths.FRAMES}/ledger.csv. Fix these clips.")
    return LabelledClips(labels, names, clusters, rows)
