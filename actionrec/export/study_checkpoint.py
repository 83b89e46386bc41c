"""Import of the study's checkpoints: `{'model_state_dict': {'gru.weight_ih_l0': ..., 'fc.weight': ...}, ...}`.

The study's recurrent models have the same layers and names as ours, so their weights load unchanged, with a standardiser that
does not change features. Its attention models differ from ours and cannot be imported.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from torch import Tensor

from actionrec.core.errors import DataError, WeightsError
from actionrec.core.text import first_few, shortened
from actionrec.features import state_dicts
from actionrec.training.bundle import Architecture, Bundle

_LONGEST_LIST = 10_000_000  # characters of a list of class names

LAYER = {"simple_rnn": "rnn", "lstm": "lstm", "gru": "gru", "bilstm": "lstm", "stacked_lstm": "lstm"}

# What the study trained on: ImageNet's ResNet-50, 32 frames resized to 224 x 224.
FEATURES = {
    "backbone": "resnet50",
    "weights": "IMAGENET1K_V1",
    "weights_sha256": None,
    "precision": "fp32",
    "preprocessing": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "colours": "RGB", "scale": 255},
    "frames": {"count": 32, "resolution": 224, "format": "raw", "quality": 100},
}


def read(path: Path, model: str, class_names: list[str]) -> Bundle:
    """Read a checkpoint into the matching model; its sizes are taken from the tensors.

    Args:
        model: a key of LAYER.
        class_names: K names, in the order of the checkpoint's outputs.

    Raises:
        WeightsError: the file is damaged, holds another model, or has another number of classes.
    """
    state = state_dicts.read_file(path)
    layer = LAYER[model]
    first = _tensor(state, f"{layer}.weight_ih_l0", path, model)
    recurrent = _tensor(state, f"{layer}.weight_hh_l0", path, model)
    outputs = _tensor(state, "fc.weight", path, model).shape[0]
    if outputs != len(class_names):
        raise WeightsError(f"{path}: got {len(class_names)} class names, expected {outputs}, as the checkpoint has.")
    arguments: dict[str, Any] = {"hidden_dim": recurrent.shape[1], "dropout": 0.3}
    if model == "bilstm":
        arguments["read"] = "last"
    if model == "stacked_lstm":
        arguments["num_layers"] = sum(name.startswith(f"{layer}.weight_ih_l") for name in state)
    architecture = Architecture(model, arguments, first.shape[1], class_names)
    source = f"{path} as {model}"
    try:
        outline = architecture.outline()
    except ValueError as error:
        raise WeightsError(f"{source}: {error}.") from None
    state_dicts.check_shapes(outline.model, {name: tuple(tensor.shape) for name, tensor in state.items()}, source)
    network = architecture.create()
    state_dicts.load_state(network.model, state, source)
    return Bundle(architecture, network.eval(), FEATURES)


def _tensor(state: dict[str, Tensor], name: str, path: Path, model: str) -> Tensor:
    if name not in state:
        raise WeightsError(
            f"{path} is not the study's {model}: it lacks {name}; it has {', '.join(map(shortened, sorted(state)[:4]))}, ..."
        )
    if state[name].dim() != 2:
        raise WeightsError(f"{path}: {name} has {state[name].dim()} dimensions, not the 2 of a matrix.")
    return state[name]


def read_classes(path: Path) -> list[str]:
    """Read class names, one per line; skips blank lines.

    Raises:
        DataError: the file is missing, not a text file, or has a name twice.
    """
    try:
        if not path.exists():
            raise DataError(f"{path}: no such file of class names.")
        if not path.is_dir() and not path.is_file():
            raise DataError(f"{path} is not a regular file; expected a text file with one class name per line.")
        with path.open(encoding="utf-8") as stream:
            text = stream.read(_LONGEST_LIST + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text with one class name per line ({error}).") from None
    if len(text) > _LONGEST_LIST:
        raise DataError(f"{path} is not a list of class names: it has more than {_LONGEST_LIST:,} characters.")
    names = [line.strip() for line in text.splitlines() if line.strip()]
    duplicates = sorted(name for name, count in Counter(names).items() if count > 1)
    if duplicates:
        raise DataError(f"{path}: duplicate class names: {first_few(list(map(shortened, duplicates)))}.")
    return names
