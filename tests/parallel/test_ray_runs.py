"""Real work on a Ray cluster of two nodes on this machine, one of which dies at its work."""

import contextlib
import hashlib
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
import ray_jobs
from dvc.repo import Repo
from processes import ends
from projects import bytes_of, clone, edit_params, split_twelve_clips
from ruamel.yaml import YAML
from small_features import write_features, write_split_files
from tar_files import write_tar

from actionrec.core import paths
from actionrec.data import tar_shards
from actionrec.io.hash_memory import hash_file, state_of
from actionrec.parallel import file_hashes, shard_store
from actionrec.parallel.engines import ray_hashing
from actionrec.pipeline import train_all
from actionrec.video import clip_reader
from stages import extract_frames, resnet_features, train

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
NODE = {"num_cpus": 1, "num_gpus": 1}


def start(*command, **settings):
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{TESTS}", "ACTIONREC_ENGINE": "ray", **settings}
    return subprocess.Popen([sys.executable, *command], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(*command, **settings):
    """Run a program to its end; return its exit status and what it said on stderr. On stdout Ray tells of lost workers."""
    process = start(*command, **settings)
    try:
        printed, said = process.communicate(timeout=300)
    finally:
        process.kill()
    assert "Traceback" not in printed
    return process.returncode, said


def wait_until(true, seconds=40.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.fixture
def mine(project, monkeypatch):
    """A project of 12 clips, split; their 3 shards are too large for Ray's own messages."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    split_twelve_clips(monkeypatch)
    return project


@pytest.fixture(scope="module")
def nodes():
    """A cluster of one node, which is always shut down."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "RAY_USAGE_STATS_ENABLED")}
    os.environ.update(PYTHONPATH=f"{ROOT}{os.pathsep}{TESTS}", RAY_USAGE_STATS_ENABLED="0")  # the nodes inherit them
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    cluster.second = None
    try:
        yield cluster
    finally:
        cluster.shutdown()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture
def cluster(nodes):
    """Two nodes, each with a core and with a GPU that Ray takes to be there."""
    if nodes.second is None:
        nodes.second = nodes.add_node(**NODE)
    return nodes


def kill_second(cluster, processes):
    """Kill the second node. A machine takes its processes with it; a node of this test's cluster may be outlived by them."""
    cluster.remove_node(cluster.second, allow_graceful=False)
    cluster.second = None
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def attempts():
    """Node, process and shard of each attempt."""
    return [line.split() for line in ray_jobs.journal()]


def made_locally(*stages):
    """The bytes that the local engine gives for this project. All its work is removed."""
    for stage in stages:
        stage.main()
    contents = bytes_of(*(folder for folder in (paths.FRAMES, paths.FEATURES, paths.METRICS) if folder.exists()))
    for folder in (paths.WORK, paths.FRAMES, paths.FEATURES):
        shutil.rmtree(folder, ignore_errors=True)
    return contents


@pytest.mark.slow
def test_both_stages_make_the_bytes_of_the_local_engine_on_a_cluster(mine, cluster):
    expected = made_locally(extract_frames, resnet_features)
    for stage in (extract_frames, resnet_features):
        status, said = run("-m", stage.__name__, RAY_ADDRESS=cluster.address)
        assert status == 0, said
        assert said.splitlines()[0] == "Ray: machines: 2, tasks at a time: 2"
        assert "raylet" not in said
    assert bytes_of(paths.FRAMES, paths.FEATURES, paths.METRICS) == expected


@pytest.mark.slow
def test_a_clip_that_crashes_its_worker_is_named_when_retries_are_used_up(mine, cluster):
    status, said = run("-m", "ray_jobs", "crash_at_second_clip", "1", "1", RAY_ADDRESS=cluster.address)
    assert status == 2
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("error: shard-")
    assert "was lost 2 times with its process or machine" in said
    assert "(clip 2 of " in said


@pytest.mark.slow
def test_ctrl_c_ends_the_work_with_one_message_and_leaves_nothing_half_done(mine, cluster):
    process = start("-m", "ray_jobs", "extract_at_the_gate", "3", "3", RAY_ADDRESS=cluster.address)
    wait_until(lambda: len(ray_jobs.journal()) >= 2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "interrupted; run `dvc repro` to continue"
    assert "Traceback" not in said
    assert list((paths.WORK / "frames").iterdir()) == []


@pytest.mark.slow
def test_files_are_hashed_on_the_cluster_and_here_where_a_worker_does_not_see_the_same(project, cluster, monkeypatch, caplog):
    import ray

    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    monkeypatch.setenv("ACTIONREC_ENGINE", "ray")
    here = []
    monkeypatch.setattr(ray_hashing, "LEAST_FILES", 100)
    monkeypatch.setattr(ray_hashing, "FILES_PER_TASK", 16)
    monkeypatch.setattr(ray_hashing, "hash_file", lambda file: (here.append(file), hash_file(file))[1])
    write_tar(project / "a.tar", {f"Run/{number}.avi": f"in a tar {number}" for number in range(20)})
    files = [Path(f"{number}.avi") for number in range(100)] + [*tar_shards.scan(Path()).members.values()]
    for file in files[:100]:
        file.write_text(f"contents of {file}")
    expected = [hashlib.sha256(file.open("rb").read()).hexdigest() for file in files]
    done = []
    assert [digest for _, digest in file_hashes.hash_files(files, Path("memory"), done.append)] == expected
    assert (here, sum(done)) == ([], 120)
    assert not ray.is_initialized()

    states = [state_of(file.stat()) for file in files]
    states[70] = states[110] = "other"
    with ray_hashing.hashing() as hash_all:
        assert list(hash_all(files, states)) == expected
        assert here == [files[70], files[110]]
    assert caplog.messages[-1].endswith(f"do not have the same file at its path: {files[70]}, {files[110]}")

    def lose(reference):
        raise ray.exceptions.WorkerCrashedError

    here.clear()
    with ray_hashing.hashing() as hash_all:
        with monkeypatch.context() as patch:
            patch.setattr(ray, "get", lose)
            assert list(hash_all(files, states)) == expected
        assert here == files
        files[50].unlink()
        with pytest.raises(FileNotFoundError) as error:
            list(hash_all(files, states))
    assert Path(error.value.filename) == files[50]


@pytest.mark.slow
def test_a_node_that_dies_at_its_work_costs_nothing_but_time(mine, cluster, monkeypatch):
    expected = made_locally(extract_frames)
    process = start("-m", "ray_jobs", "extract_at_the_gate", "3", "3", RAY_ADDRESS=cluster.address)
    wait_until(lambda: len({node for node, _, _ in attempts()}) == 2)
    second = cluster.second.node_id
    at_work = [(int(worker), shard) for node, worker, shard in attempts() if node == second]
    kill_second(cluster, [worker for worker, _ in at_work])
    Path("open").touch()
    _, said = process.communicate(timeout=90)
    assert process.returncode == 0, said
    assert at_work
    assert {shard for node, _, shard in attempts() if node != second} == {"0", "1", "2"}
    assert all(shard_store.is_whole(folder) for folder in (paths.WORK / "frames").iterdir())
    monkeypatch.setattr(clip_reader, "sample_clip", None)  # nothing is decoded again
    extract_frames.main()
    assert bytes_of(paths.FRAMES, paths.METRICS) == expected


# train-all: DVC's locks and dvc.lock here, each model on some node.

TRAIN_ALL = ("-m", "actionrec", "train-all")
PIPELINE = """
stages:
  split: {cmd: python -c pass, deps: [data/features]}
  resnet_features: {cmd: python -c pass, deps: [data/features]}
  train: {}
"""
STAGE = """
import os, signal, sys, time
from pathlib import Path
from actionrec.core import entry
from actionrec.core.errors import TrainingError

def main():
    name = sys.argv[1]
    with open("journal.txt", "a") as journal:
        journal.write(f"{name} {os.getpid()}\\n")
    if name == "fails":
        raise TrainingError("the loss is not finite")
    if name == "killed_once" and Path("journal.txt").read_text().count(name) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "stays":
        time.sleep(600)
    Path(name).write_text(os.environ["ACTIONREC_DEVICE"] + " " + os.environ["CUDA_VISIBLE_DEVICES"])
    sys.stderr.write(f"{name}: test top-1 50 %\\n")

entry.run(main)
"""


def changed():
    """What `dvc status` reports for each stage that is not up to date."""
    with Repo() as repo:
        return repo.status()


def small_pipeline(*models):
    Repo.init(no_scm=True).close()
    paths.FEATURES.mkdir(parents=True)
    command = {"cmd": "python stage.py ${item}", "deps": ["stage.py"], "outs": ["${item}"]}
    document = YAML(typ="safe").load(PIPELINE)
    document["stages"]["train"] = {"foreach": list(models), "do": command}
    YAML().dump(document, Path("dvc.yaml"))
    Path("stage.py").write_text(STAGE)


@pytest.mark.slow
def test_train_all_asks_for_gpus_repeats_what_was_killed_and_reports_what_failed(project, cluster):
    small_pipeline("fails", "killed_once", "trains")
    status, said = run(*TRAIN_ALL, "--gpus", "0.5", RAY_ADDRESS=cluster.address, ACTIONREC_DEVICE="auto")
    assert status == 2, said
    assert "error: 1 of 3 models failed:\n  fails: the loss is not finite (see .work/train-all/fails.log)" in said
    starts = [line.split()[0] for line in ray_jobs.journal()]
    assert sorted(starts) == ["fails", "killed_once", "killed_once", "trains"]
    for name in ("killed_once", "trains"):
        assert (project / name).read_text() == "cuda 0"
        assert re.search(rf"^{name} +done .* test top-1 50 %$", said, re.MULTILINE)
    assert "killed_once: runs again, since its machine or process was lost," in (train_all.log_file("killed_once")).read_text()
    assert set(changed()) == {"train@fails"}
    assert not list(project.glob(".work/train-all/*.out"))


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=lambda how: how.name)
def test_ending_train_all_ends_the_training_on_its_node(project, cluster, how):
    small_pipeline("stays")
    process = start(*TRAIN_ALL, RAY_ADDRESS=cluster.address, ACTIONREC_DEVICE="cpu")
    wait_until(ray_jobs.journal, 180)
    training = int(ray_jobs.journal()[0].split()[1])
    process.send_signal(how)
    _, said = process.communicate(timeout=120)
    assert process.returncode == (130 if how == signal.SIGINT else -how), said
    assert "Traceback" not in said
    assert ends(training, 30)


GATE = """

_save = Checkpoint.save


def _at_the_gate(self: Checkpoint, progress: Progress) -> None:
    import os, time
    with Path("journal.txt").open("a") as journal:
        journal.write(f"{self.path.parent.name} {len(progress.epochs)} {os.getpid()}\\n")
    while len(progress.epochs) == 3 and not Path("open").exists():
        time.sleep(0.05)
    _save(self, progress)


Checkpoint.save = _at_the_gate
"""
"""Notes each epoch, and waits at the end of the third, before it is saved, until there is a file `open`."""


@pytest.mark.slow
def test_a_node_that_dies_in_a_training_costs_an_epoch_and_no_byte(tmp_path_factory, monkeypatch, cluster):
    project = tmp_path_factory.mktemp("training") / "project"
    clone(project)
    monkeypatch.chdir(project)
    with (project / "actionrec/training/checkpoints.py").open("a") as stream:
        stream.write(GATE)
    document = YAML().load(project / "dvc.yaml")
    models = {name: document["stages"]["train"]["foreach"][name] for name in ("gru", "simple_rnn")}
    document["stages"] = {**YAML().load(PIPELINE)["stages"], "train": {**document["stages"]["train"], "foreach": models}}
    YAML().dump({"stages": document["stages"]}, project / "dvc.yaml")
    edit_params(project, {"train.epochs": 5, "train.precision": "fp32", "model.hidden_dim": 8})
    write_features()
    write_split_files(0)
    settings = {"RAY_ADDRESS": cluster.address, "ACTIONREC_DEVICE": "cpu", "PYTHONPATH": str(project)}

    process = start(*TRAIN_ALL, **settings)
    wait_until(lambda: len([line for line in ray_jobs.journal() if " 3 " in line]) == 2, 300)
    before = [line.split() for line in ray_jobs.journal()]
    raylet = cluster.second.all_processes["raylet"][0].process.pid
    processes = {int(number) for _, _, number in before}
    lost = [number for number in processes if raylet in [parent.pid for parent in psutil.Process(number).parents()]]
    kill_second(cluster, [*lost, *(psutil.Process(number).ppid() for number in lost)])
    (project / "open").touch()
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    epochs = [line.split() for line in ray_jobs.journal()]
    (repeated,) = {model for model, _, number in before if int(number) in lost}
    for name in models:
        expected = ["1", "2", "3", "3", "4", "5"] if name == repeated else ["1", "2", "3", "4", "5"]
        assert [epoch for model, epoch, _ in epochs if model == name] == expected
    made = [paths.MODELS, paths.PREDICTIONS, *(paths.METRICS / name for name in models)]

    def contents():
        return {name: text for name, text in bytes_of(*made).items() if not name.endswith(("timing.json", ".gitignore"))}

    on_cluster = contents()
    assert changed() == {}
    for folder in (*made, paths.WORK):
        shutil.rmtree(folder)
    monkeypatch.setenv("ACTIONREC_DEVICE", "cpu")
    for name in models:
        monkeypatch.setattr(sys, "argv", ["stages.train", name])
        train.main()
    assert contents() == on_cluster
