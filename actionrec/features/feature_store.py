"""Feature store: one tensor (T, D) per clip in safetensors shards; its key is the clip's id.

Features are stored in fp16, which changes them by 0.0002 of their size (bf16: 0.0016). The metadata of each shard describes how
they were made: backbone, weights and their hash, precision, preprocessing, and how the frames were sampled.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from actionrec.core.errors import DataError
from actionrec.io import checksums
from actionrec.io.files import parse_json
from actionrec.io.tensors import Place, places, save_tensors


class Features(Protocol):
    """Features (n, T, D), in memory or in a store. `features[rows]` returns those of some clips, (B, T, D)."""

    @property
    def shape(self) -> Any: ...

    def __getitem__(self, rows: Any) -> Any: ...


@dataclass(frozen=True)
class FeatureSet:
    """The features of all clips."""

    clips: list[str]
    """Clip ids, sorted."""
    features: Features
    """(n, T, D), float16, in the order of `clips`."""
    source: dict[str, Any]
    """How they were made: `backbone`, `weights`, `weights_sha256`, `precision`, `preprocessing`, `frames`, and
    `streams` unless they are rgb alone."""


class StoredFeatures:
    """Features (n, T, D) that stay in their shards and are read on demand.

    A file is opened for each read, since there may be more shards than a process may have open.
    """

    def __init__(self, tensors: Sequence[Place], sums: Mapping[str, str]) -> None:
        """Args: the places of n tensors (T, D), float16, all of one shape; and the SHA-256 of their files by name."""
        self._tensors = tensors
        self._sums = sums
        self._known = {file: _identity(file.stat()) for file in {place.file for place in tensors}}
        self.shape = (len(tensors), *tensors[0].shape)
        self.dtype = np.dtype(np.float16)

    def __len__(self) -> int:
        return len(self._tensors)

    def __getitem__(self, rows: int | NDArray[np.int64] | Sequence[int]) -> NDArray[np.float16]:
        """Read some clips, in the given order: (B, T, D); or one, (T, D).

        Raises:
            DataError: a shard was removed or replaced after this object was created.
        """
        if isinstance(rows, int | np.integer):
            return self[[int(rows)]][0]
        read = np.empty((len(rows), *self.shape[1:]), dtype=self.dtype)
        for row, clip in zip(rows, read, strict=True):
            place = self._tensors[row]
            try:
                with place.file.open("rb", buffering=0) as stream:
                    same = _identity(os.fstat(stream.fileno())) == self._known[place.file]
                    stream.seek(place.start)
                    got = stream.readinto(clip.data.cast("B"))
            except OSError as error:
                raise DataError(f"{place.file} cannot be read ({error.strerror}). Run `dvc repro`.") from None
            if not same or got != clip.nbytes:
                raise DataError(f"{place.file} was replaced or truncated while in use. Run `dvc repro`.")
        return read

    def signature(self) -> dict[str, str]:
        """Identity of these features: the SHA-256 of each file by name."""
        return dict(self._sums)


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    """Size, modification time and inode of a file."""
    return status.st_size, status.st_mtime_ns, status.st_ino


def write_shard(path: Path, features: Mapping[str, NDArray[np.float16]], source: Mapping[str, Any]) -> None:
    """Write one shard. Metadata that is not text is stored as JSON."""
    metadata = {key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for key, value in source.items()}
    save_tensors(path, features, metadata)


def read_features(folder: Path) -> FeatureSet:
    """Open and verify all shards of a folder. The features are read on demand.

    Raises:
        DataError: there are no shards, one is damaged or missing, or they were made in different ways.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise DataError(f"{folder} has no features. Run `dvc repro resnet_features`.")
    names = [file.name for file in files]
    checksums.refuse_missing(folder, ".safetensors", names)
    sums = checksums.verify(folder, names)
    tensors: dict[str, Place] = {}
    source_texts: dict[str, str] = {}
    for file in files:
        shard, metadata = places(file)
        source_texts = source_texts or metadata
        shapes = {place.shape for place in [*shard.values(), *list(tensors.values())[:1]]}
        if metadata != source_texts or len(shapes) > 1:
            raise DataError(f"{file} was not made in the same way as {files[0]}. Run `dvc repro -f resnet_features`.")
        if any(place.dtype != "F16" for place in shard.values()):
            raise DataError(f"{file} contains tensors that are not float16. Run `dvc repro -f resnet_features`.")
        tensors |= shard
    clips = sorted(tensors)
    try:
        source = {key: _value(key, text) for key, text in source_texts.items()}
    except ValueError as error:
        raise DataError(f"{files[0]}: its metadata is not valid JSON ({error}). Run `dvc repro -f resnet_features`.") from None
    if any(len(place.shape) != 2 or 0 in place.shape for place in tensors.values()) or not tensors:
        raise DataError(f"{folder} does not contain features of shape (T, D). Run `dvc repro -f resnet_features`.")
    if "frames" in source:
        source["frames"] = current_frames(source["frames"])
    return FeatureSet(clips, StoredFeatures([tensors[clip] for clip in clips], sums), source)


def current_frames(frames: Any) -> Any:
    """Rename the old key `size` in a description of frames to `resolution`.

    >>> current_frames({"count": 32, "size": 224})
    {'count': 32, 'resolution': 224}
    """
    if not isinstance(frames, dict) or "resolution" in frames:
        return frames
    return {"resolution" if key == "size" else key: value for key, value in frames.items()}


def _value(key: str, text: str) -> Any:
    return parse_json(text) if text.startswith("{") or key == "streams" else text
