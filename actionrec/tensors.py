"""safetensors files with stable bytes.

The library writes metadata in the order of a hash table, which changes from run to run; here the header is sorted.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from actionrec.errors import DataError
from actionrec.files import whole_file


def save_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write named arrays and text; the same contents give the same bytes."""
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
        DataError: the file is missing, or no whole safetensors file.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as stream:
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            return tensors, dict(sorted((stream.metadata() or {}).items()))  # the library gives them in any order
    except FileNotFoundError:
        raise DataError(f"{path} is missing. Run `dvc repro` to make it.") from None
    except safetensors.SafetensorError as error:
        raise DataError(f"{path} is damaged ({error}). Run `dvc repro -f` on the stage that makes it.") from None
