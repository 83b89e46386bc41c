"""How one model is built and trained: the sections train, model and models.<name> of params.yaml, merged and checked.

A model's own section may hold keywords of its constructor and keys of `train`; they win over `train` and `model`.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from actionrec import params, paths
from actionrec.errors import ParamsError
from actionrec.models import MODELS, model_keys
from actionrec.training import TrainSettings


@dataclass(frozen=True)
class ModelSettings:
    """Section `model`: shared by the models that have such a thing."""

    hidden_dim: int
    dropout: float


@dataclass(frozen=True)
class _Seed:
    seed: int


@dataclass(frozen=True)
class Recipe:
    """One model's settings."""

    seed: int
    train: TrainSettings
    arguments: dict[str, Any]
    """Keywords of the model's constructor."""


def read_recipe(model: str, path: Path = paths.PARAMS) -> Recipe:
    """Read and check what `train@<model>` needs of params.yaml.

    Raises:
        ParamsError: no such model; or keys are unknown, missing, ill-typed or out of range.
    """
    if model not in MODELS:
        raise ParamsError(f"no model {model!r}; wanted one of {', '.join(MODELS)}")
    document = params.load(path)
    problems = params.unknown_keys(document, params.SECTIONS, "")
    seed = params.typed_fields(_Seed, document, "", problems)
    shared_train = params.section(document, "train", "", problems) or {}
    shared_model = params.section(document, "model", "", problems) or {}
    own = params.section(params.section(document, "models", "", problems) or {}, model, "models.", problems) or {}
    params.refuse(problems, path)

    constructor = model_keys(model)
    train_keys = [field.name for field in fields(TrainSettings)]
    problems += params.unknown_keys(shared_train, train_keys, "train.")
    problems += params.unknown_keys(shared_model, [field.name for field in fields(ModelSettings)], "model.")
    problems += params.unknown_keys(own, [*constructor, *train_keys], f"models.{model}.")
    merged_train = {**shared_train, **{key: value for key, value in own.items() if key in train_keys}}
    values = params.typed_fields(TrainSettings, merged_train, "train.", problems)
    arguments = _arguments(constructor, {**shared_model, **own}, problems)
    params.refuse(problems, path)
    try:
        return Recipe(seed["seed"], TrainSettings(**values), arguments)
    except ValueError as error:
        raise ParamsError(f"{path}: train (or models.{model}): {error}") from None


def _arguments(constructor: Mapping[str, inspect.Parameter], given: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """Check values against the annotations of a constructor."""
    arguments = {}
    for key, parameter in constructor.items():
        if key in given:
            arguments[key] = params.typed(parameter.annotation, given[key], key, problems)
        elif parameter.default is inspect.Parameter.empty:
            problems.append(f"model.{key} is missing")
    return arguments
