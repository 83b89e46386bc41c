"""Reader of params.yaml. Each stage declares the sections it reads as frozen dataclasses.

All unknown, missing and ill-typed keys are reported together, with their paths. The format is YAML 1.2 (ruamel.yaml), as DVC writes
it: 1e-05 is a number there, but a string in YAML 1.1.
"""

import dataclasses
import difflib
import sys
import typing
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar

from actionrec.core import paths
from actionrec.core.errors import MALFORMED, ParamsError
from actionrec.core.text import first_few, is_printable, quoted, shortened
from actionrec.io import patterns

SECTIONS = ("seed", "data", "split", "frames", "features", "finetune", "train", "model", "models", "evaluation", "compare")

RENAMED = {"frames.size": "frames.resolution"}
"""Keys of earlier params.yaml files. DVC's run cache ignores every key called `size` or `nfiles`, so none may have such a name."""

Settings = TypeVar("Settings")


LARGEST_SEED = 2**32 - 1
_LONGEST_FILE = 50_000  # characters of params.yaml
_MOST_VALUES = 10_000
_LISTED = 50  # problems
_LONGEST_NAME = 255  # bytes of a file's name, on most systems


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """Section `data`."""

    dataset: str
    """A folder below data/raw, or a symlink to one."""
    group: str | None
    """A regular expression whose first pair of brackets matches the group in a clip's id; None: `_g<number>_c`, as in UCF names."""

    def __post_init__(self) -> None:
        if not _is_folder_name(self.dataset):
            raise ValueError(f"dataset must name a folder below {paths.RAW}; got {quoted(self.dataset)}")
        if self.group is not None:
            try:
                patterns.check(self.group)
            except ValueError as error:
                raise ValueError(f"group must be a regular expression or null; got {quoted(self.group)} ({error})") from None


def _is_folder_name(name: str) -> bool:
    """Whether a name is valid for a folder on every system: not a path, not hidden, without unprintable characters."""
    if not name or name != name.strip() or name.startswith(".") or set(name) & set("/\\"):
        return False
    return all(map(is_printable, name)) and len(name.encode()) <= _LONGEST_NAME


def read(kind: type[Settings], path: Path = paths.PARAMS) -> Settings:
    """Read the sections that are the fields of `kind`: settings dataclasses, or plain values such as `seed: int`.

    Raises:
        ParamsError: the file is missing or not YAML, or a key of these sections is unknown, missing, ill-typed or out of range.
    """
    document = load(path)
    problems = unknown_keys(document, SECTIONS, "")
    values = typed_fields(kind, document, "", problems)
    refuse(problems, path)
    return kind(**values)


def load(path: Path = paths.PARAMS) -> dict[str, Any]:
    """Read the whole file as plain dictionaries, lists and scalars.

    Raises:
        ParamsError: it is missing, not YAML, or too large, counting each reference as a copy.
    """
    from ruamel.yaml import YAML  # here: code that checks only types, or is given its settings, works without it
    from ruamel.yaml.error import YAMLError

    try:
        with path.open(encoding="utf-8") as stream:
            text = stream.read(_LONGEST_FILE + 1)
        if len(text) > _LONGEST_FILE:
            raise ParamsError(f"{path} has more than {_LONGEST_FILE:,} characters. Is it the right file?")
        parser = YAML(typ="safe", pure=True)
        if "*" in text:  # perhaps a reference (`*name`): a few lines of them can stand for billions of values
            _count_values(parser.compose(text), {})
        document = parser.load(text)
    except FileNotFoundError:
        raise ParamsError(f"{path} is missing. Run from the project's root.") from None
    except RecursionError:
        raise ParamsError(f"{path} is nested too deeply.") from None
    except (YAMLError, *MALFORMED) as error:  # ruamel converts scalars by int(), datetime() and the like, which raise their own
        raise ParamsError(f"{path} is not valid YAML: {shortened(' '.join(str(error).split()), 300)}") from None
    if not isinstance(document, dict):
        raise ParamsError(f"{path}: expected sections ({', '.join(SECTIONS)}), got {type(document).__name__}")
    _refuse_large_numbers(document, path)
    return document


def _count_values(node: Any, counted: dict[int, int]) -> int:
    """Count the values of a YAML node, counting each reference as a copy.

    Raises:
        ValueError: there are too many, or a node refers to itself.
    """
    from ruamel.yaml.nodes import MappingNode, SequenceNode

    if id(node) in counted:
        if not counted[id(node)]:
            raise ValueError("a value refers to itself")
        return counted[id(node)]
    counted[id(node)] = 0
    parts = node.value if isinstance(node, SequenceNode) else chain(*node.value) if isinstance(node, MappingNode) else ()
    total = counted[id(node)] = 1 + sum(_count_values(part, counted) for part in parts)
    if total > _MOST_VALUES:
        raise ValueError(f"its references stand for more than {_MOST_VALUES:,} values")
    return total


def _refuse_large_numbers(value: Any, path: Path) -> None:
    """Raise an error for whole numbers of more than 64 bits, which NumPy and torch cannot hold."""
    if isinstance(value, Mapping):
        for part in chain(*value.items()):
            _refuse_large_numbers(part, path)
    elif isinstance(value, list | tuple | set):
        for part in value:
            _refuse_large_numbers(part, path)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ParamsError(f"{path}: whole numbers must be below 2**63 in size; got {quoted(value)}")


def refuse(problems: Sequence[str], path: Path = paths.PARAMS) -> None:
    """Raise the problems as one error, one line each; do nothing if there are none."""
    if problems:
        raise ParamsError(first_few([f"{path}: {problem}" for problem in problems], _LISTED, between="\n"))


def section(document: Mapping[str, Any], key: str, prefix: str, problems: list[str]) -> dict[str, Any] | None:
    """Return a mapping below `document`; add a problem and return None if it is missing or not a mapping."""
    if key not in document:
        problems.append(f"{prefix}{key} is missing")
        return None
    value = document[key]
    if not isinstance(value, dict):
        problems.append(f"{prefix}{key} must hold keys and values; got {quoted(value)}")
        return None
    return value


def unknown_keys(document: Mapping[str, Any], known: Sequence[str], prefix: str) -> list[str]:
    """List the unknown keys, each with the most similar known key."""
    problems = []
    for key in document:
        if key not in known:
            if new_name := RENAMED.get(f"{prefix}{key}"):
                problems.append(f"{prefix}{key} is now called {new_name}. Rename it")
                continue
            name = shortened(key) if isinstance(key, str) else quoted(key)
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
            problems.append(f"{prefix}{name} is unknown ({hint})")
    return problems


def typed_fields(kind: type, document: Mapping[str, Any], prefix: str, problems: list[str]) -> dict[str, Any]:
    """Read the fields of a dataclass from a mapping; add missing and ill-typed keys to `problems`."""
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

    A float may be written as a whole number, and a whole number as 16.0, because DVC considers the two equal and would not rerun
    the stage. A boolean is not a number.
    """
    if _fits(hint, value):
        return _converted(hint, value)
    problems.append(f"{key} must be {_in_words(hint)}; got {quoted(value)}")
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
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
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
