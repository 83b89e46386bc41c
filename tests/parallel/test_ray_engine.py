"""The Ray engine: its parts alone, and real stages on a cluster of two nodes on this machine, one of which dies at its work."""

import contextlib
import fcntl
import hashlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray_jobs
from projects import bytes_of, split_twelve_clips

from actionrec.core import paths
from actionrec.core.errors import ActionrecError
from actionrec.parallel import shard_store
from actionrec.parallel.engines import ray as engine
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


# The parts.


def test_functions_and_classes_of_the_main_program_are_pickled_by_their_module_s_name(tmp_path):
    (tmp_path / "program.py").write_text(
        "import sys\n"
        "from actionrec.parallel.engines.ray import _pack\n"
        "class Job:\n    pass\n"
        "def compute():\n    pass\n"
        "if __name__ == '__main__':\n    sys.stdout.buffer.write(_pack((compute, Job())))\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    parcel = subprocess.run([sys.executable, "-m", "program"], env=environment, capture_output=True, check=True).stdout
    assert b"__main__" not in parcel
    read = "import pickle, sys; c, j = pickle.load(sys.stdin.buffer); print(c.__module__, type(j).__module__, type(j).__name__)"
    done = subprocess.run([sys.executable, "-c", read], env=environment, input=parcel, capture_output=True, check=True)
    assert done.stdout == b"program program Job\n"
    assert pickle.loads(engine._pack((run, [1, 2.5, "é"]))) == (run, [1, 2.5, "é"])  # others as usual


@pytest.mark.parametrize("contents", [b"", b"abc" * 1000])
def test_contents_outlive_their_file(tmp_path, contents):
    (tmp_path / "a").write_bytes(contents)
    read = engine._contents(tmp_path / "a")
    (tmp_path / "a").unlink()
    engine._write({"b": pickle.loads(pickle.dumps(read, protocol=5))}, tmp_path, lambda _: None)
    assert (tmp_path / "b").read_bytes() == contents


def test_a_worker_s_folder_is_empty_and_goes_and_takes_those_of_killed_workers_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(engine.tempfile, "gettempdir", lambda: str(tmp_path))
    above = tmp_path / f"actionrec-{os.getuid()}"
    (above / "left").mkdir(parents=True)
    (above / "left" / "half.txt").touch()
    (above / "held").mkdir()
    descriptor = os.open(above / "held", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with engine._own_folder() as one, engine._own_folder() as two:
        (one / "file").touch()
        assert sorted(above.iterdir()) == sorted([above / "held", one, two])
        assert list(two.iterdir()) == []
    assert list(above.iterdir()) == [above / "held"]
    os.close(descriptor)


def refuse(root, *names, **libraries):
    inputs = {Path(name): hashlib.sha256(b"1234").hexdigest() for name in names}
    engine._refuse_other_machines(str(root), inputs, {**engine._libraries(), **libraries})


def test_a_machine_with_other_files_or_libraries_is_rejected(project):
    (project / "a.avi").write_bytes(b"1234")
    refuse(project, "a.avi")
    share = r"Share the project's folder, and the data set's, with all machines at the same path\."
    here = engine._libraries()["numpy"]
    for message, arguments, libraries in (
        (rf"^the Ray worker on .+ cannot see the project: No such file .*: /not/here\. {share}$", ["/not/here"], {}),
        (rf"cannot see an input: No such file or directory: {project}/b\.avi\. {share}$", [project, "a.avi", "b.avi"], {}),
        (rf"has numpy {here}, the driver 0\.1\. Install the same requirements-ray\.txt", [project], {"numpy": "0.1"}),
        (rf"has numpy {here}, the driver None\. Install the same requirements-ray\.txt", [project], {"numpy": None}),
    ):
        with pytest.raises(ActionrecError, match=message):
            refuse(*arguments, **libraries)
    (project / "a.avi").write_bytes(b"1235")
    sums = r"SHA-256 310ced37200b\.\.\., expected 03ac674216f3\.\.\."
    with pytest.raises(ActionrecError, match=rf"sees other contents of {project}/a\.avi than the stage: {sums}\. {share}"):
        refuse(project, "a.avi")


def test_a_missing_ray_is_reported_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ActionrecError) as error:
        engine._connect()
    assert str(error.value) == (
        "ACTIONREC_ENGINE is ray, which is not installed here. Install it, `pip install -r requirements-ray.txt`, "
        "or unset ACTIONREC_ENGINE."
    )


INVALID = "^RAY_ADDRESS must be auto or <host>:<port>, on a machine of the cluster itself; got '{}'$"
NO_ANSWER = r"^no Ray cluster answers at RAY_ADDRESS {} \(.+\)\. Check it with `ray status`"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        *((address, INVALID) for address in ("ray://head:10001", "http://head:8265", "head", "head:port", ":6379")),
        *((address, NO_ANSWER) for address in ("127.0.0.1:1", "127.0.0.1:99999")),
    ],
)
def test_an_address_without_a_cluster_is_rejected_at_once(monkeypatch, address, message):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ActionrecError, match=message.format(address)):
        engine._connect()


@pytest.fixture
def resources(monkeypatch):
    """The resources of the cluster; tests change them."""
    ray, resources = pytest.importorskip("ray"), {"CPU": 8.0}
    monkeypatch.setattr(engine, "_connect", lambda: None)
    monkeypatch.setattr(ray, "cluster_resources", lambda: resources)
    return resources


def test_the_device_is_the_cluster_s_not_this_machine_s(monkeypatch, resources):
    monkeypatch.setenv("ACTIONREC_DEVICE", "auto")
    assert engine.device() == "cpu"
    monkeypatch.setenv("ACTIONREC_DEVICE", "cuda")
    message = r"^ACTIONREC_DEVICE is cuda, but the Ray cluster has no GPU\. Unset it, or use cpu\.$"
    with pytest.raises(ActionrecError, match=message):
        engine.device()
    resources["GPU"] = 2.0
    for requested, expected in (("auto", "cuda"), ("cpu", "cpu"), ("cuda:1", "cuda")):
        monkeypatch.setenv("ACTIONREC_DEVICE", requested)
        assert engine.device() == expected


@pytest.mark.parametrize(("cores", "gpus", "share", "expected"), [(8, 0, 0, 8), (8, 1, 0.25, 4), (2, 1, 0.25, 2), (8, 0, 0.25, 0)])
def test_the_number_of_tasks_is_limited_by_cores_and_shares_of_gpus(resources, cores, gpus, share, expected):
    resources.update(CPU=float(cores), GPU=float(gpus))
    assert engine._slots(share) == expected


# On a cluster.


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
