"""A finished project: the whole pipeline on small clips, run once for all tests."""

from pathlib import Path

import pytest
from finished import real_project, real_run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Path]:
    """A project after its first `dvc repro`, what that printed, and a folder of the files that each stage imported."""
    folder = real_run(tmp_path_factory.getbasetemp())
    return folder / "project", (folder / "printed.txt").read_text(), folder / "imports"


@pytest.fixture(scope="session")
def tiny_clips(finished: tuple[Path, str, Path]) -> Path:
    """The clips of the finished project."""
    return (finished[0] / "data/raw/tiny").resolve()


@pytest.fixture
def finished_copy(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    """A copy of the finished project, to be changed."""
    return real_project(tmp_path_factory.getbasetemp(), tmp_path / "project")
