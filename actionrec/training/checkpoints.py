"""Checkpoints of training runs, written in the background after epochs. A killed run resumes from its checkpoint with identical
weights.

The file is .work/training/<model>/<key>.safetensors; the key is a digest of everything that the result depends on. A finished
run's file is kept, with only its best weights, until the model is trained with other data, settings or code: `dvc repro` may be
killed after the stage has finished but before DVC has stored its outputs.
"""

import hashlib
import json
import logging
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from actionrec.core import paths
from actionrec.core.errors import MALFORMED, DataError
from actionrec.io import files, machine
from actionrec.io.tensors import load_tensors, save_tensors
from actionrec.parallel.code_digest import code_digest
from actionrec.training.loop import Epoch, Progress

logger = logging.getLogger(__name__)

_ABOUT = "progress"
_SUM = "sha256"
_WRITER = ThreadPoolExecutor(1)  # one for all checkpoints, so that two of one path do not disturb each other


class Checkpoint:
    """The checkpoint file of one training run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing: Future[None] | None = None
        self._best: dict[str, tuple[Tensor, NDArray[Any]]] = {}  # the best weights, and their copies

    def save(self, progress: Progress) -> None:
        """Write the file atomically, in the background: the next epoch begins in the meantime.

        If the file of an earlier epoch is still being written, this one is skipped. A finished run waits, and is not skipped.

        Raises:
            OSError: this file, or an earlier one of the run, cannot be written.
        """
        if not progress.finished and self._writing is not None and not self._writing.done():
            return
        self.wait()
        about = {
            "epochs": [asdict(epoch) for epoch in progress.epochs],
            "diverged_in": progress.diverged_in,
            "finished": progress.finished,
            "seconds": progress.seconds,
        }
        copies = {name: self._copy(name, tensor) for name, tensor in progress.tensors.items()}
        text = json.dumps(about)  # a norm may be infinite, which Python's JSON can represent
        self._writing = _WRITER.submit(self._write, copies, text)
        if progress.finished:
            self.wait()

    def _copy(self, name: str, tensor: Tensor) -> NDArray[Any]:
        """A copy that later steps do not change. That of the best weights is made when they change."""
        if name in self._best and self._best[name][0] is tensor:
            return self._best[name][1]
        copy: NDArray[Any] = tensor.detach().to("cpu", copy=True).contiguous().numpy()
        if name.startswith("best."):
            self._best[name] = tensor, copy
        return copy

    def _write(self, tensors: Mapping[str, NDArray[Any]], text: str) -> None:
        save_tensors(self.path, tensors, {_ABOUT: text, _SUM: _checksum(tensors, text)})

    def wait(self) -> None:
        """Wait until the file is written.

        Raises:
            OSError: it cannot be written.
        """
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def load(self) -> Progress | None:
        """Read the file; None if it is missing or damaged. Damage is logged."""
        self.wait()
        if not self.path.exists():
            return None
        try:
            tensors, metadata = load_tensors(self.path)
            text = metadata[_ABOUT]
            if metadata[_SUM] != _checksum(tensors, text):
                raise DataError("its checksum differs")
            about = json.loads(text)
            epochs = [Epoch(**one) for one in about.pop("epochs")]
            return Progress(epochs, tensors={name: torch.from_numpy(array) for name, array in tensors.items()}, **about)
        except (DataError, *MALFORMED, RecursionError) as error:
            logger.warning("%s is damaged (%s); training restarts from the first epoch", self.path, error)
            return None


def folder(model: str) -> Path:
    """The folder of a model's checkpoints."""
    return paths.WORK / "training" / model


def checkpoint(model: str, made_from: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint of a training run, found by everything that its result depends on.

    Args:
        model: the model's name.
        made_from: data and settings of the run, as JSON values. The code, torch's version and its arithmetic on this machine are
            added.
    """
    code = code_digest(f"train@{model}")
    key = files.digest({**made_from, "code": code, "torch": torch.__version__, "arithmetic": machine.arithmetic()})
    return Checkpoint(folder(model) / f"{key}.safetensors")


def keep_only(model: str, checkpoints: Collection[Checkpoint]) -> None:
    """Remove a model's other checkpoints, which are of other data, settings or code."""
    remove_others(folder(model), {checkpoint.path for checkpoint in checkpoints})


def remove_others(folder: Path, kept: Collection[Path]) -> None:
    """Remove the checkpoints of a folder that are not in `kept`."""
    for path in folder.glob("*.safetensors"):
        if path not in kept:
            path.unlink(missing_ok=True)


def _checksum(tensors: Mapping[str, Any], text: str) -> str:
    total = hashlib.sha256(text.encode())
    for name, array in sorted(tensors.items()):
        total.update(f"{name} {array.dtype} {array.shape}".encode())
        total.update(memoryview(array).cast("B") if array.size else b"")
    return total.hexdigest()
