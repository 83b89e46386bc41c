"""Real DVC runs of a small pipeline with the stages that train-all knows, whose models take as long and fail as they are told."""

import fcntl
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from dvc.repo import Repo
from processes import ends
from ruamel.yaml import YAML

from actionrec.core.errors import ActionrecError
from actionrec.io import machine
from actionrec.pipeline import dvc_process, train_all

ROOT = Path(__file__).parents[2]
# In dvc.yaml's order; the longest is the last here, and the first to be started.
MODELS = ("simple_rnn", "gru", "transformer")

PIPELINE = """
stages:
  split: {cmd: python stage.py split, deps: [stage.py], outs: [split]}
  resnet_features: {cmd: python stage.py resnet_features, deps: [stage.py, split], outs: [resnet_features]}
  train:
    foreach: {simple_rnn: {}, gru: {}, transformer: {}}
    do: {cmd: "python stage.py ${key}", deps: [stage.py, resnet_features], params: ["${key}"], outs: ["${key}"]}
"""
STAGE = """
import os, sys, time
from pathlib import Path
from actionrec.core import entry
from actionrec.core.errors import TrainingError
from actionrec.io.params import load

def main():
    name = sys.argv[1]
    settings = load().get(name, {})
    with open("events", "a") as events:
        events.write(f"start {name}\\n")
    if settings.get("fails") == "clearly":
        raise TrainingError("the loss is not finite")
    if settings.get("fails"):
        raise IndexError("a defect")
    sys.stderr.write(f"Training {name}: 1 of 2 epochs\\n")
    Path(f"{name}.pid").write_text(str(os.getpid()))
    time.sleep(settings.get("seconds", 0))
    Path(name).write_text(sys.prefix)
    sys.stderr.write(f"{name}: test top-1 50 %\\n")
    with open("events", "a") as events:
        events.write(f"end {name}\\n")

entry.run(main)
"""
QUICK = {"simple_rnn": {"seconds": 0.1}, "gru": {"seconds": 0.1}, "transformer": {"seconds": 3}}


@pytest.fixture
def small(project):
    Repo.init(no_scm=True).close()
    (project / "dvc.yaml").write_text(PIPELINE)
    (project / "stage.py").write_text(STAGE)
    settle(QUICK)
    return project


def settle(settings: dict[str, dict[str, object]]) -> None:
    YAML().dump(settings, Path("params.yaml"))


def begin(*arguments: object) -> subprocess.Popen[str]:
    """Start train-all as a person would who has not activated the environment."""
    command = [sys.executable, "-m", "actionrec", "train-all", *map(str, arguments)]
    # In the shell that DVC takes where a person has none, as in a container: Debian's stays between DVC and its stage.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": os.defpath, "SHELL": "/bin/sh"}
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def train(*arguments: object) -> tuple[int, str]:
    process = begin(*arguments)
    stdout, stderr = process.communicate(timeout=120)
    assert stdout == ""
    return process.returncode, stderr


def states(printed: str) -> dict[str, str]:
    """The last state that was told of each model."""
    return dict(re.findall(rf"^({'|'.join(MODELS)}) +(\w+)", printed, re.MULTILINE))


def dvc(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def locked(folder: Path) -> object:
    """The contents of dvc.lock, whatever the order of the stages."""
    return YAML(typ="safe").load(folder / "dvc.lock")


def wait_for(path: Path) -> str:
    for _ in range(600):
        if path.exists() and (text := path.read_text()):
            return text
        time.sleep(0.1)
    raise AssertionError(f"{path} did not come")


@pytest.mark.slow
def test_what_dvc_knows_is_what_one_after_the_other_leaves(small, tmp_path_factory):
    other = tmp_path_factory.mktemp("sequential") / "project"
    shutil.copytree(small, other)
    status, printed = train("--jobs", 2)
    assert status == 0, printed
    assert states(printed) == dict.fromkeys(MODELS, "done")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path}
    subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=other, env=environment, check=True, capture_output=True)
    lock = locked(small)
    assert lock == locked(other)
    assert json.loads(dvc("status", "--json")) == {}

    events = [line.split() for line in (small / "events").read_text().splitlines() if line.split()[1] in MODELS]
    started = re.findall(r"^(\w+) +running$", printed, re.MULTILINE)
    assert started == ["transformer", "gru", "simple_rnn"]  # the longest first
    running = [sum(1 if what == "start" else -1 for what, _ in events[: place + 1]) for place in range(len(events))]
    assert max(running) <= 2
    log = (small / ".work/train-all/gru.log").read_text()
    assert "test top-1 50 %" in log
    assert (small / "gru").read_text() == sys.prefix  # the stages' python is the one that runs train-all

    (small / "dvc.lock").unlink()
    assert states(train("--jobs", 3)[1]) == dict.fromkeys(MODELS, "restored")
    assert locked(small) == lock


@pytest.mark.slow
def test_failing_models_are_named_with_their_reasons_and_stop_no_other(small):
    settle(QUICK | {"gru": {"fails": "clearly"}, "transformer": {"fails": "by a defect"}})
    status, printed = train("--jobs", 2)
    assert status == 2
    assert states(printed) == {"simple_rnn": "done", "gru": "failed", "transformer": "failed"}
    summary = printed[printed.index("error: 2 of 3 models failed") :]
    assert "gru: the loss is not finite (see .work/train-all/gru.log)" in summary
    assert "transformer: ERROR: failed to reproduce 'train@transformer'" in summary
    assert "IndexError: a defect" in printed  # the log's end
    assert "The other model is trained" in summary
    assert "ERROR: failed to reproduce 'train@gru'" in printed  # the log's end
    assert set(json.loads(dvc("status", "--json"))) == {"train@gru", "train@transformer"}


