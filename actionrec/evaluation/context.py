"""Evaluation context: the data, split and settings that a comparison's numbers apply to, shown with every table and plot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from actionrec.core import paths
from actionrec.core.errors import DataError
from actionrec.evaluation.predictions import Answers
from actionrec.evaluation.trained_models import TrainedModel, typed_values
from actionrec.features.frame_requirements import VIDEO_BACKBONES
from actionrec.features.settings import RGB_ONLY, streams_of, streams_phrase
from actionrec.features.tuned_backbone import Tuning, tuning_of
from actionrec.io.files import read_json
from actionrec.video.frame_settings import ONE_FRAME, Snippet


@dataclass(frozen=True)
class EvaluationContext:
    """The data, the split, and how many clips and runs there were."""

    dataset: str
    protocol: str
    folds: int
    fold: int
    evaluated_folds: int  # folds whose test clips are pooled: one, or all
    seed: int
    class_names: tuple[str, ...]
    train_clips: int
    val_clips: int  # if 0, the epoch was chosen on the test clips
    test_clips: int
    test_sources: int  # clusters that the test clips come from, see actionrec.data.clips.Clip.cluster
    seeds: int  # training runs per model
    sibling_share: float  # share of test clips with a training clip from the same source video
    clips_without_group: int  # clips whose names contain no source video; each counts as a source of its own
    duplicated_clips: int
    classes_without_test_clips: tuple[str, ...]
    clips: int  # in the data set
    padded: int  # clips with fewer frames than were sampled
    failed: int  # clips that could not be decoded
    backbone: str
    weights: str
    frames: int  # sample points per clip
    split_warnings: tuple[str, ...] = ()  # reasons to doubt results on this split
    repeated_tests: int = 0  # of test_clips: tests of a clip beyond its first, since official lists can share test clips
    streams: tuple[str, ...] = RGB_ONLY  # that features were computed from
    snippet: Snippet = ONE_FRAME  # at each sample point
    tuning: Tuning | None = None  # of the backbone; None if it is frozen

    @classmethod
    def of(cls, model: TrainedModel, split: Mapping[str, Any], extraction: Mapping[str, Any]) -> Self:
        """Build the context from the stages' records.

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
            evaluated_folds=len(np.unique(model.predictions.test_folds)),
            seed=split["seed"],
            class_names=model.class_names,
            # Not from the split, which also counts clips that could not be decoded.
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
            repeated_tests=len(model.test.labels) - len(np.unique(model.test.clips)),
            clips=extraction["clips"],
            padded=extraction["padded"],
            failed=extraction["failed"],
            backbone=model.features["backbone"],
            weights=model.features["weights"],
            frames=model.frames["count"],
            streams=streams_of(model.features),
            snippet=Snippet(**model.frames.get("snippet", {})),
            tuning=tuning_of(model.features, []),
        )

    def of_saved_fold(self, test: Answers) -> Self:
        """The context of numbers on the test clips of the saved models' fold alone.

        Args:
            test: any model's answers for these clips.
        """
        return replace(
            self, evaluated_folds=1, test_clips=len(test.labels), test_sources=len(np.unique(test.clusters)), repeated_tests=0
        )

    @property
    def distinct_test_clips(self) -> int:
        """Test clips, each counted once."""
        return self.test_clips - self.repeated_tests

    @property
    def epoch_chosen_on(self) -> str:
        return "validation" if self.val_clips else "test"

    @property
    def top5_is_trivial(self) -> bool:
        """Whether there are at most 5 classes, so that every answer is among the top five."""
        return len(self.class_names) <= 5

    @property
    def folds_phrase(self) -> str:
        """The folds whose test clips are evaluated."""
        if self.protocol == "official":
            return f"all {self.evaluated_folds} official splits" if self.evaluated_folds > 1 else f"official split {self.fold}"
        return f"all {self.folds} folds" if self.evaluated_folds > 1 else f"fold {self.fold} of {self.folds}"

    @property
    def split_phrase(self) -> str:
        """The protocol and the folds."""
        return self.folds_phrase if self.protocol == "official" else f"{self.protocol} split, {self.folds_phrase}"

    @property
    def is_video(self) -> bool:
        """Whether the backbone sees whole snippets, not one frame at a time."""
        return self.backbone in VIDEO_BACKBONES

    @property
    def step(self) -> str:
        """What the sequence models read one after another."""
        return "frame" if self.snippet == ONE_FRAME else "snippet"

    @property
    def sees_motion(self) -> bool:
        """Whether even the features of a single frame or snippet hold motion."""
        return "diff" in self.streams or (self.is_video and self.snippet.length > 1)

    @property
    def phrase(self) -> str:
        """The protocol in one line, for captions and titles."""
        parts = [self.dataset, self.split_phrase, f"{self.test_clips:,} test clips"]
        if not self.val_clips:
            parts.append("epoch chosen on the test clips")
        if self.weights == "random":
            parts.append("UNTRAINED backbone")
        if self.tuning:
            parts.append("tuned backbone")
        if self.snippet != ONE_FRAME:
            parts.append(f"snippets of {self.snippet.phrase}")
        if streams := streams_phrase(self.streams):
            parts.append(streams)
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
    """Check the types of a record's entries; missing entries are reported by `read_context`."""
    present = {key: kind for key, kind in kinds.items() if not isinstance(record, dict) or key in record}
    typed_values(record, present, path, "Run `dvc repro` to recompute it.")


def read_context(model: TrainedModel) -> EvaluationContext:
    """Read the records of the stages before training; `model` is any of the compared models.

    Raises:
        DataError: a record or one of its entries is missing, or the record is damaged.
    """
    split, extraction = read_json(paths.SPLIT_METRICS), read_json(paths.FRAME_METRICS)
    _check_kinds(split, _OF_SPLIT, paths.SPLIT_METRICS)
    _check_kinds(extraction, _OF_EXTRACTION, paths.FRAME_METRICS)
    try:
        return EvaluationContext.of(model, split, extraction)
    except KeyError as key:
        where = f"{paths.SPLIT_METRICS}, {paths.FRAME_METRICS} or {paths.model_folder(model.name) / 'model.json'}"
        raise DataError(f"{where}: lacks {key}. Run `dvc repro` to recompute them.") from None
