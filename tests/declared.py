"""What a stage imports, and what dvc.yaml declares for it."""

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from actionrec.models import MODELS

ROOT = Path(__file__).parents[1]
PLUMBING = (
    "actionrec/__init__.py",
    "actionrec/version.py",
    "actionrec/core/",
    "actionrec/parallel/",
    "stages/__init__.py",
)  # cannot change a result: tests/core/test_plumbing.py


def named_at_run_time(stage) -> list[str]:
    """The modules that a stage imports by a name that is known only when it runs."""
    module, own = stage.cmd.split()[2], stage.cmd.split()[-1]
    return {
        "stages.train": [f"actionrec.models.{own}"],
        "stages.check": [f"actionrec.models.{name}" for name in MODELS],
        "stages.package": [f"actionrec.models.{name}" for name in MODELS],
    }.get(module, [])


def imported_by(stage) -> set[str]:
    """The project files behind a stage, without plumbing and without files that have no code."""
    files = files_behind([stage.cmd.split()[2], *named_at_run_time(stage)])
    names = {Path(file).relative_to(ROOT).as_posix() for file in files if not is_empty(Path(file))}
    return {name for name in names if not is_plumbing(name)}


def is_plumbing(name: str) -> bool:
    return name.startswith(PLUMBING)


@cache
def is_empty(file: Path) -> bool:
    """Whether a module has a docstring and imports, and nothing else."""
    nodes = ast.parse(file.read_bytes()).body
    return all(
        isinstance(node, ast.Import | ast.ImportFrom) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in nodes
    )


def declared_code(stage) -> set[str]:
    """The files and folders of code among a stage's dependencies."""
    names = {Path(dep.fs_path).relative_to(ROOT).as_posix() for dep in stage.deps}
    return {name for name in names if name.startswith(("actionrec/", "stages/"))}


def covers(declared: Iterable[str], name: str) -> bool:
    return any(name == one or name.startswith(f"{one}/") for one in declared)


def files_behind(modules: Iterable[str]) -> list[str]:
    """The files of modules of the project and of all project modules that they import, also in functions, sorted."""
    found: dict[str, Path] = {}
    open_ends = list(modules)
    while open_ends:
        name = open_ends.pop()
        if name in found:
            continue
        file = _file(name)
        if file is None:
            raise FileNotFoundError(f"no module {name} below {ROOT}")
        found[name] = file
        open_ends += _imported(file)
        open_ends += [name.rpartition(".")[0]] if "." in name else []
    return sorted(map(str, found.values()))


@cache
def _file(module: str) -> Path | None:
    """The file of one of the project's modules; None where the name is no module."""
    place = ROOT / module.replace(".", "/")
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)


@cache
def _imported(file: Path) -> list[str]:
    """The project's modules that a file imports."""
    found: list[str] = []
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        found += [name for name in names if name.split(".")[0] == "actionrec" and _file(name)]  # from actionrec import metrics
    return found
