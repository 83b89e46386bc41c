"""Test clips with the answers of all compared models, as arrays: filters, order, and a clip's answers.

n tests, K classes, M models. A clip is tested once, or once in each official list that has it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from actionrec.core.text import quoted
from actionrec.web.confusions import ConfusionSummary, count_confusions, summarise
from actionrec.web.predict_request import RequestError
from actionrec.web.stored_answers import StoredAnswers

MOST = 100
"""Clips in one answer."""
_MOST_GROUPS = 1000  # that are listed as choices


class ClipQuery(BaseModel):
    """Which test clips to list; a filter that is not given keeps all."""

    model_config = ConfigDict(populate_by_name=True)

    model: str | None = Field(None, description="Whose answers count; the default is the first of /test-clips/choices.")
    label: str | None = Field(None, alias="true", description="The true class.")
    predicted: str | None = Field(None, description="The class that the model predicts.")
    correct: bool | None = Field(None, description="Whether the model is correct.")
    min_confidence: float = Field(0, ge=0, le=1, description="The model's lowest confidence.")
    max_confidence: float = Field(1, ge=0, le=1, description="The model's highest confidence.")
    group: str | None = Field(None, description="The source video or person, as in data/clips.csv.")
    suspect: bool | None = Field(None, description="Whether the label is probably wrong.")
    disagree: bool | None = Field(None, description="Whether the models predict different classes.")
    sort: Literal["clip", "most_confident", "least_confident", "fewest_correct"] = Field(
        "clip", description="The order; fewest_correct: clips first that few models get right."
    )
    offset: int = Field(0, ge=0, description="Matches to skip.")
    limit: int = Field(24, ge=1, le=MOST, description="Most clips in the answer.")


QUERY = tuple(field.alias or name for name, field in ClipQuery.model_fields.items())
"""Parameters of `GET /test-clips`."""


@dataclass
class ListedClip:
    """A test clip and one model's answer."""

    clip: str
    """Its path in the data set."""
    label: str
    """The true class."""
    predicted: str
    confidence: float
    correct: bool
    correct_models: int
    """Number of models that are correct."""
    group: str
    """Its source video or person; empty if unknown."""
    suspect: bool
    """Whether the label is probably wrong."""
    fold: int
    """Whose models were tested on it."""


@dataclass
class ClipList:
    """Some of the test clips that match."""

    model: str
    total: int
    """Matches."""
    models: int
    """M"""
    clips: list[ListedClip]


@dataclass
class ModelsAnswer:
    """A model's answer for a test clip."""

    model: str
    label: str
    confidence: float
    correct: bool
    fold: int


@dataclass
class ClipAnswers:
    """All models' answers for a test clip."""

    clip: str
    label: str
    group: str
    suspect: bool
    answers: list[ModelsAnswer]
    """In order of fold, then of the models' ranks."""


@dataclass
class ClassChoice:
    """A class and its number of tests."""

    label: str
    clips: int


@dataclass
class Choices:
    """What `GET /test-clips` can filter by."""

    models: list[str]
    """In order of rank."""
    left_out: dict[str, str]
    """Model -> why its answers are not shown."""
    classes: list[ClassChoice]
    groups: list[str]
    """At most 1,000."""
    tests: int
    folds: list[int]
    suspects: int
    disagreements: int


