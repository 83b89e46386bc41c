"""Real work on a Ray cluster of two nodes on this machine, one of which dies at its work."""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray_jobs
from projects import bytes_of, split_twelve_clips
from tar_files import write_tar

from actionrec.core import paths
from actionrec.data import tar_shards
from actionrec.io.hash_memory import hash_file, state_of
from actionrec.parallel import file_hashes, shard_store
from actionrec.parallel.engines import ray_hashing
from actionrec.video import clip_reader
from stages import extract_frames, resnet_features

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"


def start(*command, **settings):
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{TESTS}", "ACTIONREC_ENGINE": "ray", **settings}
    return subprocess.Popen([sys.executable, *command], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(*command, **settings):
    """Run a program to its end; return its exit status and what it said on stderr. On stdout Ray tells of lost workers."""
    process = start(*command, **settings)
    try:
        printed, said = process.communicate(timeout=120)
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
def cluster():
    """Two nodes, of one core each, and the address of the first; both are always shut down."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "RAY_USAGE_STATS_ENABLED")}
    os.environ.update(PYTHONPATH=f"{ROOT}{os.pathsep}{TESTS}", RAY_USAGE_STATS_ENABLED="0")  # the nodes inherit them
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.second = cluster.add_node(num_cpus=1)
        yield cluster
    finally:
        cluster.shutdown()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


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
    with ray_hashing.hashing() as hash_all, monkeypatch.context() as patch:
        patch.setattr(ray, "get", lose)
        assert list(hash_all(files, states)) == expected
    assert here == files
    files[50].unlink()
    with ray_hashing.hashing() as hash_all, pytest.raises(FileNotFoundError) as error:
        list(hash_all(files, states))
    assert Path(error.value.filename) == files[50]


@pytest.mark.slow
def test_a_node_that_dies_at_its_work_costs_nothing_but_time(mine, cluster, monkeypatch):
    """The last of them: afterwards the cluster has one node."""
    expected = made_locally(extract_frames)
    process = start("-m", "ray_jobs", "extract_at_the_gate", "3", "3", RAY_ADDRESS=cluster.address)
    wait_until(lambda: len({node for node, _, _ in attempts()}) == 2)
    second = cluster.second.node_id
    cluster.remove_node(cluster.second, allow_graceful=False)
    at_work = [(int(worker), shard) for node, worker, shard in attempts() if node == second]
    for worker, _ in at_work:  # a machine takes its workers with it; a node of this test's cluster may be outlived by them
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
    Path("open").touch()
    _, said = process.communicate(timeout=90)
    assert process.returncode == 0, said
    assert at_work
    assert {shard for node, _, shard in attempts() if node != second} == {"0", "1", "2"}
    assert all(shard_store.is_whole(folder) for folder in (paths.WORK / "frames").iterdir())
    monkeypatch.setattr(clip_reader, "sample_clip", None)  # nothing is decoded again
    extract_frames.main()
    assert bytes_of(paths.FRAMES, paths.METRICS) == expected
