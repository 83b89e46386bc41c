"""Prediction files: data/predictions/<model>.npz.

n clips, K classes, S seeds. The file has `clip`, `label`, `subset`, `logits` (n, K) of the best seed's model, `unit` (n,), the
number of each clip's cluster, `seeds` (S,), `seed_logits` (S, n, K), and `logits_<change>` (n, K) for each change to the order of
frames. `fold` (n,) is the fold whose models made the prediction, and `saved_fold` (1,) the fold of the saved model.

Of more than `logits.MOST_DENSE` classes, each table of logits has k columns instead of K: those of `TopLogits.values`. Then
`classes_of_<table>` has the table's shape, `rest_of_<table>` has REST_COLUMNS columns, and `class_count` (1,) is K.
"""

import math
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrec.core.errors import DataError
from actionrec.core.text import first_few, shortened
from actionrec.evaluation.logits import REST_COLUMNS, Logits, TopLogits
from actionrec.evaluation.predictions import Answers, Predictions
from actionrec.io.files import whole_file

Arrays = Mapping[str, NDArray[Any]]

_CHANGED, _CLASSES, _REST, _CLASS_COUNT = "logits_", "classes_of_", "rest_of_", "class_count"
_KINDS = {"clip": "U", "label": "iu", "subset": "U", "unit": "iu", "logits": "f", "seeds": "iu", "seed_logits": "f"}
_KINDS |= {"fold": "iu", "saved_fold": "iu"}
"""Arrays that every file has, and the allowed kinds of their dtypes."""


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write predictions; the same predictions give the same bytes."""
    answers = predictions.answers
    of_seeds = [_columns(logits) for logits in answers.seed_logits]
    tables = {
        "logits": _columns(answers.logits),
        "seed_logits": {prefix: np.stack([one[prefix] for one in of_seeds]) for prefix in of_seeds[0]},
        **{f"{_CHANGED}{name}": _columns(logits) for name, logits in answers.changed.items()},
    }
    arrays: dict[str, Any] = {
        "clip": answers.clips,
        "label": answers.labels,
        "subset": predictions.subsets,
        "unit": answers.clusters,
        "logits": tables["logits"][""],
        "seeds": np.array(predictions.seeds, dtype=np.int64),
        "seed_logits": tables["seed_logits"][""],
        "fold": predictions.folds,
        "saved_fold": np.array([predictions.saved_fold], dtype=np.int64),
        **{f"{prefix}{name}": array for name, columns in tables.items() for prefix, array in columns.items()},
    }
    if isinstance(answers.logits, TopLogits):
        arrays[_CLASS_COUNT] = np.array([answers.logits.class_count], dtype=np.int64)
    with whole_file(path) as draft, draft.open("wb") as stream:
        np.savez(stream, **arrays)


def _columns(logits: Logits) -> dict[str, NDArray[Any]]:
    """Prefix of an array's name in the file -> array."""
    return {"": logits.values, _CLASSES: logits.classes, _REST: logits.rest} if isinstance(logits, TopLogits) else {"": logits}


def read_predictions(path: Path, class_count: int, remake: str) -> Predictions:
    """Read predictions and check them.

    Args:
        class_count: K.
        remake: what to do if the file is invalid, for error messages.

    Raises:
        DataError: the file is missing or damaged, or has unexpected arrays, shapes or labels, or numbers that are not finite.
    """
    record = _read_arrays(path, remake)
    tables = _tables(record)
    _check_shapes(path, record, class_count, remake)
    clips, labels, clusters = record["clip"], record["label"], record["unit"]
    for name in tables:
        _check_finite(path, name, clips, record[name])
    if len(clips) and not (labels.min() >= 0 and labels.max() < class_count):
        raise DataError(f"{path}: labels from {labels.min()} to {labels.max()}; expected 0 to {class_count - 1}. {remake}")
    if is_top(record):
        for name in tables:
            _check_top(path, name, record, class_count, remake)
        arrays: dict[str, Any] = {name: top_logits(record, name, class_count) for name in tables}
    else:
        arrays = {name: record[name] for name in tables}
    answers = Answers(
        clips,
        labels,
        clusters,
        arrays["logits"],
        [arrays["seed_logits"][place] for place in range(len(record["seeds"]))],
        {name.removeprefix(_CHANGED): logits for name, logits in arrays.items() if name.startswith(_CHANGED)},
    )
    return Predictions(answers, record["subset"], tuple(record["seeds"].tolist()), record["fold"], int(record["saved_fold"][0]))


