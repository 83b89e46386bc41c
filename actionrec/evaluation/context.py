"""What a comparison's numbers hold for: it goes with every table and picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from actionrec.core import paths
from actionrec.core.errors import DataError
from actionrec.evaluation.trained_models import TrainedModel, wanted
from actionrec.io.files import read_json


@dataclass(frozen=True)
class EvaluationContext:
    """The data, the split, and how many clips and runs there were."""

    dataset: str
    protocol: str
    folds: int
    fold: int
    seed: int
    class_names: tuple[str, ...]
    train_clips: int
    val_clips: int  # with 0, the epoch was chosen on the test clips
    test_clips: int
    test_sources: int  # that the test clips come from: clusters, see actionrec.data.clips.Clip.cluster
    seeds: int  # training runs a model
    sibling_share: float  # of test clips that have a clip from the same source video in training
    clips_without_group: int  # whose names tell no source video; each is taken for a source of its own
    duplicated_clips: int
    classes_without_test_clips: tuple[str, ...]
    clips: int  # in the data set
    padded: int  # clips with fewer frames than were wanted
    failed: int  # clips that could not be decoded
    backbone: str
    weights: str
    frames: int  # a clip
    split_warnings: tuple[str, ...] = ()  # what makes the split's results say less than they seem to

    @classmethod
    def of(cls, model: TrainedModel, split: Mapping[str, Any], extraction: Mapping[str, Any]) -> Self:
        """Gather the context from what the stages recorded.

        Args:
            model: any of the compared models; they share classes, clips, features and frames.
            split: metrics/split.json.
            extraction: metrics/extract_frames.json.

        Raises:
            KeyError: a record lacks an entry.
        """
        return cls(
            dataset=split["dataset"],
            protocol=split["protocol"],
            folds=split["folds"],
            fold=split["fold"],
            seed=split["seed"],
            class_names=model.class_names,
            # Not from the split: a clip that could not be decoded is in the split but in no result.
            train_clips=model.train_clips,
            val_clips=len(model.val.labels),
            test_clips=len(model.test.labels),
            test_sources=len(np.unique(model.test.clusters)),
            seeds=len(model.predictions.seeds),
            sibling_share=split["test_clips_with_sibling_in_training"],
            clips_without_group=split["clips_without_group"],
            duplicated_clips=split["duplicated_clips"],
            classes_without_test_clips=tuple(split["classes_without_test_clips"]),
            split_warnings=tuple(split.get("warnings", ())),
            clips=extraction["clips"],
            padded=extraction["padded"],
            failed=extraction["failed"],
            backbone=model.features["backbone"],
            weights=model.features["weights"],
            frames=model.frames["count"],
        )

    @property
    def epoch_chosen_on(self) -> str:
        return "validation" if self.val_clips else "test"

    @property
    def top5_is_trivial(self) -> bool:
        """Whether there are so few classes that any answer is among the top five."""
        return len(self.class_names) <= 5

    @property
    def phrase(self) -> str:
        """The protocol in one line, for captions and titles."""
        official = self.protocol == "official"
        which = f"official split {self.fold}" if official else f"{self.protocol} split, fold {self.fold} of {self.folds}"
        parts = [self.dataset, which, f"{self.test_clips:,} test clips"]
        if not self.val_clips:
            parts.append("epoch chosen on the test clips")
        if self.weights == "random":
            parts.append("UNTRAINED backbone")
        return ", ".join(parts)


_OF_SPLIT = {
    "dataset": str,
    "protocol": str,
    "folds": int,
    "fold": int,
    "seed": int,
    "test_clips_with_sibling_in_training": float,
    "clips_without_group": int,
    "duplicated_clips": int,
    "classes_without_test_clips": Sequence[str],
}
_OF_EXTRACTION = {"clips": int, "padded": int, "failed": int}


def _check_kinds(record: Any, kinds: Mapping[str, Any], path: Path) -> None:
    """Make sure that a record's entries are of the kinds that its stage writes; those that are missing are found later."""
    present = {key: kind for key, kind in kinds.items() if not isinstance(record, dict) or key in record}
    wanted(record, present, path, "Run `dvc repro` to make it again.")


def read_context(model: TrainedModel) -> EvaluationContext:
    """Read what the stages before training recorded; `model` is any of the compared ones.

    Raises:
        DataError: a record is missing or damaged, or lacks an entry.
    """
    split, extraction = read_json(paths.SPLIT_METRICS), read_json(paths.FRAME_METRICS)
    _check_kinds(split, _OF_SPLIT, paths.SPLIT_METRICS)
    _check_kinds(extraction, _OF_EXTRACTION, paths.FRAME_METRICS)
    try:
        return EvaluationContext.of(model, split, extraction)
    except KeyError as key:
        where = f"{paths.SPLIT_METRICS}, {paths.FRAME_METRICS} and {paths.model_folder(model.name) / 'model.json'}"
        raise DataError(f"{where}: none has {key}. Run `dvc repro` to make them again.") from None
