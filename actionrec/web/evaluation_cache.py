"""Test clips of the project's last run, read once: data/predictions, the comparison, groups and suspect labels."""

import csv
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrec.core import paths
from actionrec.core.errors import ActionrecError, DataError
from actionrec.core.text import quoted
from actionrec.data.clip_files import read_clip_files
from actionrec.io import params
from actionrec.io.files import read_json
from actionrec.io.tar_member import ClipFile, TarMember
from actionrec.web import figures
from actionrec.web.evaluated_clips import EvaluatedClips
from actionrec.web.predict_request import RequestError
from actionrec.web.stored_answers import StoredAnswers, read_stored_answers

_NONE = "There are no predictions of test clips. Run `dvc repro` to train and compare the models."

_State = tuple[tuple[str, int, int], ...]  # path, time of change and bytes of each file


class EvaluationCache:
    """Reads the test clips when they are first asked for, and again when a file has changed. Safe to use in several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._clips: EvaluatedClips | None = None
        self._state: _State = ()
        self._members_state: _State = ()
        self._in_shards: dict[str, TarMember] = {}
        self._answers: dict[str, tuple[_State, StoredAnswers]] = {}  # of models whose files have not changed

    def clips(self) -> EvaluatedClips:
        """The test clips. Takes seconds if it has to read large files: call it in a thread.

        Raises:
            RequestError: there are no predictions.
            DataError: none of them can be read.
        """
        models = _models()
        if not models:
            raise RequestError(404, _NONE)
        with self._lock:
            state = _state(*(file for name in models for file in _files(name)), paths.COMPARISON, paths.CLIPS)
            if self._clips is None or state != self._state:
                self._clips, self._state = self._read(models), state
            return self._clips

    def file(self, clip: str) -> ClipFile:
        """The file of a test clip, or its place in a tar shard.

        Raises:
            RequestError: it is not a test clip, or its file is missing.
            DataError: the predictions cannot be read.
        """
        self.clips().require(clip)
        inside = PurePosixPath(clip)
        file = self._members(paths.RAW / _dataset()).get(clip) or paths.RAW / _dataset() / inside
        if inside.is_absolute() or ".." in inside.parts or not file.is_file():
            raise RequestError(404, f"clip {quoted(clip)}: its file is missing. `dvc pull` or `dvc repro` fetches the data set.")
        return file

    def _members(self, folder: Path) -> dict[str, TarMember]:
        """The test clips that are in tar shards."""
        with self._lock:
            state = (*_state(paths.TAR_MEMBERS, folder), *self._state)
            if state != self._members_state:
                known = read_clip_files(folder).members if paths.TAR_MEMBERS.is_file() else {}
                tested = set(self._clips.tests.clips.tolist()) if self._clips and known else set()
                self._in_shards = {clip: member for clip, member in known.items() if clip in tested}
                self._members_state = state
            return self._in_shards

    def _read(self, models: list[str]) -> EvaluatedClips:
        class_names: tuple[str, ...] = ()
        answers: dict[str, StoredAnswers] = {}
        left_out: dict[str, str] = {}
        for name in models:
            try:
                own_names, own = _class_names(name), self._answers_of(name)
            except DataError as error:
                left_out[name] = str(error)
                continue
            if not answers:
                class_names = own_names
            elif own_names != class_names or not own.same_tests(next(iter(answers.values()))):
                left_out[name] = f"{name} was tested on other clips or classes. Run `dvc repro`."
                continue
            answers[name] = own
        self._answers = {name: one for name, one in self._answers.items() if name in answers}
        if not answers:
            raise DataError(next(iter(left_out.values())))
        clips = next(iter(answers.values())).clips
        group_names, group_of = _groups(clips)
        suspects = figures.suspect_labels()
        suspect = np.isin(clips, np.array(suspects, dtype=np.str_)) if suspects else np.zeros(len(clips), dtype=np.bool_)
        return EvaluatedClips(class_names, answers, group_names, group_of, suspect, left_out)

    def _answers_of(self, model: str) -> StoredAnswers:
        state = _state(*_files(model))
        if model not in self._answers or self._answers[model][0] != state:
            answers = read_stored_answers(paths.predictions(model), len(_class_names(model)), _temperature(model))
            self._answers[model] = state, answers
        return self._answers[model][1]


def _models() -> list[str]:
    """Models with predictions, the best of the comparison first."""
    ranks = figures.ranks()
    names = [path.stem for path in paths.PREDICTIONS.glob("*.npz") if not path.name.startswith(".")]
    return sorted(names, key=lambda name: (ranks.get(name, len(ranks)), name))


def _files(model: str) -> tuple[Path, ...]:
    return paths.predictions(model), paths.model_metrics(model), _description(model)


def _description(model: str) -> Path:
    return paths.model_folder(model) / "model.json"


def _state(*files: Path) -> _State:
    state = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            state.append((str(file), 0, 0))
        else:
            state.append((str(file), status.st_mtime_ns, status.st_size))
    return tuple(state)


def _class_names(model: str) -> tuple[str, ...]:
    names = _entries(_description(model)).get("class_names")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DataError(f"{_description(model)}: class_names must be a list of names; got {quoted(names)}.")
    return tuple(names)


def _temperature(model: str) -> float:
    """As the comparison uses it: fitted on validation clips, or 1."""
    record = _entries(paths.model_metrics(model))
    temperature = record.get("temperature") if record.get("temperature_fitted") else 1.0
    if not isinstance(temperature, int | float) or not temperature > 0:
        raise DataError(f"{paths.model_metrics(model)}: temperature must be above 0; got {quoted(temperature)}.")
    return float(temperature)


def _entries(path: Path) -> Mapping[str, Any]:
    record = read_json(path)
    if not isinstance(record, dict):
        raise DataError(f"{path}: must hold keys and values; got {quoted(record)}.")
    return record


def _dataset() -> str:
    """The data set of the comparison; else, that of params.yaml."""
    try:
        return figures.dataset() or str(params.load()["data"]["dataset"])
    except (ActionrecError, KeyError, TypeError):
        raise RequestError(404, "the data set is unknown: params.yaml has no data.dataset.") from None


def _groups(clips: NDArray[np.str_]) -> tuple[list[str], NDArray[np.int32]]:
    """The groups' names, sorted, and the number of each clip's group; an empty name if it is unknown.

    Args:
        clips: (n,)
    """
    group_of = dict.fromkeys(clips.tolist(), "")
    try:
        with paths.CLIPS.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):  # row by row, as most of a large data set's clips are not test clips
                if row.get("clip") in group_of:
                    group_of[row["clip"]] = row.get("group") or ""
    except (OSError, UnicodeDecodeError, csv.Error):
        pass  # predictions can be browsed without groups
    clip_groups = np.array([group_of[clip] for clip in clips.tolist()], dtype=np.str_)
    names, numbers = np.unique(clip_groups, return_inverse=True)
    return names.tolist(), numbers.astype(np.int32)
