"""A finished project: the whole pipeline on small clips, run once for all tests."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from projects import TINY, built_once, clone, commit, edit_params, flat, run

# Run by each Python process of the pipeline: notes under its stage's name which files it imported.
SPY = """
import atexit, os, sys

def note():
    if stage := os.environ.get("DVC_STAGE"):
        files = [getattr(module, "__file__", None) or "" for module in [*sys.modules.values()]]
        with open(os.path.join(os.path.dirname(__file__), stage), "a") as stream:
            stream.write("\\n".join(files) + "\\n")

atexit.register(note)
"""


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Path]:
    """A project after its first `dvc repro`, what that printed, and a folder of the files that each stage imported."""
    built = built_once(tmp_path_factory.getbasetemp(), "finished", build)
    return built / "project", (built / "printed.txt").read_text(), built / "imports"


def build(folder: Path) -> None:
    project, spy = folder / "project", folder / "imports"
    clone(project)
    write_clips(folder / "clips")
    (project / "data" / "raw" / "tiny").symlink_to(folder / "clips")
    edit_params(project, flat(TINY))
    spy.mkdir()
    (spy / "sitecustomize.py").write_text(SPY)
    (folder / "printed.txt").write_text(run("dvc", "repro", cwd=project, PYTHONPATH=str(spy)))
    for note in set(spy.iterdir()) - {spy / "sitecustomize.py", spy / "__pycache__"}:
        files = {Path(line) for line in note.read_text().splitlines()}
        own = sorted(file.relative_to(project.resolve()).as_posix() for file in files if file.is_relative_to(project.resolve()))
        note.write_text("\n".join(own))
    commit(project)


def write_clips(folder: Path) -> None:
    """Three classes of bright, dark and striped clips, in six groups."""
    for number, name in enumerate(("Bright", "Dark", "Striped")):
        (folder / name).mkdir(parents=True)
        for group in range(1, 7):
            random = np.random.default_rng((number, group))
            path = folder / name / f"v_{name}_g{group:02d}_c01.avi"
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"XVID"), 25, (96, 64))
            for _ in range(9):
                frame = random.integers(0, 60, (64, 96, 3), dtype=np.uint8) + np.uint8(150 if name == "Bright" else 0)
                frame[:, ::8] += np.uint8(100 if name == "Striped" else 0)
                writer.write(frame)
            writer.release()


@pytest.fixture(scope="session")
def tiny_clips(finished: tuple[Path, str, Path]) -> Path:
    """The clips of the finished project."""
    return (finished[0] / "data/raw/tiny").resolve()


@pytest.fixture
def finished_copy(finished: tuple[Path, str, Path], tmp_path: Path) -> Path:
    """A copy of the finished project, to be changed."""
    copy = tmp_path / "project"
    shutil.copytree(finished[0], copy, symlinks=True)
    return copy
