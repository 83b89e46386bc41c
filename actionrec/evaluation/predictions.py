"""Predictions for the validation and test clips, in data/predictions/<model>.npz.

n clips, K classes, S seeds. The file has `clip`, `label`, `subset`, `logits` (n, K) of the best seed's model, `unit` (n,), the
number of each clip's cluster, `seeds` (S,), `seed_logits` (S, n, K), and `logits_<change>` (n, K) for each change to the order of
frames. `fold` (n,) is the fold whose models made the prediction, and `saved_fold` (1,) the fold of the saved model. With
`evaluation.folds=all` the file has the test clips of every fold, and the validation clips of the saved fold.
"""

import math
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from actionrec.core.errors import DataError
from actionrec.core.text import first_few, shortened
from actionrec.evaluation import metrics
from actionrec.io.files import whole_file

_CHANGED = "logits_"
_KINDS = {"clip": "U", "label": "iu", "subset": "U", "unit": "iu", "logits": "f", "seeds": "iu", "seed_logits": "f"}
_KINDS |= {"fold": "iu", "saved_fold": "iu"}
"""Arrays that every file has, and the allowed kinds of their dtypes."""


@dataclass(frozen=True)
class Answers:
    """One model's logits for the clips of one subset, or of all; sorted by clip."""

    clips: NDArray[np.str_]
    """(n,)"""
    labels: NDArray[np.int64]
    """(n,), from 0 to K - 1."""
    clusters: NDArray[np.int64]
    """(n,), the number of each clip's cluster; clips of one source video share it."""
    logits: NDArray[np.float32]
    """(n, K), of the saved model."""
    seed_logits: NDArray[np.float32]
    """(S, n, K)"""
    changed: dict[str, NDArray[np.float32]]
    """Change to the order of frames -> (n, K), of the saved model."""

    def chosen(self, rows: NDArray[np.bool_]) -> Self:
        """The answers for some of the clips.

        Args:
            rows: (n,), True for the clips to keep.
        """
        return type(self)(
            self.clips[rows],
            self.labels[rows],
            self.clusters[rows],
            self.logits[rows],
            self.seed_logits[:, rows],
            {name: logits[rows] for name, logits in self.changed.items()},
        )


@dataclass(frozen=True)
class Predictions:
    """One model's answers for the validation and test clips."""

    answers: Answers
    subsets: NDArray[np.str_]
    """(n,), val or test."""
    seeds: tuple[int, ...]
    folds: NDArray[np.int64]
    """(n,), the fold whose models made the prediction."""
    saved_fold: int
    """The fold of the saved model."""

    @property
    def val(self) -> Answers:
        """Of the saved fold."""
        return self.answers.chosen(self.subsets == "val")

    @property
    def test(self) -> Answers:
        """Of all evaluated folds."""
        return self.answers.chosen(self.subsets == "test")

    @property
    def saved_test(self) -> Answers:
        """Of the saved fold: the saved model's own answers."""
        return self.answers.chosen((self.subsets == "test") & (self.folds == self.saved_fold))

    @property
    def test_folds(self) -> NDArray[np.int64]:
        """(m,), the fold of each of `test`."""
        return self.folds[self.subsets == "test"]

    def correct(self) -> NDArray[np.float64]:
        """(S, n): for each seed and test clip 1 if the answer is correct, else 0."""
        test = self.test
        return np.stack([metrics.correct_at_k(logits, test.labels, 1) for logits in test.seed_logits]).astype(np.float64)