def is_top(record: Arrays) -> bool:
    """Whether a file's arrays hold the highest logits only."""
    return _CLASS_COUNT in record


def top_logits(record: Arrays, name: str, class_count: int) -> TopLogits:
    """One table of the highest logits from a file's arrays."""
    return TopLogits(record[_CLASSES + name], record[name], record[_REST + name], class_count)


def _tables(record: Arrays) -> list[str]:
    """Names of the tables of logits."""
    return [name for name in record if name in ("logits", "seed_logits") or name.startswith(_CHANGED)]


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
    kinds = {**_KINDS, **dict.fromkeys(_tables(record), "f")}
    if is_top(record):
        kinds |= {_CLASS_COUNT: "iu"}
        kinds |= {f"{prefix}{name}": kind for name in _tables(record) for prefix, kind in ((_CLASSES, "iu"), (_REST, "f"))}
    missing = [key for key in kinds if key not in record]
    if missing:
        raise DataError(f"{path}: lacks {first_few(list(map(shortened, missing)), 20)}. {remake}")
    if wrong := [key for key, kind in kinds.items() if record[key].dtype.kind not in kind or not record[key].ndim]:
        raise DataError(f"{path}: unexpected types of numbers or text in {first_few(list(map(shortened, wrong)))}. {remake}")
    return record


def _check_shapes(path: Path, record: Arrays, class_count: int, remake: str) -> None:
    count, seeds, logits = len(record["clip"]), record["seeds"], record["logits"]
    columns = class_count
    if is_top(record):
        columns = logits.shape[1] if logits.ndim == 2 and 2 <= logits.shape[1] < class_count else -1
    valid = (
        all(record[key].shape == (count,) for key in ("clip", "label", "subset", "unit", "fold"))
        and record["saved_fold"].shape == (1,)
        and len(seeds) > 0
    )
    for name in _tables(record):
        before = (len(seeds),) if name == "seed_logits" else ()
        valid &= record[name].shape == (*before, count, columns)
        if is_top(record):
            valid &= record[_CLASSES + name].shape == (*before, count, columns)
            valid &= record[_REST + name].shape == (*before, count, REST_COLUMNS)
    if is_top(record):
        valid &= record[_CLASS_COUNT].tolist() == [class_count]
    if not valid:
        got = first_few([f"{shortened(key)} {array.shape}" for key, array in record.items()], 20)
        raise DataError(f"{path}: shapes do not fit n clips and {class_count} classes: {got}. {remake}")


def _check_finite(path: Path, name: str, clips: NDArray[np.str_], table: NDArray[Any]) -> None:
    by_clip = np.moveaxis(table, -2, 0)  # of seed_logits, the clips are on the second axis
    broken = ~np.isfinite(by_clip).all(axis=tuple(range(1, by_clip.ndim)))
    if broken.any():
        first = shortened(str(clips[broken][0]))
        raise DataError(f"{path}: {name} of {broken.sum()} clips are NaN or infinite (first: {first}); training diverged.")


def _check_top(path: Path, name: str, record: Arrays, class_count: int, remake: str) -> None:
    """Check a table of the highest logits: different classes in order, among them the clip's own."""
    _check_finite(path, f"{_REST}{name}", record["clip"], record[_REST + name])
    classes, values = record[_CLASSES + name], record[name]
    if not classes.size:
        return
    ordered = np.sort(classes, axis=-1)
    valid = (
        ordered[..., 0].min() >= 0
        and ordered[..., -1].max() < class_count
        and (np.diff(ordered, axis=-1) > 0).all()
        and (np.diff(values[..., :-1], axis=-1) <= 0).all()
        and (values[..., -1] <= values[..., 0]).all()
        and (classes == record["label"][:, None]).any(axis=-1).all()
    )
    if not valid:
        raise DataError(f"{path}: {_CLASSES}{name} are not the likeliest of {class_count} classes and each clip's own. {remake}")


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
