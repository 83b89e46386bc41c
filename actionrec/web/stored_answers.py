"""A model's answers for the test clips, from data/predictions/<model>.npz: the predicted class and its confidence.

n test clips, K classes. Logits of all classes are read in blocks, so that the server needs little memory.
"""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actionrec.core.errors import DataError
from actionrec.core.text import shortened
from actionrec.evaluation.calibration import confidences
from actionrec.evaluation.logits import REST_COLUMNS, Logits, TopLogits, answers
from actionrec.evaluation.prediction_files import Arrays, is_top, top_logits

_BLOCK = 1 << 22  # logits that are read at once: 32 MB as float64


@dataclass(frozen=True)
class StoredAnswers:
    """One model's answers; a clip that several folds test has several rows."""

    clips: NDArray[np.str_]
    """(n,)"""
    labels: NDArray[np.int32]
    """(n,), from 0 to K - 1."""
    folds: NDArray[np.int32]
    """(n,)"""
    predicted: NDArray[np.int32]
    """(n,): of equal logits, the class with the lower number."""
    confidence: NDArray[np.float32]
    """(n,), calibrated."""

    def same_tests(self, other: "StoredAnswers") -> bool:
        """Whether the rows of both are the same tests."""
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in ("clips", "labels", "folds"))


def read_stored_answers(path: Path, class_count: int, temperature: float) -> StoredAnswers:
    """Read the answers of the saved models, sorted by clip and fold.

    Args:
        path: written by `evaluation.predictions.write_predictions`.
        class_count: K.
        temperature: that calibrates the confidence; it never changes the predicted class.

    Raises:
        DataError: the file is missing or damaged, or does not fit K classes.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            tested = stored["subset"] == "test"
            clips, labels, folds = (stored[name][tested] for name in ("clip", "label", "fold"))
            parts = [_top_logits(stored, class_count)] if is_top(stored) else _blocks(path, class_count)
            answered = [_answered(logits, temperature) for logits in parts]
        predicted = np.concatenate([np.empty(0, np.int32), *(classes for classes, _ in answered)])
        confidence = np.concatenate([np.empty(0, np.float32), *(top for _, top in answered)])
        if len(predicted) != len(tested):
            raise ValueError(f"logits of {len(predicted)} clips, not {len(tested)}")
        if not np.isfinite(confidence).all():
            raise ValueError("logits that are not finite")
        if len(labels) and not (labels.min() >= 0 and labels.max() < class_count):
            raise ValueError(f"labels from {labels.min()} to {labels.max()}, not from 0 to {class_count - 1}")
    except FileNotFoundError:
        raise DataError(f"{path} is missing. Run `dvc repro` to make it.") from None
    except Exception as error:  # a damaged header can raise anything: SyntaxError, TokenError, SystemError ...
        raise DataError(
            f"{path}: predictions cannot be read ({shortened(str(error), 200)}). Run `dvc repro -f train@{path.stem}`."
        ) from None
    order = np.lexsort((folds, clips))
    return StoredAnswers(
        clips[order],
        labels[order].astype(np.int32),
        folds[order].astype(np.int32),
        predicted[tested][order],
        confidence[tested][order],
    )


def _answered(logits: Logits, temperature: float) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Predicted classes and confidences: (rows,), (rows,)."""
    predicted = answers(logits)
    return predicted.astype(np.int32), confidences(logits, predicted, temperature).top.astype(np.float32)


def _top_logits(stored: Arrays, class_count: int) -> TopLogits:
    """The highest logits of all clips.

    Raises:
        ValueError: they do not fit K classes.
    """
    logits = top_logits(stored, "logits", class_count)
    shape, classes = logits.values.shape, logits.classes
    if classes.shape != shape or logits.rest.shape != (shape[0], REST_COLUMNS) or not 2 <= shape[1] < class_count:
        raise ValueError(f"logits have the shapes {shape}, {classes.shape} and {logits.rest.shape}")
    if classes.size and not (classes.min() >= 0 and classes.max() < class_count):
        raise ValueError(f"classes from {classes.min()} to {classes.max()}, not from 0 to {class_count - 1}")
    return logits


def _blocks(path: Path, class_count: int) -> Iterator[NDArray[np.floating]]:
    """Logits (rows, K), some rows at a time.

    Raises:
        ValueError: they have another shape or type.
    """
    with zipfile.ZipFile(path) as archive, archive.open("logits.npy") as stream:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_column, dtype = header(stream)
        if len(shape) != 2 or shape[1] != class_count or dtype.kind != "f" or by_column:
            raise ValueError(f"logits have the shape {shape} and the type {dtype}, not (n, {class_count}) and float")
        rows = max(1, _BLOCK // class_count)
        for start in range(0, shape[0], rows):
            count = min(rows, shape[0] - start)
            yield np.frombuffer(stream.read(count * class_count * dtype.itemsize), dtype).reshape(count, class_count)
