"""State dicts: read from files without running code from them, checked against a network, and identified by a hash."""

import hashlib
import pickle
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from actionrec.errors import WeightsError

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_LISTED = 3
_COUNTER = "num_batches_tracked"  # of batch normalisation; some files lack it, and inference never reads it


def read_file(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a .safetensors, .pth or .pt file (also one below `state_dict` or `model_state_dict`).

    Raises:
        WeightsError: no such file, or one that is cut short, a Git LFS pointer, or no state dict.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file.")
    with path.open("rb") as stream:
        if stream.read(40).startswith(b"version https://git-lfs"):
            raise WeightsError(f"{path} is a Git LFS pointer, not weights. Fetch the file itself: `git lfs pull`.")
    state = _read_any(path)
    for wrapper in _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not all(isinstance(key, str) and isinstance(state[key], Tensor) for key in state):
        raise WeightsError(f"{path} holds a {type(state).__name__}, not a state dict of named tensors.")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}  # DataParallel's prefix


def _read_any(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged pickle raises anything: IndexError, struct.error, AssertionError ...
        # torch's own text advises people to switch the protection off; only what it objects to is passed on.
        objection = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
        if objection and isinstance(error, pickle.UnpicklingError):
            raise WeightsError(
                f"{path} holds more than tensors ({objection[1]}), and is not loaded, since that could run code. "
                "Save its state dict alone, as .safetensors or .pth."
            ) from None
        reason = "no pickle of tensors" if isinstance(error, pickle.UnpicklingError) else str(error).split("\n", 1)[0][:160]
        raise WeightsError(f"{path} is cut short, damaged, or no weights file ({reason}). Fetch it again.") from None


def misfits(network: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """Names and shapes in which a state dict differs from a network's."""
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    got = {name: tuple(tensor.shape) for name, tensor in state.items()}
    optional = {name for name in wanted if name.endswith(_COUNTER)}  # a counter that inference never reads
    problems = [f"{name} is missing" for name in wanted if name not in got and name not in optional]
    problems += [f"{name} is unknown" for name in got if name not in wanted]
    return problems + [
        f"{name} has shape {got[name]}, wanted {wanted[name]}" for name in wanted if name in got and got[name] != wanted[name]
    ]


def load_state(network: nn.Module, state: Mapping[str, Tensor], whose: str) -> None:
    """Load a state dict whose names and shapes must all match.

    Args:
        whose: the file or name, for messages.

    Raises:
        WeightsError: names are missing or surplus, shapes differ, or numbers are not finite.
    """
    problems = misfits(network, state)
    # Not left to the features: OpenVINO's ReLU turns NaN into 0.
    problems += [f"{name} holds numbers that are not finite" for name in state if not state[name].isfinite().all()]
    if problems:
        more = f" and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
        raise WeightsError(f"{whose} does not fit: {'; '.join(problems[:_LISTED])}{more}.")
    loaded = OrderedDict(state)
    # Files of names and tensors alone do not tell the version of the network's layout, which MNASNet insists on.
    loaded._metadata = {"": network.state_dict()._metadata[""]}  # type: ignore[attr-defined]
    network.load_state_dict(loaded, strict=False)


def state_sha256(network: nn.Module) -> str:
    """SHA-256 over the names, shapes and values of a state dict, in hexadecimal: the identity of weights, wherever from."""
    total = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        if name.endswith(_COUNTER):
            continue
        total.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        total.update(tensor.detach().contiguous().cpu().numpy().tobytes())
    return total.hexdigest()
