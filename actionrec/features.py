"""The feature store: a tensor (T, D) a clip in safetensors shards, its key the clip's id.

Features are kept in fp16, which changes them by 0.0002 of their size; bf16 would by 0.0016. The metadata of each shard says what
they were made with: backbone, weights and their hash, precision, preprocessing, and how the frames were sampled.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrec.errors import DataError
from actionrec.tensors import load_tensors, save_tensors


@dataclass(frozen=True)
class FeatureSet:
    """All clips' features in memory."""

    clips: list[str]
    """Clip ids, sorted."""
    features: NDArray[np.float16]
    """(n, T, D), in the order of `clips`."""
    source: dict[str, Any]
    """What they were made with: `backbone`, `weights`, `weights_sha256`, `precision`, `preprocessing`, `frames`."""


def write_shard(path: Path, features: Mapping[str, NDArray[np.float16]], source: Mapping[str, Any]) -> None:
    """Write one shard; plain text metadata stays text, the rest becomes JSON."""
    metadata = {key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for key, value in source.items()}
    save_tensors(path, features, metadata)


def read_features(folder: Path) -> FeatureSet:
    """Read all shards of a folder.

    Raises:
        DataError: no shards, a damaged one, or shards that were made in different ways.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise DataError(f"{folder} has no features. Run `dvc repro resnet_features`.")
    gathered: dict[str, NDArray[np.float16]] = {}
    first: dict[str, str] = {}
    for file in files:
        tensors, metadata = load_tensors(file)
        first = first or metadata
        if metadata != first:
            raise DataError(f"{file} was made in another way than {files[0]}. Run `dvc repro -f resnet_features`.")
        gathered.update(tensors)
    clips = sorted(gathered)
    source = {key: _value(text) for key, text in first.items()}
    return FeatureSet(clips, np.stack([gathered.pop(clip) for clip in clips]), source)


def _value(text: str) -> Any:
    return json.loads(text) if text.startswith("{") else text