@dataclass(frozen=True)
class EvaluatedClips:
    """The answers of M models for the same n tests, sorted by clip and fold."""

    class_names: tuple[str, ...]
    answers: Mapping[str, StoredAnswers]
    """Model -> answers, in order of rank; at least one."""
    group_names: Sequence[str]
    group_of: NDArray[np.int32]
    """(n,), number of the group's name."""
    suspect: NDArray[np.bool_]
    """(n,)"""
    left_out: Mapping[str, str]
    """Model -> why it is not among `answers`."""

    @cached_property
    def tests(self) -> StoredAnswers:
        """The tests themselves; its predictions are the first model's."""
        return next(iter(self.answers.values()))

    @cached_property
    def correct_models(self) -> NDArray[np.int32]:
        """(n,), number of models that are correct."""
        return np.sum([one.predicted == one.labels for one in self.answers.values()], axis=0, dtype=np.int32)

    @cached_property
    def disagree(self) -> NDArray[np.bool_]:
        """(n,), whether two models predict different classes."""
        return np.any([one.predicted != self.tests.predicted for one in self.answers.values()], axis=0)

    @cached_property
    def _class_numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.class_names)}

    @cached_property
    def _group_numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.group_names)}

    def choices(self) -> Choices:
        """What can be filtered by."""
        counts = np.bincount(self.tests.labels, minlength=len(self.class_names)).tolist()
        return Choices(
            models=list(self.answers),
            left_out=dict(self.left_out),
            classes=[ClassChoice(name, count) for name, count in zip(self.class_names, counts, strict=True)],
            groups=[name for name in self.group_names[: _MOST_GROUPS + 1] if name][:_MOST_GROUPS],
            tests=len(self.tests.labels),
            folds=np.unique(self.tests.folds).tolist(),
            suspects=int(self.suspect.sum()),
            disagreements=int(self.disagree.sum()),
        )

    def listed(self, query: ClipQuery) -> ClipList:
        """The clips that match.

        Raises:
            RequestError: there is no such model or class.
        """
        model = query.model or next(iter(self.answers))
        rows = self.matches(query)
        return ClipList(
            model=model,
            total=len(rows),
            models=len(self.answers),
            clips=[self._entry(row, self.answers[model]) for row in rows[query.offset : query.offset + query.limit].tolist()],
        )

    def matches(self, query: ClipQuery) -> NDArray[np.int64]:
        """The rows of all clips that match, in the order asked for; `offset` and `limit` have no effect.

        Raises:
            RequestError: there is no such model or class.
        """
        own = self._answers_of(query.model)
        kept = np.ones(len(own.labels), dtype=np.bool_)
        if query.label is not None:
            kept &= own.labels == self._class_number("true", query.label)
        if query.predicted is not None:
            kept &= own.predicted == self._class_number("predicted", query.predicted)
        if query.correct is not None:
            kept &= (own.predicted == own.labels) == query.correct
        if query.min_confidence > 0:
            kept &= own.confidence >= query.min_confidence
        if query.max_confidence < 1:
            kept &= own.confidence <= query.max_confidence
        if query.group is not None:
            kept &= self.group_of == self._group_numbers.get(query.group, -1)
        if query.suspect is not None:
            kept &= self.suspect == query.suspect
        if query.disagree is not None:
            kept &= self.disagree == query.disagree
        rows = np.flatnonzero(kept)
        if query.sort == "clip":
            return rows
        if query.sort == "fewest_correct":
            return rows[np.argsort(self.correct_models[rows], kind="stable")]
        sign = -1 if query.sort == "most_confident" else 1
        return rows[np.argsort(sign * own.confidence[rows], kind="stable")]

    def answers_for(self, clip: str) -> ClipAnswers:
        """All models' answers for a clip.

        Raises:
            RequestError: it is not a test clip.
        """
        rows = self._rows_of(clip)
        first = rows[0]
        return ClipAnswers(
            clip=clip,
            label=self.class_names[self.tests.labels[first]],
            group=self.group_names[self.group_of[first]],
            suspect=bool(self.suspect[first]),
            answers=[
                ModelsAnswer(
                    name,
                    self.class_names[one.predicted[row]],
                    float(one.confidence[row]),
                    bool(one.predicted[row] == one.labels[row]),
                    int(one.folds[row]),
                )
                for row in rows
                for name, one in self.answers.items()
            ],
        )

    def require(self, clip: str) -> None:
        """Raises RequestError: it is not a test clip."""
        self._rows_of(clip)

    def confusion(self, model: str | None) -> ConfusionSummary:
        """The confusion matrix of a model; of the first one if `model` is None.

        Raises:
            RequestError: there is no such model.
        """
        own = self._answers_of(model)
        counts = count_confusions(own.labels, own.predicted, len(self.class_names))
        return summarise(model or next(iter(self.answers)), counts, self.class_names)

    def _answers_of(self, model: str | None) -> StoredAnswers:
        if model is None:
            return self.tests
        if model not in self.answers:
            raise RequestError(404, f"model {quoted(model)}: no stored predictions; there are those of {', '.join(self.answers)}.")
        return self.answers[model]

    def _class_number(self, parameter: str, name: str) -> int:
        if name not in self._class_numbers:
            raise RequestError(400, f"{parameter}: no such class, got {quoted(name)}. See /test-clips/choices.")
        return self._class_numbers[name]

    def _rows_of(self, clip: str) -> range:
        known = self.tests.clips
        if "\0" not in clip:  # NumPy ignores zeros at the end of a text
            rows = range(int(np.searchsorted(known, clip, "left")), int(np.searchsorted(known, clip, "right")))
            if rows:
                return rows
        raise RequestError(404, f"clip {quoted(clip)}: no such test clip.")

    def _entry(self, row: int, own: StoredAnswers) -> ListedClip:
        return ListedClip(
            clip=str(own.clips[row]),
            label=self.class_names[own.labels[row]],
            predicted=self.class_names[own.predicted[row]],
            confidence=float(own.confidence[row]),
            correct=bool(own.predicted[row] == own.labels[row]),
            correct_models=int(self.correct_models[row]),
            group=self.group_names[self.group_of[row]],
            suspect=bool(self.suspect[row]),
            fold=int(own.folds[row]),
        )
