"""Bytes that flip in what DVC stores: noticed by its readers, and repaired by one command."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from damaged import flip
from dvc.repo import Repo
from projects import run

from actionrec.io import checksums
from actionrec.pipeline import dvc_process

ROOT = Path(__file__).parents[2]
PIPELINE = """
stages:
  fetch: {cmd: python stage.py clips/a clips/b, deps: [stage.py], outs: [clips: {persist: true}]}
  folder: {cmd: python stage.py folder/a folder/b, deps: [clips], outs: [folder]}
  file: {cmd: python stage.py file, deps: [folder], outs: [file]}
"""
STAGE = """
import sys
from itertools import product
from pathlib import Path
for name in sys.argv[1:]:
    Path(name).parent.mkdir(exist_ok=True)
    if not Path(name).exists():
        Path(name).write_text(f"{name}\\n" * 100)
"""


def begin(link: str = "hardlink"):
    """Run a small pipeline in the current folder.

    Args:
        link: how DVC puts files into the workspace.
    """
    Repo.init(no_scm=True).close()
    with Path(".dvc/config").open("a") as config:
        config.write(f"    analytics = false\n[cache]\n    type = {link}\n")
    Path("dvc.yaml").write_text(PIPELINE)
    Path("stage.py").write_text(STAGE)
    run(sys.executable, "-m", "dvc", "repro", cwd=Path.cwd())


@pytest.fixture
def small(project):
    begin()
    return project


def repair(project, expected=0):
    """Run the command; return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": os.defpath}
    command = [sys.executable, "-m", "actionrec", "repair"]
    done = subprocess.run(command, cwd=project, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == expected, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def outputs(folder):
    names = ("clips", "folder", "file", "data/frames", "data/features", "data/predictions", "metrics/audit.json")
    files = [path for name in names for path in (folder / name, *(folder / name).rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.name != ".gitignore"}


def objects(project):
    """The files in DVC's cache, each with the MD5 that is its name."""
    found = (path for path in (project / ".dvc/cache/files/md5").glob("??/*"))
    return {path: f"{path.parent.name}{path.name.removesuffix('.dir')}" for path in found}


def cached(project, output):
    """The file in the cache that an output is a link to or a copy of."""
    md5 = hashlib.md5((project / output).read_bytes()).hexdigest()
    return next(path for path, name in objects(project).items() if name == md5)


def is_up_to_date(project):
    assert all(hashlib.md5(path.read_bytes()).hexdigest() == md5 for path, md5 in objects(project).items())
    return "up to date" in run("dvc", "status", cwd=project)


@pytest.mark.parametrize("link", ["hardlink", "symlink", "copy"])
def test_damaged_files_are_made_again(project, link):
    begin(link)
    before = outputs(project)
    for output in (project / "folder/a", cached(project, "file")):
        flip(output, keep_time=True)
    printed = repair(project)
    assert outputs(project) == before
    assert is_up_to_date(project), printed


def test_a_damaged_list_of_a_folders_files_is_made_again(small):
    before = outputs(small)
    lists = [path for path in objects(small) if path.suffix == ".dir"]
    assert len(lists) == 2
    for path in lists:
        flip(path, 20, keep_time=True)
    repair(small)
    assert outputs(small) == before
    run(sys.executable, "-m", "dvc", "repro", cwd=small)
    assert is_up_to_date(small)


def test_where_nothing_is_damaged_nothing_is_run(small):
    status = {path: path.stat().st_mtime_ns for path in small.rglob("*") if path.is_file() and ".dvc" not in path.parts}
    printed = repair(small)
    assert "DVC's cache: checked 7 files, removed 0 damaged ones" in printed
    assert "Running stage" not in printed
    assert status == {path: path.stat().st_mtime_ns for path in status}


def test_clips_are_never_removed(small):
    flip(Path("clips/a"))
    damaged = Path("clips/a").read_bytes()
    Path("clips/mine").write_text("a person's own")
    printed = repair(small, expected=2)
    assert "error: 1 clips are damaged (and not removed): clips/a. Copy them again" in printed
    assert Path("clips/a").read_bytes() == damaged
    assert Path("clips/mine").exists()


def test_an_unreadable_lock_file_is_removed(small):
    Path(dvc_process.LOCK_FILE).write_text("")
    assert f"removed {dvc_process.LOCK_FILE}" in repair(small)
    assert is_up_to_date(small)


def test_outside_of_a_dvc_project_it_is_bad_input(project):
    assert "error: DVC cannot be used here (you are not inside of a DVC repository" in repair(project, expected=2)


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "reader"), [("data/frames", "resnet_features"), ("data/features", "audit")])
def test_a_byte_that_flips_under_dvc_stops_the_next_stage_and_one_command_repairs_it(finished, tmp_path, folder, reader):
    project = tmp_path / "project"
    subprocess.run(["cp", "-a", finished[0], project], check=True)  # hard links stay hard links
    before = outputs(project)
    assert set(before) > {"data/frames/SHA256SUMS", "data/features/SHA256SUMS", "metrics/audit.json"}
    shard = next(path for path in sorted((project / folder).iterdir()) if path.name.startswith("shard"))
    assert shard.stat().st_nlink >= 3  # .work, DVC's cache and the output are one file
    flip(shard, shard.stat().st_size // 2, keep_time=True)
    shutil.rmtree(project / ".work")  # so that nothing of an earlier run is taken instead
    command = ["dvc", "repro", "-f", "--single-item", reader]
    refused = subprocess.run(command, cwd=project, text=True, capture_output=True, check=False, env=dvc_process.environment())
    assert refused.returncode != 0
    assert f"error: {folder}: 1 of " in refused.stderr
    assert f"do not match SHA256SUMS: {shard.name}. Run `python -m actionrec repair`." in refused.stderr

    printed = repair(project)
    assert f"{folder}/{shard.name}: damaged" in printed
    assert shard.read_bytes() == before[f"{folder}/{shard.name}"]
    assert checksums.verify(project / folder, [shard.name])
    run("dvc", "repro", "audit", cwd=project)
    assert outputs(project) == before
