"""The seven sequence models: features (B, T, D) in, logits (B, K) out.

A model's file is imported only when that model is wanted, so that a stage depends on its own model's file alone.
"""

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from torch import nn

from actionrec.core.text import quoted

# Name (also the file, the params section, the stage and the folder of metrics) -> class.
MODELS = {
    "simple_rnn": "SimpleRnn",
    "lstm": "Lstm",
    "gru": "Gru",
    "bilstm": "BiLstm",
    "stacked_lstm": "StackedLstm",
    "transformer": "Transformer",
    "swin_transformer": "SwinTransformer",
}

# The largest sizes: beyond those of any model that is in use, and small enough to be refused before memory is full.
LARGEST = {
    "feature_dim": 65_536,
    "class_count": 65_536,
    "hidden_dim": 16_384,
    "num_layers": 64,
    "d_model": 16_384,
    "num_heads": 1_024,
    "ff_dim": 65_536,
    "dim": 8_192,
    "depths": 64,
    "window": 1_024,
    "mlp_ratio": 64,
}
MOST_STAGES = 8  # of a Swin Transformer; each is twice as wide as the one before

# What the data decides, not params.yaml.
FROM_DATA = ("feature_dim", "class_count")


def model_class(name: str) -> type[nn.Module]:
    """Import the class of one model.

    Raises:
        KeyError: no such model.
    """
    class_name = MODELS[name]  # before the import: a name that is not in the table imports nothing
    wanted: type[nn.Module] = getattr(import_module(f"actionrec.models.{name}"), class_name)
    return wanted


def model_keys(name: str) -> dict[str, inspect.Parameter]:
    """The keywords of a model's constructor that params.yaml may set: the schema of its section."""
    keys = inspect.signature(model_class(name)).parameters
    return {key: parameter for key, parameter in keys.items() if key not in FROM_DATA}


def create_model(name: str, arguments: Mapping[str, Any], *, feature_dim: int, class_count: int) -> nn.Module:
    """Build a model with fresh weights, drawn from torch's global random state. Nothing is built before it is checked.

    Args:
        name: a key of MODELS.
        arguments: keywords of the model's constructor.
        feature_dim: D.
        class_count: K.

    Raises:
        ValueError: a size is out of range.
    """
    for key, value in {**arguments, "feature_dim": feature_dim, "class_count": class_count}.items():
        _check_size(key, value)
    return model_class(name)(feature_dim=feature_dim, class_count=class_count, **arguments)


def _check_size(key: str, value: Any) -> None:
    """Refuse a size, or list of sizes, that is out of range, or is not a whole number."""
    if key not in LARGEST:
        return
    sizes = value if isinstance(value, list | tuple) else [value]
    if len(sizes) > MOST_STAGES:
        raise ValueError(f"{key} must have at most {MOST_STAGES} numbers; got {len(sizes):,}")
    if not all(isinstance(size, int) and 1 <= size <= LARGEST[key] for size in sizes):
        raise ValueError(f"{key} must be from 1 to {LARGEST[key]}; got {quoted(value)}")


def parameter_count(model: nn.Module) -> int:
    """Number of learned scalars."""
    return sum(parameter.numel() for parameter in model.parameters())
