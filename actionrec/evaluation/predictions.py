"""What a model says of the validation and test clips, as data/predictions/<model>.npz.

n clips, K classes, S seeds. The file has `clip`, `label`, `subset`, `logits` (n, K) of the saved model, `unit` (n,), the number
of each clip's cluster; and, of sequence models, `seeds` (S,), `seed_logits` (S, n, K), and `logits_<change>` (n, K) for each
change to the order of frames.
"""

import math
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from actionrec.core.errors import DataError, first_few, shortened
from actionrec.evaluation import metrics
from actionrec.io.files import whole_file

_CHANGED = "logits_"
_KINDS = {"clip": "U", "label": "iu", "subset": "U", "unit": "iu", "logits": "f", "seeds": "iu", "seed_logits": "f"}
"""Arrays that every file has, and NumPy's letters for the kinds that their items may be of."""


@dataclass(frozen=True)
class Answers:
    """Of one subset, or of all; sorted by clip."""

    clips: NDArray[np.str_]
    """(n,)"""
    labels: NDArray[np.int64]
    """(n,), from 0 to K - 1."""
    clusters: NDArray[np.int64]
    """(n,), the number of each clip's cluster: the same for clips of one source."""
    logits: NDArray[np.float32]
    """(n, K), of the saved model."""
    seed_logits: NDArray[np.float32]
    """(S, n, K)"""
    changed: dict[str, NDArray[np.float32]]
    """Change to the order of frames -> (n, K), of the saved model."""

    def chosen(self, rows: NDArray[np.bool_]) -> Self:
        """Some of the clips."""
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
    """Of one model."""

    answers: Answers
    subsets: NDArray[np.str_]
    """(n,), val or test."""
    seeds: tuple[int, ...]

    @property
    def val(self) -> Answers:
        return self.answers.chosen(self.subsets == "val")

    @property
    def test(self) -> Answers:
        return self.answers.chosen(self.subsets == "test")

    def correct(self) -> NDArray[np.float64]:
        """For each test clip, the share of seeds whose top answer is right: (n,)."""
        test = self.test
        return np.mean([metrics.correct_at_k(logits, test.labels, 1) for logits in test.seed_logits], axis=0)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write a file; the same predictions give the same bytes."""
    answers = predictions.answers
    arrays: dict[str, Any] = {
        "clip": answers.clips,
        "label": answers.labels,
        "subset": predictions.subsets,
        "unit": answers.clusters,
        "logits": answers.logits,
        "seeds": np.array(predictions.seeds, dtype=np.int64),
        "seed_logits": answers.seed_logits,
        **{f"{_CHANGED}{name}": logits for name, logits in answers.changed.items()},
    }
    with whole_file(path) as draft, draft.open("wb") as stream:
        np.savez(stream, **arrays)


def read_predictions(path: Path, class_count: int, remake: str) -> Predictions:
    """Read a file and check that it is whole.

    Args:
        class_count: K.
        remake: the next step, for messages.

    Raises:
        DataError: it is missing, damaged, of another shape, or holds numbers that are not finite.
    """
    try:
        _check_members(path)
        with np.load(path, allow_pickle=False) as stored:
            record: Mapping[str, NDArray[Any]] = {key: stored[key] for key in stored.files}
        for array in record.values():
            _check_text(array)
    except FileNotFoundError:
        raise DataError(f"{path} is missing. Run `dvc repro` to make it.") from None
    except Exception as error:  # a damaged header raises anything: SyntaxError, TokenError, SystemError ...
        raise DataError(f"{path}: not a readable npz file ({shortened(str(error), 200)}). {remake}") from None
    missing = [key for key in _KINDS if key not in record]
    if missing:
        raise DataError(f"{path}: lacks {', '.join(missing)}. {remake}")
    kinds = {**_KINDS, **{key: "f" for key in record if key.startswith(_CHANGED)}}
    if wrong := [key for key, kind in kinds.items() if record[key].dtype.kind not in kind or not record[key].ndim]:
        raise DataError(
            f"{path}: numbers or text of another kind than wanted in {first_few(list(map(shortened, wrong)))}. {remake}"
        )
    changed = {key.removeprefix(_CHANGED): array for key, array in record.items() if key.startswith(_CHANGED)}
    clips, labels, subsets, clusters = (record[key] for key in ("clip", "label", "subset", "unit"))
    count, shape, seeds = len(clips), (len(clips), class_count), record["seeds"]
    tables = {"logits": record["logits"], **changed}
    shapes_fit = (
        all(array.shape == (count,) for array in (clips, labels, subsets, clusters))
        and all(table.shape == shape for table in tables.values())
        and record["seed_logits"].shape == (len(seeds), *shape)
        and len(seeds) > 0
    )
    if not shapes_fit:
        got = first_few([f"{shortened(key)} {array.shape}" for key, array in record.items()], 20)
        raise DataError(f"{path}: shapes do not fit n clips and {class_count} classes: {got}. {remake}")
    for name, table in {**tables, "seed_logits": np.moveaxis(record["seed_logits"], 0, 1)}.items():
        broken = ~np.isfinite(table).reshape(count, -1).all(axis=1)
        if broken.any():
            first = shortened(str(clips[broken][0]))
            raise DataError(f"{path}: {name} of {broken.sum()} clips are NaN or infinite (first: {first}); training diverged.")
    if count and not (labels.min() >= 0 and labels.max() < class_count):
        raise DataError(f"{path}: labels from {labels.min()} to {labels.max()}, not 0 to {class_count - 1}. {remake}")
    answers = Answers(clips, labels, clusters, record["logits"], record["seed_logits"], changed)
    return Predictions(answers, subsets, tuple(seeds.tolist()))


def _check_text(array: NDArray[Any]) -> None:
    """Make sure that an array of text holds characters; NumPy takes any number for one.

    Raises:
        ValueError: it does not.
    """
    if array.dtype.kind == "U":
        codes = np.frombuffer(array.astype(array.dtype.newbyteorder("=")).tobytes(), dtype=np.uint32)
        if codes.size and codes.max() > sys.maxunicode:
            raise ValueError("text of numbers that are not characters")


def _check_members(path: Path) -> None:
    """Make sure that the arrays of an npz file are as large as they claim, before memory is taken for them.

    Raises:
        ValueError: they are not, or are compressed, which `write_predictions` never does.
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
                    raise ValueError(f"{shortened(member.filename)} has not the size that its header claims")
