"""core/ and parallel/ are plumbing: they import nothing that could change pixels, features or weights."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "actionrec"
OWN = {"core": ("actionrec.core",), "parallel": ("actionrec.core", "actionrec.io", "actionrec.parallel")}
LIBRARIES = {"ruamel", "tqdm", "psutil"}
FILES = [*PACKAGE.glob("core/**/*.py"), *PACKAGE.glob("parallel/**/*.py")]


def imported_modules(file):
    """Every module that a file imports, at the top or in a function, with the names of `from package import name`."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_allowed(module, file):
    library = module.partition(".")[0]
    if library == "actionrec":
        return f"{module}.".startswith(tuple(f"{name}." for name in OWN[file.relative_to(PACKAGE).parts[0]]))
    return library in sys.stdlib_module_names | LIBRARIES or (library == "ray" and file.parent == PACKAGE / "parallel/engines")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_plumbing_imports_only_the_standard_library_and_other_plumbing(file):
    assert [module for module in imported_modules(file) if not is_allowed(module, file)] == []


def test_dynamic_imports_are_used_by_the_ray_engine_alone():
    """An import by name would escape the check above. The Ray engine imports the stage whose function it is given."""
    names = {"import_module", "__import__", "exec", "eval"}
    users = {
        str(file.relative_to(PACKAGE))
        for file in FILES
        for node in ast.walk(ast.parse(file.read_bytes()))
        if (isinstance(node, ast.Name) and node.id in names) or (isinstance(node, ast.Attribute) and node.attr in names)
    }
    assert users == {"parallel/engines/ray.py"}


@pytest.mark.parametrize(
    ("code", "folder", "refused"),
    [
        ("def f():\n    import torch", "core", ["torch"]),
        ("import ray", "parallel", ["ray"]),
        ("from actionrec.io import files", "core", ["actionrec.io.files"]),
        ("from actionrec import core_other", "core", ["actionrec.core_other"]),
        ("import json, tqdm\nfrom actionrec.core import paths", "core", []),
    ],
)
def test_the_check_finds_imports_that_are_not_allowed(tmp_path, monkeypatch, code, folder, refused):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    file = tmp_path / folder / "module.py"
    file.parent.mkdir()
    file.write_text(code)
    assert [module for module in imported_modules(file) if not is_allowed(module, file)] == refused
