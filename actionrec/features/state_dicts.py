"""State dicts: read from files without running code from them, checked against a network, and identified by a hash."""

import hashlib
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from actionrec.core.errors import WeightsError
from actionrec.core.text import shortened

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_LISTED = 3
_MOST_TENSORS = 10_000
_DTYPES = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_DTYPES |= {torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}  # counters
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
    _refuse_zip_bomb(path)
    state = _read_any(path)
    for wrapper in _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not all(isinstance(key, str) and isinstance(state[key], Tensor) for key in state):
        raise WeightsError(f"{path} holds a {type(state).__name__}, not a state dict of named tensors.")
    if unusable := [f"{shortened(name)} {why}" for name, tensor in state.items() if (why := _why_unusable(tensor))]:
        raise WeightsError(f"{path}: {_few(unusable)}. Save plain tensors of floating-point numbers.")
    claimed, size = sum(tensor.numel() * tensor.element_size() for tensor in state.values()), path.stat().st_size
    if claimed > size:
        raise WeightsError(f"{path} has {size:,} bytes, but its tensors have {claimed:,}: some share their numbers. Save copies.")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}  # DataParallel's prefix


def _refuse_zip_bomb(path: Path) -> None:
    """Refuse a zip file of very many parts, or one that unpacks to more than its own size; torch stores tensors as they are."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise WeightsError(f"{path} is cut short, damaged, or no weights file ({error}). Fetch it again.") from None
    if len(members) > _MOST_TENSORS:
        raise WeightsError(f"{path} has {len(members):,} parts, more than the tensors of any network that is used here.")
    unpacked = sum(member.file_size for member in members)
    if unpacked > path.stat().st_size:
        raise WeightsError(f"{path} unpacks to {unpacked:,} bytes, more than it has: not a file as torch.save writes it.")


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
                f"{path} holds more than tensors ({shortened(objection[1])}), and is not loaded, since that could run code. "
                "Save its state dict alone, as .safetensors or .pth."
            ) from None
        reason = (
            "no pickle of tensors" if isinstance(error, pickle.UnpicklingError) else shortened(str(error).split("\n", 1)[0], 160)
        )
        raise WeightsError(f"{path} is cut short, damaged, or no weights file ({reason}). Fetch it again.") from None


def _why_unusable(tensor: Tensor) -> str | None:
    """Why a tensor is not one of plain numbers; None where it is. Looks at no number: a few bytes may claim to be terabytes."""
    if tensor.is_quantized:
        return "is quantised"
    if tensor.is_nested:
        return "is a nested tensor"
    if tensor.layout != torch.strided:
        return f"is stored as {str(tensor.layout).removeprefix('torch.')}"
    if tensor.is_meta:
        return "has a shape but no numbers (meta)"
    if tensor.dtype not in _DTYPES:
        return f"has numbers of type {_short(tensor.dtype)}"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"has shape {tuple(tensor.shape)} but repeats fewer numbers"
    return None


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _few(problems: Sequence[str]) -> str:
    more = f" and {len(problems) - _LISTED:,} more" if len(problems) > _LISTED else ""
    return f"{'; '.join(problems[:_LISTED])}{more}"


def misfits(network: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Names and shapes in which tensors differ from a network's."""
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    optional = {name for name in wanted if name.endswith(_COUNTER)}  # a counter that inference never reads
    problems = [f"{name} is missing" for name in wanted if name not in shapes and name not in optional]
    problems += [f"{shortened(name)} is unknown" for name in shapes if name not in wanted]
    both = [name for name in wanted if name in shapes]
    return problems + [f"{name} has shape {shapes[name]}, wanted {wanted[name]}" for name in both if shapes[name] != wanted[name]]


def check_shapes(network: nn.Module, shapes: Mapping[str, tuple[int, ...]], whose: str) -> None:
    """Make sure that tensors of these names and shapes are a network's; the network may be on torch's meta device.

    Args:
        whose: the file or name, for messages.

    Raises:
        WeightsError: names are missing or surplus, or shapes differ.
    """
    problems = misfits(network, shapes)
    if problems:
        raise WeightsError(f"{whose} does not fit: {_few(problems)}.")


def load_state(network: nn.Module, state: Mapping[str, Tensor], whose: str) -> None:
    """Load a state dict whose names and shapes must all match.

    Args:
        whose: the file or name, for messages.

    Raises:
        WeightsError: names are missing or surplus, shapes differ, or numbers are not finite.
    """
    check_shapes(network, {name: tuple(tensor.shape) for name, tensor in state.items()}, whose)
    own = network.state_dict()
    if problems := [f"{name} {why}" for name in state if (why := _why_unfit(state[name], own[name].dtype))]:
        raise WeightsError(f"{whose} does not fit: {_few(problems)}.")
    loaded = OrderedDict(state)
    # Files of names and tensors alone do not tell the version of the network's layout, which MNASNet insists on.
    loaded._metadata = {"": network.state_dict()._metadata[""]}  # type: ignore[attr-defined]
    network.load_state_dict(loaded, strict=False)


def _why_unfit(tensor: Tensor, wanted: torch.dtype) -> str | None:
    """Why a tensor's numbers cannot become those of another type; None where they can."""
    if wanted.is_floating_point and not tensor.is_floating_point():
        return f"has numbers of type {_short(tensor.dtype)}, wanted {_short(wanted)}"
    # Not left to the features: OpenVINO's ReLU turns NaN into 0. After the cast: float64 holds 1e300, float32 does not.
    if not tensor.isfinite().all():
        return "holds numbers that are not finite"
    return None if tensor.to(wanted).isfinite().all() else f"holds numbers that are too large for {_short(wanted)}"


def state_sha256(network: nn.Module) -> str:
    """SHA-256 over the names, shapes and values of a state dict, in hexadecimal: the identity of weights, wherever from."""
    total = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        if name.endswith(_COUNTER):
            continue
        total.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        total.update(tensor.detach().contiguous().cpu().numpy().tobytes())
    return total.hexdigest()