def pooled(saved: Predictions, others: Sequence[Predictions]) -> Predictions:
    """Join the saved fold's predictions with other folds' predictions for their test clips; sorted by clip, then fold."""
    if not others:
        return saved
    parts = [(saved, np.ones(len(saved.subsets), dtype=np.bool_)), *((one, one.subsets == "test") for one in others)]
    answers = [one.answers.chosen(rows) for one, rows in parts]
    folds = np.concatenate([one.folds[rows] for one, rows in parts])
    clips = np.concatenate([one.clips for one in answers])
    order = np.lexsort((folds, clips))
    joined = Answers(
        clips[order],
        np.concatenate([one.labels for one in answers])[order],
        np.concatenate([one.clusters for one in answers])[order],
        np.concatenate([one.logits for one in answers])[order],
        np.concatenate([one.seed_logits for one in answers], axis=1)[:, order],
        {change: np.concatenate([one.changed[change] for one in answers])[order] for change in saved.answers.changed},
    )
    subsets = np.concatenate([one.subsets[rows] for one, rows in parts])[order]
    return Predictions(joined, subsets, saved.seeds, folds[order], saved.saved_fold)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write predictions; the same predictions give the same bytes."""
    answers = predictions.answers
    arrays: dict[str, Any] = {
        "clip": answers.clips,
        "label": answers.labels,
        "subset": predictions.subsets,
        "unit": answers.clusters,
        "logits": answers.logits,
        "seeds": np.array(predictions.seeds, dtype=np.int64),
        "seed_logits": answers.seed_logits,
        "fold": predictions.folds,
        "saved_fold": np.array([predictions.saved_fold], dtype=np.int64),
        **{f"{_CHANGED}{name}": logits for name, logits in answers.changed.items()},
    }
    with whole_file(path) as draft, draft.open("wb") as stream:
        np.savez(stream, **arrays)


def read_predictions(path: Path, class_count: int, remake: str) -> Predictions:
    """Read predictions and check them.

    Args:
        class_count: K.
        remake: what to do if the file is invalid, for error messages.

    Raises:
        DataError: the file is missing or damaged, or has unexpected arrays, shapes or labels, or numbers that are not finite.
    """
    record = _read_arrays(path, remake)
    changed = {key.removeprefix(_CHANGED): array for key, array in record.items() if key.startswith(_CHANGED)}
    _check_shapes(path, record, changed, class_count, remake)
    clips, labels, clusters = record["clip"], record["label"], record["unit"]
    tables = {"logits": record["logits"], **changed, "seed_logits": np.moveaxis(record["seed_logits"], 0, 1)}
    for name, table in tables.items():
        broken = ~np.isfinite(table).reshape(len(clips), -1).all(axis=1)
        if broken.any():
            first = shortened(str(clips[broken][0]))
            raise DataError(f"{path}: {name} of {broken.sum()} clips are NaN or infinite (first: {first}); training diverged.")
    if len(clips) and not (labels.min() >= 0 and labels.max() < class_count):
        raise DataError(f"{path}: labels from {labels.min()} to {labels.max()}; expected 0 to {class_count - 1}. {remake}")
    answers = Answers(clips, labels, clusters, record["logits"], record["seed_logits"], changed)
    return Predictions(answers, record["subset"], tuple(record["seeds"].tolist()), record["fold"], int(record["saved_fold"][0]))


def _read_arrays(path: Path, remake: str) -> dict[str, NDArray[Any]]:
    """Read the arrays of an npz file, and check that all are there and of the right kinds."""
    try:
        _check_members(path)
        with np.load(path, allow_pickle=False) as stored:
            record = {key: stored[key] for key in stored.files}
        for array in record.values():
            _check_text(array)
    except FileNotFoundError:
        raise DataError(f"{path} is missing. Run `dvc repro` to make it.") from None
    except Exception as error:  # a damaged header can raise anything: SyntaxError, TokenError, SystemError ...
        raise DataError(f"{path}: not a readable npz file ({shortened(str(error), 200)}). {remake}") from None
    missing = [key for key in _KINDS if key not in record]
    if missing:
        raise DataError(f"{path}: lacks {', '.join(missing)}. {remake}")
    kinds = {**_KINDS, **{key: "f" for key in record if key.startswith(_CHANGED)}}
    if wrong := [key for key, kind in kinds.items() if record[key].dtype.kind not in kind or not record[key].ndim]:
        raise DataError(f"{path}: unexpected types of numbers or text in {first_few(list(map(shortened, wrong)))}. {remake}")
    return record


def _check_shapes(
    path: Path, record: Mapping[str, NDArray[Any]], changed: Mapping[str, NDArray[Any]], class_count: int, remake: str
) -> None:
    count, seeds = len(record["clip"]), record["seeds"]
    shape = (count, class_count)
    valid = (
        all(record[key].shape == (count,) for key in ("clip", "label", "subset", "unit", "fold"))
        and record["saved_fold"].shape == (1,)
        and all(table.shape == shape for table in (record["logits"], *changed.values()))
        and record["seed_logits"].shape == (len(seeds), *shape)
        and len(seeds) > 0
    )
    if not valid:
        got = first_few([f"{shortened(key)} {array.shape}" for key, array in record.items()], 20)
        raise DataError(f"{path}: shapes do not fit n clips and {class_count} classes: {got}. {remake}")


def _check_text(array: NDArray[Any]) -> None:
    """Check that an array of text holds characters, because NumPy accepts any number as one.

    Raises:
        ValueError: it does not.
    """
    if array.dtype.kind == "U":
        codes = np.frombuffer(array.astype(array.dtype.newbyteorder("=")).tobytes(), dtype=np.uint32)
        if codes.size and codes.max() > sys.maxunicode:
            raise ValueError("text with invalid characters")


def _check_members(path: Path) -> None:
    """Check that the arrays of an npz file have the sizes that their headers claim, before memory is allocated for them.

    Raises:
        ValueError: they have not, or are compressed, which `write_predictions` never does.
    """
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{shortened(member.filename)} is compressed")
            with archive.open(member) as stream:
                version = np.lib.format.read_magic(stream)
                header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = header(stream)
                if stream.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
                    raise ValueError(f"the size of {shortened(member.filename)} differs from its header")
