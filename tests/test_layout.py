"""The layout that docs/architecture.md describes."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/architecture.md").read_text()
TABLE = PAGE[PAGE.index("| folder | subject |") :].split("\n\n")[0]
LAYERS = [re.findall(r"`(\w+)/`", line.split("|")[1]) for line in TABLE.splitlines()[2:]]
RANK = {folder: rank for rank, folders in enumerate(LAYERS) for folder in folders}
PACKAGE = ROOT / "actionrec"


def imported_folders(file: Path) -> set[str]:
    """Folders of the package that a module imports, also in functions."""
    names = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("actionrec.")} & set(RANK)


def test_every_folder_is_in_the_table():
    assert set(RANK) == {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}


@pytest.mark.parametrize("folder", RANK)
def test_a_folder_imports_only_folders_above_it(folder):
    imported = set().union(*map(imported_folders, (PACKAGE / folder).rglob("*.py")))
    assert {other for other in imported - {folder} if RANK[other] >= RANK[folder]} == set()
