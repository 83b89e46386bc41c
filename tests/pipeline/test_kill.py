"""`kill -9` at random moments: nothing that was finished is done again, nobody goes on writing, and the bytes come out the same."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from film import write_video
from projects import clone, commit, edit_params, flat, run
from ruamel.yaml import YAML

from actionrec.pipeline import dvc_process

pytestmark = pytest.mark.slow

Kill = Callable[["subprocess.Popen[bytes]"], None]

SETTINGS = {
    "data": {"dataset": "mine"},
    "frames": {"count": 8, "resolution": 96, "shards": 24},
    "features": {"backbone": "resnet18", "precision": "fp32"},
    "train": {"epochs": 12},
    "model": {"hidden_dim": 128},
    "models": {"transformer": {"d_model": 128, "num_heads": 4, "num_layers": 2, "ff_dim": 256}},
}
TARGETS = ("train@gru", "train@transformer")
HEAVY = ("data/frames/", "data/features/")
MADE = ("data/frames", "data/features", "data/models", "data/predictions", "metrics/gru", "metrics/transformer")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A project after a `dvc repro` that nobody disturbed, with 48 clips in 24 shards."""
    project = tmp_path_factory.mktemp("undisturbed") / "project"
    clone(project)
    data = project / "data" / "raw" / "mine"
    for number in range(48):
        label = ("Run", "Sit", "Jump")[number % 3]
        (data / label).mkdir(parents=True, exist_ok=True)
        write_video(data / label / f"v_{label}_g{number // 3 % 8 + 1:02d}_c{number:02d}.avi", 40 + number)
    edit_params(project, flat(SETTINGS))
    commit(project)
    run("dvc", "repro", *TARGETS, cwd=project)
    return project


@pytest.fixture
def project(undisturbed, tmp_path):
    """The same with its clips divided and nothing more."""
    return undone(undisturbed, tmp_path / "project", "extract_frames")


@pytest.fixture
def ready_to_train(undisturbed, tmp_path):
    """The same before the first training."""
    return undone(undisturbed, tmp_path / "project", "train")


def undone(undisturbed: Path, copy: Path, first: str) -> Path:
    """A copy in which the stages from `first` on have not run, and no run is remembered."""
    order = ("extract_frames", "finetune", "resnet_features", "train")
    shutil.copytree(undisturbed, copy, symlinks=True)
    for folder in (".work", ".dvc/tmp", ".dvc/cache/runs"):
        shutil.rmtree(copy / folder)
    yaml, file = YAML(), copy / "dvc.lock"
    lock = yaml.load(file)
    for name in [name for name in lock["stages"] if name.partition("@")[0] in order[order.index(first) :]]:
        for output in lock["stages"].pop(name)["outs"]:
            path = copy / output["path"]
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    yaml.dump(lock, file)
    return copy


def made(project: Path) -> dict[str, bytes]:
    files = [file for name in MADE for file in (project / name, *(project / name).rglob("*")) if file.is_file()]
    return {str(file.relative_to(project)): file.read_bytes() for file in files if file.name not in ("timing.json", ".gitignore")}


