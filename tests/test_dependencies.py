"""What the project imports, and what pyproject.toml and requirements*.txt say that it needs."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
GROUPS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
OURS = {"actionrec", "stages", "benchmarks", *(file.stem for file in (ROOT / "tests").glob("*.py"))}
FILES = {"run": "requirements.txt", "ray": "requirements-ray.txt", "dev": "requirements-dev.txt"}


def direct(group: str) -> list[Requirement]:
    """The direct dependencies of a group, with those of the groups that it includes."""
    found = []
    for entry in GROUPS[group]:
        found += direct(entry["include-group"]) if isinstance(entry, dict) else [Requirement(entry)]
    return found


def imported(*folders: str) -> dict[str, str]:
    """Top-level modules of others that the Python files of some folders import, wherever in them, and a file that does."""
    found = {}
    for file in (file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            else:
                continue
            found |= {name.split(".")[0]: str(file.relative_to(ROOT)) for name in names}
    return {name: file for name, file in found.items() if name not in OURS | sys.stdlib_module_names}


@pytest.mark.parametrize(("group", "folders"), [("ray", ["actionrec", "stages"]), ("dev", ["benchmarks", "tests"])])
def test_every_imported_package_is_a_direct_dependency(group, folders):
    named = {canonicalize_name(requirement.name) for requirement in direct(group)}
    distributions = packages_distributions()
    unnamed = {
        module: file
        for module, file in imported(*folders).items()
        if named.isdisjoint(map(canonicalize_name, distributions.get(module, [])))
    }
    assert unnamed == {}


def test_ray_alone_needs_more_than_the_run_group():
    named = {canonicalize_name(requirement.name) for requirement in direct("run")}
    distributions = packages_distributions()
    modules = imported("actionrec", "stages")
    assert {module for module in modules if named.isdisjoint(map(canonicalize_name, distributions[module]))} == {"ray"}


@pytest.mark.parametrize("group", FILES)
def test_the_exact_versions_satisfy_every_direct_dependency(group):
    lines = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / FILES[group]).read_text(encoding="utf-8"), re.MULTILINE)
    pinned = {canonicalize_name(name): version for name, version in lines}
    unmet = [str(one) for one in direct(group) if not one.specifier.contains(pinned.get(canonicalize_name(one.name), "0"))]
    assert unmet == []
