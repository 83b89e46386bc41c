"""The one reader of params.yaml: each stage declares the sections it reads as frozen dataclasses, and gets them checked.

Every unknown, missing or ill-typed key is reported at once, with its path. YAML 1.2 (ruamel.yaml), as DVC writes it: 1e-05 is a
number there, and a string to a YAML 1.1 reader.
"""

import dataclasses
import difflib
import re
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from actionrec import paths
from actionrec.errors import ParamsError

SECTIONS = ("seed", "data", "split", "frames", "features", "train", "model", "models")

RENAMED = {"frames.size": "frames.resolution"}
"""Keys of earlier params.yaml files. DVC's run cache ignores every key called `size` or `nfiles`, so none may have such a name."""

Settings = TypeVar("Settings")


LARGEST_SEED = 2**32 - 1


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """Section `data`."""

    dataset: str
    """A folder below data/raw, or a symlink to one."""
    group: str | None
    """A regular expression for the group in a clip's id (its first pair of brackets); None: names as the published sets have."""

    def __post_init__(self) -> None:
        if not self.dataset or "/" in self.dataset or self.dataset.startswith("."):
            raise ValueError(f"dataset must name a folder below {paths.RAW}; got {self.dataset!r}")
        if self.group is not None:
            try:
                re.compile(self.group)
            except re.error as error:
                raise ValueError(f"group must be a regular expression or null; got {self.group!r} ({error})") from None


def read(wanted: type[Settings], path: Path = paths.PARAMS) -> Settings:
    """Read the sections that are the fields of `wanted`: settings dataclasses, or plain values such as `seed: int`.

    Raises:
        ParamsError: the file is missing or no YAML, or a key of these sections is unknown, missing, ill-typed or out of range.
    """
    document = load(path)
    problems = unknown_keys(document, SECTIONS, "")
    values = typed_fields(wanted, document, "", problems)
    refuse(problems, path)
    return wanted(**values)


def load(path: Path = paths.PARAMS) -> dict[str, Any]:
    """Read the whole file as plain dictionaries, lists and scalars."""
    try:
        document = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path} is missing. Run from the project's root.") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise ParamsError(f"{path}: wanted sections ({', '.join(SECTIONS)}), got {type(document).__name__}")
    return document


def refuse(problems: Sequence[str], path: Path = paths.PARAMS) -> None:
    """Raise all problems as one error; do nothing where there are none."""
    if problems:
        raise ParamsError("\n".join(f"{path}: {problem}" for problem in problems))


def section(document: Mapping[str, Any], key: str, prefix: str, problems: list[str]) -> dict[str, Any] | None:
    """Return a mapping below `document`; note a problem and return None where it is missing or something else."""
    if key not in document:
        problems.append(f"{prefix}{key} is missing")
        return None
    value = document[key]
    if not isinstance(value, dict):
        problems.append(f"{prefix}{key} must hold keys and values; got {value!r}")
        return None
    return value


def unknown_keys(document: Mapping[str, Any], known: Sequence[str], prefix: str) -> list[str]:
    """Tell of each key that nobody reads, and the known key that it resembles."""
    problems = []
    for key in document:
        if key not in known:
            if new_name := RENAMED.get(f"{prefix}{key}"):
                problems.append(f"{prefix}{key} is now called {new_name}. Rename it")
                continue
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
            problems.append(f"{prefix}{key} is unknown ({hint})")
    return problems


def typed_fields(kind: type, document: Mapping[str, Any], prefix: str, problems: list[str]) -> dict[str, Any]:
    """Read the fields of a dataclass from a mapping, noting what is missing or ill-typed."""
    hints = typing.get_type_hints(kind)
    values = {}
    for field in dataclasses.fields(kind):
        hint, before = hints[field.name], len(problems)
        if dataclasses.is_dataclass(hint):
            inner = section(document, field.name, prefix, problems)
            if inner is not None:
                values[field.name] = _settings(typing.cast(type, hint), inner, f"{prefix}{field.name}.", problems)
        elif field.name not in document:
            problems.append(f"{prefix}{field.name} is missing")
        else:
            value = values[field.name] = typed(hint, document[field.name], f"{prefix}{field.name}", problems)
            if field.name == "seed" and value is not None and not 0 <= value <= LARGEST_SEED:
                problems.append(f"seed must be from 0 to {LARGEST_SEED}; got {value}")
        if len(problems) > before:
            values.pop(field.name, None)
    return values


def _settings(kind: type, document: Mapping[str, Any], prefix: str, problems: list[str]) -> Any:
    before = len(problems)
    problems += unknown_keys(document, [field.name for field in dataclasses.fields(kind)], prefix)
    values = typed_fields(kind, document, prefix, problems)
    if len(problems) > before:
        return None
    try:
        return kind(**values)
    except ValueError as error:
        problems.append(f"{prefix}{error}")
        return None


def typed(hint: Any, value: Any, key: str, problems: list[str]) -> Any:
    """Check a value against a type hint (int, float, str, bool, Literal, Sequence, unions with None).

    A whole number is taken where a float is wanted, and 16.0 as 16 where a whole number is: DVC takes the two for the same value,
    and would not rerun a stage to have it refused. A boolean never counts as a number.
    """
    if _fits(hint, value):
        return _converted(hint, value)
    problems.append(f"{key} must be {_in_words(hint)}; got {value!r}")
    return None


def _fits(hint: Any, value: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return isinstance(value, type(arguments[0])) and value in arguments
    if origin in (typing.Union, UnionType):
        return any(_fits(choice, value) for choice in arguments)
    if origin in (Sequence, tuple, list):
        return isinstance(value, list) and all(_fits(arguments[0], item) for item in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        return whole and not isinstance(value, bool)
    return isinstance(value, hint)


def _converted(hint: Any, value: Any) -> Any:
    """A value that fits a type hint, in its type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, UnionType):
        return _converted(next(choice for choice in arguments if _fits(choice, value)), value)
    if origin in (Sequence, tuple, list):
        return tuple(_converted(arguments[0], item) for item in value)
    return hint(value) if hint in (int, float) else value


def _in_words(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin in (typing.Union, UnionType):
        return " or ".join(map(_in_words, arguments))
    if origin in (Sequence, tuple, list):
        return f"a list, each item {_in_words(arguments[0])}"
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}
    return names.get(hint, str(hint))
