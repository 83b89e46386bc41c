"""The feature store: a tensor (T, D) a clip in safetensors shards, its key the clip's id.

Features are kept in fp16, which changes them by 0.0002 of their size; bf16 would by 0.0016. The metadata of each shard says what
they were made with: backbone, weights and their hash, precision, preprocessing, and how the frames were sampled.
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
    """Features (n, T, D), in memory or in a store: `features[rows]` gives those of some clips, (B, T, D)."""

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
    """What they were made with: `backbone`, `weights`, `weights_sha256`, `precision`, `preprocessing`, `frames`."""


class StoredFeatures:
    """Features (n, T, D) that stay in their shards; those that are asked for are read.

    Files are opened for each reading: there may be more shards than a process may hold open.
    """

    def __init__(self, tensors: Sequence[Place], sums: Mapping[str, str]) -> None:
        """Take the places of n tensors (T, D), float16, all of one shape, and the SHA-256 of their files by name."""
        self._tensors = tensors
        self._sums = sums
        self._known = {file: _identity(file.stat()) for file in {place.file for place in tensors}}
        self.shape = (len(tensors), *tensors[0].shape)
        self.dtype = np.dtype(np.float16)

    def __len__(self) -> int:
        return len(self._tensors)

    def __getitem__(self, rows: int | NDArray[np.int64] | Sequence[int]) -> NDArray[np.float16]:
        """Read some clips, in the order asked for: (B, T, D); or one, (T, D).

        Raises:
            DataError: a shard has gone, or is another one, since this was made.
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
                raise DataError(f"{place.file} cannot be read any more ({error.strerror}). Run `dvc repro`.") from None
            if not same or got != clip.nbytes:
                raise DataError(f"{place.file} was replaced or cut while it was in use. Run `dvc repro`.")
        return read

    def signature(self) -> dict[str, str]:
        """What tells these features from any others: the SHA-256 of each file by name."""
        return dict(self._sums)


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    """Size, time of the last change, and number of a file."""
    return status.st_size, status.st_mtime_ns, status.st_ino


def write_shard(path: Path, features: Mapping[str, NDArray[np.float16]], source: Mapping[str, Any]) -> None:
    """Write one shard; plain text metadata stays text, the rest becomes JSON."""
    metadata = {key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for key, value in source.items()}
    save_tensors(path, features, metadata)


def read_features(folder: Path) -> FeatureSet:
    """Open all shards of a folder, and verify them; the features themselves are read when they are asked for.

    Raises:
        DataError: no shards, a damaged or missing one, or shards that were made in different ways.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise DataError(f"{folder} has no features. Run `dvc repro resnet_features`.")
    names = [file.name for file in files]
    checksums.refuse_missing(folder, ".safetensors", names)
    sums = checksums.verify(folder, names)
    found: dict[str, Place] = {}
    first: dict[str, str] = {}
    for file in files:
        tensors, metadata = places(file)
        first = first or metadata
        shapes = {place.shape for place in [*tensors.values(), *list(found.values())[:1]]}
        if metadata != first or len(shapes) > 1:
            raise DataError(f"{file} was made in another way than {files[0]}. Run `dvc repro -f resnet_features`.")
        if any(place.dtype != "F16" for place in tensors.values()):
            raise DataError(f"{file} does not hold features in float16. Run `dvc repro -f resnet_features`.")
        found |= tensors
    clips = sorted(found)
    try:
        source = {key: _value(text) for key, text in first.items()}
    except ValueError as error:
        raise DataError(f"{files[0]}: its metadata is not valid JSON ({error}). Run `dvc repro -f resnet_features`.") from None
    if any(len(place.shape) != 2 or 0 in place.shape for place in found.values()) or not found:
        raise DataError(f"{folder} does not hold features of T frames, D numbers each. Run `dvc repro -f resnet_features`.")
    if "frames" in source:
        source["frames"] = current_frames(source["frames"])
    return FeatureSet(clips, StoredFeatures([found[clip] for clip in clips], sums), source)


def current_frames(frames: Any) -> Any:
    """A description of frames with the current keys: `resolution` was called `size`, a key that DVC's run cache ignores.

    >>> current_frames({"count": 32, "size": 224})
    {'count': 32, 'resolution': 224}
    """
    if not isinstance(frames, dict) or "resolution" in frames:
        return frames
    return {"resolution" if key == "size" else key: value for key, value in frames.items()}


def _value(text: str) -> Any:
    return parse_json(text) if text.startswith("{") else text