def alive(session: int) -> list[str]:
    """Command lines of a session's processes that have not ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, own = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(own) == session and state not in "ZX":
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except (OSError, ValueError):
            continue
    return found


def kill_alone(process: subprocess.Popen[bytes]) -> None:
    process.kill()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)


def kill_its_dvc(process: subprocess.Popen[bytes]) -> None:
    """Kill the `dvc` that a program has started, and let the program itself end."""
    for child in psutil.Process(process.pid).children():
        child.kill()


def start_and_kill(command: list[str], project: Path, work: str, chance: random.Random, kill: Kill) -> None:
    """Start a program, wait until work was finished once to three times, and kill it a moment later."""

    def finished() -> set[tuple[str, int]]:
        paths = [path for path in (project / ".work" / work).glob("*") if not path.name.startswith(".")]
        return {(str(path), status.st_mtime_ns) for path in paths if (status := _stat(path))}

    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=project,
        env={**os.environ, "ACTIONREC_WORKERS": "2"},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    seen, wanted = finished(), chance.randint(1, 3)
    deadline = time.monotonic() + 120
    while process.poll() is None and wanted and time.monotonic() < deadline:
        now = finished()
        wanted, seen = wanted - (now != seen), now
        time.sleep(0.005)
    time.sleep(chance.uniform(0, 0.05))
    if process.poll() is None:
        kill(process)
    process.wait(120)
    until = time.monotonic() + 10
    while (left := alive(process.pid)) and time.monotonic() < until:
        time.sleep(0.05)
    assert left == []


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def shards(project: Path, stage: str) -> dict[str, int]:
    """Each finished shard's folder, with its inode."""
    return {folder.name: folder.stat().st_ino for folder in (project / ".work" / stage).glob("[!.]*") if folder.is_dir()}


@pytest.mark.parametrize(("stage", "work"), [("extract_frames", "frames"), ("resnet_features", "features")])
def test_finished_shards_outlive_their_stage(undisturbed, tmp_path, stage, work):
    project = undone(undisturbed, tmp_path / "project", stage)
    chance = random.Random(stage)
    for kill in range(3):
        before = shards(project, work)
        start_and_kill([f"stages.{stage}"], project, work, chance, (kill_alone, kill_group)[kill % 2])
        after = shards(project, work)
        assert before.items() <= after.items()  # the same folders: none was made again
    assert after
    run("dvc", "repro", "resnet_features", cwd=project)
    final = shards(project, work)
    assert after.items() <= final.items()
    assert made(project) == {name: held for name, held in made(undisturbed).items() if name.startswith(HEAVY)}


def test_training_goes_on_from_its_last_epoch(undisturbed, ready_to_train):
    project, chance = ready_to_train, random.Random(5)
    for kill in range(4):
        model = ("gru", "transformer")[kill % 2]
        start_and_kill(["stages.train", model], project, f"training/{model}", chance, kill_alone if kill % 3 else kill_group)
        assert len(list((project / ".work" / "training" / model).glob("*.safetensors"))) == 1
    run("dvc", "repro", *TARGETS, cwd=project)
    assert made(project) == made(undisturbed)


def test_a_killed_dvc_takes_its_stage_along_and_the_next_one_goes_on(undisturbed, project):
    chance = random.Random(6)
    for kill, work in enumerate(("frames", "features", "training/gru", "training/transformer")):
        start_and_kill(["dvc", "repro", *TARGETS], project, work, chance, (kill_alone, kill_group)[kill % 2])
    run("dvc", "repro", *TARGETS, cwd=project)
    assert made(project) == made(undisturbed)
    assert np.load(project / "data/predictions/gru.npz")["logits"].shape[1] == 3


def test_a_killed_train_all_and_its_killed_dvc_leave_nobody_running_and_the_next_one_goes_on(undisturbed, ready_to_train):
    project, yaml, file = ready_to_train, YAML(), ready_to_train / "dvc.yaml"
    pipeline = yaml.load(file)
    train = pipeline["stages"]["train"]
    train["foreach"] = {name: item for name, item in train["foreach"].items() if f"train@{name}" in TARGETS}
    yaml.dump(pipeline, file)
    chance = random.Random(7)
    command = ["actionrec", "train-all", "--jobs", "2"]
    for turn, kill in enumerate((kill_alone, kill_its_dvc, kill_group, kill_its_dvc)):
        start_and_kill(command, project, ("training/gru", "training/transformer")[turn % 2], chance, kill)
        if kill is kill_alone:
            (project / dvc_process.LOCK_FILE).write_text("")  # as a kill in the middle of DVC's writing leaves it
    run(sys.executable, "-m", *command, cwd=project)
    assert made(project) == made(undisturbed)
    assert "up to date" in run("dvc", "status", *TARGETS, cwd=project)
