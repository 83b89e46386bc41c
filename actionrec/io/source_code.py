"""Which of the project's files a module's results come from: its own, and all those that it imports, however far."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from actionrec.io.files import digest, sha256_of

_ROOT = Path(__file__).parents[2]
_PACKAGE = "actionrec"


def files_behind(modules: Iterable[str]) -> list[str]:
    """The files of some of the project's modules, and of all project modules that they import, sorted.

    Modules that are named at run time only (`import_module`) are not found: name them as well.

    Raises:
        FileNotFoundError: there is no such module.
    """
    found: dict[str, Path] = {}
    open_ends = list(modules)
    while open_ends:
        name = open_ends.pop()
        if name in found:
            continue
        file = _file(name)
        if file is None:
            raise FileNotFoundError(f"no module {name} below {_ROOT}")
        found[name] = file
        open_ends += [imported for imported in _imported(file) if _file(imported)]
        open_ends += [name.rpartition(".")[0]] if "." in name else []
    return sorted(map(str, found.values()))


def digest_behind(modules: Iterable[str]) -> str:
    """Digest of the code that some modules' results come from: names and contents of its files."""
    return digest({str(Path(file).relative_to(_ROOT)): sha256_of(Path(file)) for file in files_behind(modules)})


def _file(module: str) -> Path | None:
    """The file of one of the project's modules; None where the name is no module."""
    place = _ROOT / module.replace(".", "/")
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)


def _imported(file: Path) -> Iterator[str]:
    """Names that may be modules of the project, such as both of `from actionrec import metrics`."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == _PACKAGE)
