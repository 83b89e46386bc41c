"""What the project imports against the dependencies in pyproject.toml and the versions in requirements*.txt."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
OURS = {"actionrec", "stages", "benchmarks", *(file.stem for file in (ROOT / "tests").glob("*.py"))}
OPTIONAL = {"torchcodec", "decord"}  # other decoders: a benchmark measures those that are installed
DEFAULT = ("web", "export")
FILES = {"requirements.txt": DEFAULT, "requirements-ray.txt": (*DEFAULT, "ray"), "requirements-dev.txt": (*EXTRAS, "dev")}
"""Compiled file -> extras, and the dependency group dev."""
FOLDERS = {"web": "actionrec/web", "export": "actionrec/export", "ray": "actionrec/parallel/engines"}
"""Extra -> the only folder that imports its packages."""


def requirements(*extras: str) -> list[Requirement]:
    """The direct dependencies of the package with some extras, or with the group dev."""
    groups = {**EXTRAS, **PYPROJECT["dependency-groups"]}
    return [Requirement(line) for lines in (PROJECT["dependencies"], *(groups[extra] for extra in extras)) for line in lines]


def imported(*folders: str, without: tuple[str, ...] = ()) -> dict[str, str]:
    """Third-party top-level modules that the Python files of some folders import, each with one file that does."""
    modules = {}
    for file in (file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))):
        if any(file.is_relative_to(ROOT / folder) for folder in without):
            continue
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            else:
                continue
            modules |= {name.split(".")[0]: str(file.relative_to(ROOT)) for name in names}
    return {name: file for name, file in modules.items() if name not in OURS | OPTIONAL | sys.stdlib_module_names}


@cache
def installed() -> Mapping[str, list[str]]:
    """Top-level module -> the distributions that have it."""
    return packages_distributions()


def undeclared(modules: dict[str, str], *extras: str) -> dict[str, str]:
    declared = {canonicalize_name(requirement.name) for requirement in requirements(*extras)}
    distributions = installed()
    return {
        module: file
        for module, file in modules.items()
        if declared.isdisjoint(map(canonicalize_name, distributions.get(module, [])))
    }


def test_the_base_needs_no_extra():
    assert undeclared(imported("actionrec", "stages", without=tuple(FOLDERS.values()))) == {}


@pytest.mark.parametrize("extra", FOLDERS)
def test_an_extra_has_what_its_folder_imports_beside_the_base(extra):
    modules = imported(FOLDERS[extra])
    assert undeclared(modules, extra) == {}
    declared = {canonicalize_name(Requirement(line).name) for line in EXTRAS[extra]} - {"python-multipart"}  # FastAPI imports it
    used = {canonicalize_name(name) for module in modules for name in installed()[module]}
    assert declared <= used


def test_tests_and_benchmarks_import_direct_dependencies():
    assert undeclared(imported("benchmarks", "tests"), *EXTRAS, "dev") == {}


@pytest.mark.parametrize("file", FILES)
def test_the_exact_versions_satisfy_every_direct_dependency(file):
    lines = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    pinned = {canonicalize_name(name): version for name, version in lines}
    unmet = [
        str(one) for one in requirements(*FILES[file]) if not one.specifier.contains(pinned.get(canonicalize_name(one.name), "0"))
    ]
    assert unmet == []


VERSIONS = ("3.11", "3.12", "3.13")


@pytest.fixture(scope="module")
def resolving(tmp_path_factory):
    """Python version -> the running program that resolves for it, and its output file: all at once, for they wait for the index."""
    programs = {}
    for version in VERSIONS:
        file = tmp_path_factory.mktemp("resolved") / "resolved.txt"
        command = ["uv", "pip", "compile", "pyproject.toml", "--all-extras", "--python-version", version, "--no-annotate"]
        command += ["--constraint", "requirements-dev.txt", "--output-file", str(file)]
        programs[version] = (
            subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE),
            file,
        )
    yield programs
    for program, _ in programs.values():
        program.kill()
        program.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_the_dependencies_resolve_on_every_supported_python(version, resolving):
    """With the versions of requirements-dev.txt; needs the package index."""
    assert PROJECT["requires-python"] == ">=3.11,<3.14"
    program, file = resolving[version]
    _, said = program.communicate(timeout=300)
    if program.returncode and re.search(r"error sending request|dns error|timed out|[Cc]onnect", said):
        pytest.skip(f"the package index cannot be reached: {said[:300]}")
    assert program.returncode == 0, said
    resolved = set(re.findall(r"^[\w.-]+==\S+", file.read_text(encoding="utf-8"), re.MULTILINE))
    pinned = set(re.findall(r"^[\w.-]+==\S+", (ROOT / "requirements-dev.txt").read_text(encoding="utf-8"), re.MULTILINE))
    assert resolved <= pinned
