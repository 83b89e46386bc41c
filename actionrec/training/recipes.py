"""Recipes: one model's settings, merged from the sections train, model and models.<name> of params.yaml, and checked.

A model's own section may hold keywords of its constructor and keys of `train`; they override `train` and `model`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from actionrec.core import paths
from actionrec.core.errors import ParamsError
from actionrec.io import params
from actionrec.models import MODELS, model_class, model_keys
from actionrec.models.layers.linear_probe import LinearProbe
from actionrec.training import logistic_regression
from actionrec.training.loop import TrainSettings


@dataclass(frozen=True)
class ModelSettings:
    """Section `model`: keywords that several models share."""

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
    solved: bool = False
    """Whether the model is a linear probe, which is solved exactly (`logistic_regression`) instead of trained in epochs."""


def read_recipe(model: str, path: Path = paths.PARAMS) -> Recipe:
    """Read and check the settings of `train@<model>` in params.yaml.

    Raises:
        ParamsError: the model is unknown; or keys are unknown, missing, of the wrong type or out of range.
    """
    if model not in MODELS:
        raise ParamsError(f"unknown model {model!r}; expected one of {', '.join(MODELS)}")
    document = params.load(path)
    problems = params.unknown_keys(document, params.SECTIONS, "")
    seed = params.typed_fields(_Seed, document, "", problems)
    shared_train = params.section(document, "train", "", problems) or {}
    shared_model = params.section(document, "model", "", problems) or {}
    own = params.section(params.section(document, "models", "", problems) or {}, model, "models.", problems) or {}
    params.refuse(problems, path)

    constructor = model_keys(model)
    train_hints = get_type_hints(TrainSettings)
    problems += params.unknown_keys(shared_train, list(train_hints), "train.")
    problems += params.unknown_keys(shared_model, [field.name for field in fields(ModelSettings)], "model.")
    problems += params.unknown_keys(own, [*constructor, *train_hints], f"models.{model}.")
    solved = issubclass(model_class(model), LinearProbe)
    if solved:
        no_effect = [f"models.{model}.{key}" for key in own if key in logistic_regression.UNUSED]
        problems += [f"{key} has no effect: {model} is solved exactly, not trained in epochs; remove it" for key in no_effect]
    own_values = _located(own, f"models.{model}.")
    values = _typed(train_hints, {**_located(shared_train, "train."), **own_values}, "train.", problems)
    hints = {key: parameter.annotation for key, parameter in constructor.items()}
    defaults = [key for key, parameter in constructor.items() if parameter.default is not parameter.empty]
    arguments = _typed(hints, {**_located(shared_model, "model."), **own_values}, "model.", problems, optional=defaults)
    params.refuse(problems, path)
    if solved:
        values["epochs"] = 1
    try:
        return Recipe(seed["seed"], TrainSettings(**values), arguments, solved)
    except ValueError as error:
        raise ParamsError(f"{path}: train (or models.{model}): {error}") from None


def _located(section: Mapping[str, Any], prefix: str) -> dict[str, tuple[str, Any]]:
    """Each key of a section with its path in the file and its value."""
    return {key: (f"{prefix}{key}", value) for key, value in section.items()}


def _typed(
    hints: Mapping[str, Any],
    given: Mapping[str, tuple[str, Any]],
    prefix: str,
    problems: list[str],
    optional: Collection[str] = (),
) -> dict[str, Any]:
    """Check the values of the keys in `hints`; a missing key is reported under `prefix`."""
    values = {}
    for key, hint in hints.items():
        if key in given:
            path, value = given[key]
            values[key] = params.typed(hint, value, path, problems)
        elif key not in optional:
            problems.append(f"{prefix}{key} is missing")
    return values
