"""The sequence models, one file each: features (B, T, D) in, logits (B, K) out.

Each file in this folder is a model. The file's name is also the name of the model's section in params.yaml, of its stage and of
its folders. Its `__all__` exports one class. Layers that models share are in `layers`.

A model's file is imported only when that model is used, so that a stage depends only on its own model's file.
"""

import inspect
import pkgutil
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from actionrec.core.text import quoted

if TYPE_CHECKING:
    from torch import nn

MODELS = tuple(sorted(file.name for file in pkgutil.iter_modules(__path__) if not file.ispkg))
"""Names of the models, sorted."""

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
"""Largest value of each size; the smallest is 1. Large enough for every model in use, small enough to fit in memory."""
LARGEST_OTHER = 65_536
"""Largest absolute value of a whole number that LARGEST does not list."""
MOST_STAGES = 8  # of a Swin Transformer; each is twice as wide as the one before

FROM_DATA = ("feature_dim", "class_count")
"""Constructor keywords that are set from the data, not from params.yaml."""


def model_class(name: str) -> "type[nn.Module]":
    """Import the class of one model.

    Raises:
        KeyError: there is no such model.
        ImportError: the model's file does not export exactly one class.
    """
    if name not in MODELS:  # before the import: a name from a bundle must not import other modules
        raise KeyError(name)
    module = import_module(f"{__name__}.{name}")
    exported = getattr(module, "__all__", [])
    if len(exported) != 1:
        raise ImportError(
            f"actionrec/models/{name}.py: __all__ must export one class, the model; got {list(exported)}. "
            "Put shared layers into actionrec/models/layers."
        )
    model: type[nn.Module] = getattr(module, exported[0])
    return model


def model_keys(name: str) -> dict[str, inspect.Parameter]:
    """The keywords of a model's constructor that params.yaml may set: the schema of its section."""
    keys = inspect.signature(model_class(name), eval_str=True).parameters
    return {key: parameter for key, parameter in keys.items() if key not in FROM_DATA}


def create_model(name: str, arguments: Mapping[str, Any], *, feature_dim: int, class_count: int) -> "nn.Module":
    """Build a model with fresh weights, drawn from torch's global random state. All sizes are checked first.

    Args:
        name: one of MODELS.
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
    """Check that a size, or each of a list of sizes, is a whole number in range."""
    sizes = value if isinstance(value, list | tuple) else [value]
    if key not in LARGEST:
        if any(isinstance(size, int) and abs(size) > LARGEST_OTHER for size in sizes):
            raise ValueError(f"{key} must be from -{LARGEST_OTHER} to {LARGEST_OTHER}; got {quoted(value)}")
        return
    if len(sizes) > MOST_STAGES:
        raise ValueError(f"{key} must have at most {MOST_STAGES} numbers; got {len(sizes):,}")
    if not all(isinstance(size, int) and 1 <= size <= LARGEST[key] for size in sizes):
        raise ValueError(f"{key} must be from 1 to {LARGEST[key]}; got {quoted(value)}")


def parameter_count(model: "nn.Module") -> int:
    """Number of learned scalars."""
    return sum(parameter.numel() for parameter in model.parameters())