@pytest.mark.slow
def test_without_what_comes_before_nothing_is_trained(small):
    settle(QUICK | {"resnet_features": {"fails": "clearly"}})
    status, printed = train("--jobs", 2)
    assert status == 2
    assert "error: the loss is not finite" in printed
    assert "nothing was trained" in printed
    assert not any((small / name).exists() for name in MODELS)


def holders(folder):
    """Processes in the process table, ended ones that nobody has asked for their status too, that hold one of DVC's locks."""
    lock = folder / ".dvc" / "tmp" / "rwlock"
    locks = json.loads(lock.read_text() or "{}") if lock.exists() else {}
    found = [*itertools.chain(*locks.get("read", {}).values()), *locks.get("write", {}).values()]
    return {holder["pid"] for holder in found if psutil.pid_exists(holder["pid"])}


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_whoever_ends_it_ends_all_that_it_started_and_keeps_what_is_trained(small, how):
    settle(QUICK | {"transformer": {"seconds": 600}})
    process = begin("--jobs", 2)
    wait_for(small / "gru")
    child = int(wait_for(small / "transformer.pid"))
    for _ in range(100):  # until DVC has noted it
        if "train@gru" in (small / "dvc.lock").read_text():
            break
        time.sleep(0.1)
    process.send_signal(how)
    printed = process.communicate(timeout=30)[1]
    assert process.returncode == (-how if how == signal.SIGKILL else 130), printed
    assert ends(child)
    for _ in range(300):  # DVC takes a killed process for a running one until it has left the process table
        if not holders(small):
            break
        time.sleep(0.1)
    assert not holders(small)
    if how != signal.SIGKILL:
        assert "models are trained. Run the same command" in printed
        assert "Traceback" not in printed
    if how != signal.SIGTERM:
        settle(QUICK)
        status, printed = train("--jobs", 3)
        assert status == 0, printed
        assert states(printed)["gru"] == "unchanged"
        assert states(printed)["transformer"] == "done"


@pytest.mark.slow
def test_a_second_run_in_the_same_folder_is_refused(small):
    lock = small / ".work/train-all.lock"
    lock.parent.mkdir()
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        status, printed = train("--jobs", 1)
    assert status == 2
    assert printed.startswith("error: another train-all is running")


@pytest.mark.slow
@pytest.mark.parametrize("left", ["", '{"write": {"/data/fea'], ids=["empty", "cut short"])
def test_a_lock_file_that_a_killed_process_left_unreadable_is_removed(small, left):
    dvc_process.LOCK_FILE.write_text(left)
    failed = subprocess.run([sys.executable, "-m", "dvc", "repro"], text=True, capture_output=True, check=False)
    assert "Unable to read RWLock-file" in failed.stderr  # if DVC copes one day, this module can go
    status, printed = train("--jobs", 3)
    assert status == 0, printed
    assert "removed .dvc/tmp/rwlock: a killed process had left it empty or damaged" in printed
    assert states(printed) == dict.fromkeys(MODELS, "done")


@pytest.mark.slow
def test_an_unreadable_lock_file_stays_while_dvc_runs_here(small):
    settle(QUICK | {"split": {"seconds": 60}})
    with subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "split"], env={**dvc_process.environment(), "PYTHONPATH": str(ROOT)}
    ) as running:
        wait_for(small / "split.pid")
        dvc_process.LOCK_FILE.write_text("")
        status, printed = train("--jobs", 3)
        running.kill()
    assert status == 2
    assert printed == (
        "error: .dvc/tmp/rwlock: DVC's lock file is empty or damaged, and DVC is still running here "
        f"(process {running.pid}). Wait until it has ended, then rerun.\n"
    )
    assert dvc_process.LOCK_FILE.read_text() == ""


@pytest.mark.parametrize("text", ["{}", '{"write": {}, "read": {}}', None])
def test_a_readable_lock_file_stays(project, text, caplog):
    if text is not None:
        dvc_process.LOCK_FILE.parent.mkdir(parents=True)
        dvc_process.LOCK_FILE.write_text(text)
    dvc_process.remove_unreadable_lock()
    assert (dvc_process.LOCK_FILE.read_text() if text is not None else None) == text
    assert not caplog.records


@pytest.mark.parametrize(("cores", "jobs"), [(1, 1), (2, 1), (5, 2), (64, 32)])
def test_as_many_models_as_have_cores_for_their_threads(monkeypatch, cores, jobs):
    monkeypatch.setattr(machine, "cores", lambda: cores)
    monkeypatch.setenv("ACTIONREC_DEVICE", "cpu")
    assert train_all.default_jobs() == jobs


def test_a_cluster_gets_all_models_at_once(small, monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: 5)
    monkeypatch.setenv("ACTIONREC_DEVICE", "cpu")
    monkeypatch.setenv("ACTIONREC_ENGINE", "ray")
    for address, jobs in (("auto", len(MODELS)), ("", 2), ("local", 2)):  # without an address, Ray has this machine alone
        monkeypatch.setenv("RAY_ADDRESS", address)
        assert train_all.default_jobs() == jobs
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(ActionrecError, match=r"^no Ray cluster answers at RAY_ADDRESS 127\.0\.0\.1:1 "):
        train_all.default_jobs()


def test_no_pipeline_is_bad_input(project):
    assert train()[0] == 2
    status, printed = train("--jobs", 0)
    assert status == 2
    assert "expected a whole number from 1; got '0'" in printed
    assert "expected a share above 0; got 0" in train("--gpus", 0)[1]
    assert "expected a share from 0 to 1; got '2'" in train("--gpus", 2)[1]
