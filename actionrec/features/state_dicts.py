"""State dicts: read them from files safely, check them against a network, and compute their hash."""

import hashlib
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from actionrec.core.errors import WeightsError
from actionrec.core.text import first_few, shortened

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_LISTED = (3, "; ")  # problems in a message, and the text between them
_MOST_TENSORS = 10_000
_DTYPES = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_DTYPES |= {torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}  # counters
_COUNTER = "num_batches_tracked"  # of batch normalisation; missing in some files, and not used by inference


def read_file(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a .safetensors, .pth or .pt file, without running code from it.

    The state dict may also be an entry `state_dict`, `model_state_dict` or `model`.

    Raises:
        WeightsError: the file is missing, cut off, a Git LFS pointer, or not a state dict.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: the weights file does not exist.")
    with path.open("rb") as stream:
        if stream.read(40).startswith(b"version https://git-lfs"):
            raise WeightsError(f"{path} is a Git LFS pointer, not weights. Fetch the file itself: `git lfs pull`.")
    _refuse_zip_bomb(path)
    state = _read_any(path)
    for wrapper in _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not all(isinstance(key, str) and isinstance(state[key], Tensor) for key in state):
        raise WeightsError(f"{path}: got a {type(state).__name__}, expected a state dict of named tensors. Save its state dict.")
    if unusable := [f"{shortened(name)} {why}" for name, tensor in state.items() if (why := _why_unusable(tensor))]:
        raise WeightsError(f"{path}: {first_few(unusable, *_LISTED)}. Save plain tensors of floating-point numbers.")
    claimed, size = sum(tensor.numel() * tensor.element_size() for tensor in state.values()), path.stat().st_size
    if claimed > size:
        raise WeightsError(f"{path} has {size:,} bytes, but its tensors have {claimed:,}: some share memory. Save copies of them.")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}  # DataParallel's prefix


def _refuse_zip_bomb(path: Path) -> None:
    """Reject a ZIP file with too many members, or one that unpacks to more than its size; torch does not compress tensors."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise WeightsError(f"{path} is cut off, damaged, or not a weights file ({error}). Download it again.") from None
    if len(members) > _MOST_TENSORS:
        raise WeightsError(f"{path} has {len(members):,} members; expected at most {_MOST_TENSORS:,} tensors.")
    unpacked = sum(member.file_size for member in members)
    if unpacked > path.stat().st_size:
        raise WeightsError(f"{path} unpacks to {unpacked:,} bytes, more than its size; torch.save does not write such files.")


def _read_any(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged pickle raises anything: IndexError, struct.error, AssertionError ...
        # torch's message advises users to disable this protection, so only the name of the rejected object is shown.
        objection = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
        if objection and isinstance(error, pickle.UnpicklingError):
            raise WeightsError(
                f"{path} contains other objects than tensors ({shortened(objection[1])}) and is not loaded, since that could run "
                "code. Save only its state dict, as .safetensors or .pth."
            ) from None
        reason = (
            "not a pickle of tensors" if isinstance(error, pickle.UnpicklingError) else shortened(str(error).split("\n", 1)[0], 160)
        )
        raise WeightsError(f"{path} is cut off, damaged, or not a weights file ({reason}). Download it again.") from None


def _why_unusable(tensor: Tensor) -> str | None:
    """Why a tensor does not have plain numbers; None if it has. Does not read them: a few bytes may claim to be terabytes."""
    if tensor.is_quantized:
        return "is quantised"
    if tensor.is_nested:
        return "is a nested tensor"
    if tensor.layout != torch.strided:
        return f"is stored as {str(tensor.layout).removeprefix('torch.')}"
    if tensor.is_meta:
        return "has a shape but no values (meta)"
    if tensor.dtype not in _DTYPES:
        return f"has numbers of type {_short(tensor.dtype)}"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"has shape {tuple(tensor.shape)} but stores fewer numbers"
    return None


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def misfits(network: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """List the tensors that are missing, unexpected or of another shape than a network's."""
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    optional = {name for name in expected if name.endswith(_COUNTER)}
    problems = [f"{name} is missing" for name in expected if name not in shapes and name not in optional]
    problems += [f"{shortened(name)} is unexpected" for name in shapes if name not in expected]
    both = [name for name in expected if name in shapes]
    differing = [name for name in both if shapes[name] != expected[name]]
    return problems + [f"{name} has shape {shapes[name]}, expected {expected[name]}" for name in differing]


def check_shapes(network: nn.Module, shapes: Mapping[str, tuple[int, ...]], whose: str) -> None:
    """Make sure that names and shapes of tensors match a network, which may be on torch's meta device.

    Args:
        whose: the file or name, for messages.

    Raises:
        WeightsError: tensors are missing, unexpected or of another shape.
    """
    problems = misfits(network, shapes)
    if problems:
        raise WeightsError(f"{whose} does not fit: {first_few(problems, *_LISTED)}.")


def load_state(network: nn.Module, state: Mapping[str, Tensor], whose: str) -> None:
    """Load a state dict whose names and shapes must all match.

    Args:
        whose: the file or name, for messages.

    Raises:
        WeightsError: tensors are missing, unexpected or of another shape, or have values that are not finite.
    """
    check_shapes(network, {name: tuple(tensor.shape) for name, tensor in state.items()}, whose)
    current = network.state_dict()
    if problems := [f"{name} {why}" for name in state if (why := _why_unfit(state[name], current[name].dtype))]:
        raise WeightsError(f"{whose} does not fit: {first_few(problems, *_LISTED)}.")
    loaded = OrderedDict(state)
    # A plain state dict has no version of the network's layout, which MNASNet requires.
    loaded._metadata = {"": network.state_dict()._metadata[""]}  # type: ignore[attr-defined]
    network.load_state_dict(loaded, strict=False)


def _why_unfit(tensor: Tensor, dtype: torch.dtype) -> str | None:
    """Why a tensor cannot be converted to another data type; None if it can."""
    if dtype.is_floating_point and not tensor.is_floating_point():
        return f"has numbers of type {_short(tensor.dtype)}, expected {_short(dtype)}"
    # Features would not show this: OpenVINO's ReLU turns NaN into 0. Check after the cast too: 1e300 fits float64, not float32.
    if not tensor.isfinite().all():
        return "holds numbers that are not finite"
    return None if tensor.to(dtype).isfinite().all() else f"holds numbers that are too large for {_short(dtype)}"


def state_sha256(network: nn.Module) -> str:
    """Identity of a network's weights: SHA-256, in hexadecimal, of the names, shapes, types and values of its state dict."""
    total = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        if name.endswith(_COUNTER):
            continue
        total.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        total.update(tensor.detach().contiguous().cpu().numpy().tobytes())
    return total.hexdigest()
