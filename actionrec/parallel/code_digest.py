"""Digest of a stage's code, from the dependencies that dvc.yaml declares for it.

It is part of the keys of finished shards and checkpoints, so that results of other code are not reused.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from actionrec.core.errors import DataError

ROOT = Path(__file__).parents[2]


def code_digest(stage: str) -> str:
    """SHA-256 over the names and contents of a stage's code, in hexadecimal.

    Args:
        stage: a name such as `extract_frames` or `train@gru`.

    Raises:
        DataError: dvc.yaml is missing, or declares a file that does not exist.
        KeyError: dvc.yaml has no such stage.
    """
    total = hashlib.sha256()
    for file in code_files(stage):
        total.update(f"{file.relative_to(ROOT).as_posix()} {file.stat().st_size}\n".encode())
        total.update(file.read_bytes())
    return total.hexdigest()


def code_files(stage: str) -> list[Path]:
    """The .py files among a stage's dependencies, sorted.

    Raises:
        DataError, KeyError: see `code_digest`.
    """
    return sorted({file for name in _dependencies(stage) for file in _python_files(name)})


def trained_models() -> list[str]:
    """The names under `stages.train.foreach` in dvc.yaml.

    Raises:
        DataError: dvc.yaml is missing.
    """
    return list(_stages().get("train", {}).get("foreach", []))


def _stages() -> dict[str, Any]:
    from ruamel.yaml import YAML  # here: importing a stage's code works without it

    try:
        stages: dict[str, Any] = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    except FileNotFoundError:
        raise DataError(f"{ROOT / 'dvc.yaml'} is missing. Stages run in a copy of the repository.") from None
    return stages


def _dependencies(stage: str) -> list[str]:
    """The stage's `deps` in dvc.yaml, with the model's name filled in."""
    name, _, model = stage.partition("@")
    definition = _stages()[name]
    definition = definition["do"] if model else definition
    return [dependency.replace("${key}", model) for dependency in definition["deps"]]


def _python_files(dependency: str) -> Iterator[Path]:
    if not dependency.startswith(("actionrec/", "stages/")):
        return
    path = ROOT / dependency
    if not path.exists():
        raise DataError(f"dvc.yaml: the dependency {dependency} does not exist. Remove or correct it.")
    yield from [path] if path.is_file() else path.rglob("*.py")
