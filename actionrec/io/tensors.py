"""safetensors files with reproducible bytes.

The library writes metadata in random order. Here the header is sorted.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from actionrec.core.errors import REPAIR, DataError
from actionrec.io.files import whole_file


def save_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write named arrays and metadata. The same contents give the same bytes."""
    contents = safetensors.numpy.save({name: np.asarray(array, order="C") for name, array in tensors.items()})
    length = int.from_bytes(contents[:8], "little")
    header = json.loads(contents[8 : 8 + length])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(dict(sorted(header.items())), ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format aligns what follows
    with whole_file(path) as draft, draft.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little"))
        stream.write(text)
        stream.write(memoryview(contents)[8 + length :])


def load_tensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Read named arrays and the metadata.

    Raises:
        DataError: the file is missing or damaged.
    """
    with _readable(path), safetensors.safe_open(path, framework="numpy") as stream:
        tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        return tensors, dict(sorted((stream.metadata() or {}).items()))  # the library gives them in any order


@dataclass(frozen=True)
class Place:
    """Place of a tensor in a file."""

    file: Path
    start: int
    """Offset of its first byte. Its numbers are in C order, little-endian."""
    shape: tuple[int, ...]
    dtype: str
    """In the format's notation, such as F16."""


def places(path: Path) -> tuple[dict[str, Place], dict[str, str]]:
    """Read the place of each tensor, and the metadata. Reads the header only.

    Raises:
        DataError: as for `load_tensors`.
    """
    with _readable(path), safetensors.safe_open(path, framework="numpy") as stream:  # which checks header and size
        metadata = dict(sorted((stream.metadata() or {}).items()))
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    begin = 8 + length
    return {
        name: Place(path, begin + one["data_offsets"][0], tuple(one["shape"]), one["dtype"]) for name, one in header.items()
    }, metadata


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raise DataError if a file is missing or damaged."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path} is missing. Run `dvc repro` to make it.") from None
    except safetensors.SafetensorError as error:
        raise DataError(f"{path} is damaged ({error}). {REPAIR}") from None
