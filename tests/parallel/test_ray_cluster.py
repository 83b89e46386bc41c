"""Joining a Ray cluster: what is refused, its devices, and how many tasks run at a time."""

import hashlib
import sys
from pathlib import Path

import pytest

from actionrec.core.errors import ActionrecError
from actionrec.parallel.engines import ray_cluster


def refuse(root, *names, **libraries):
    inputs = {Path(name): hashlib.sha256(b"1234").hexdigest() for name in names}
    ray_cluster.refuse_other_machines(str(root), inputs, {**ray_cluster.library_versions(), **libraries})


def test_a_machine_with_other_files_or_libraries_is_rejected(project):
    (project / "a.avi").write_bytes(b"1234")
    refuse(project, "a.avi")
    share = r"Share the project's folder, and the data set's, with all machines at the same path\."
    here = ray_cluster.library_versions()["numpy"]
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
        ray_cluster.connect()
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
        ray_cluster.connect()


@pytest.fixture
def resources(monkeypatch):
    """The resources of the cluster; tests change them."""
    ray, resources = pytest.importorskip("ray"), {"CPU": 8.0}
    monkeypatch.setattr(ray_cluster, "connect", lambda: None)
    monkeypatch.setattr(ray, "cluster_resources", lambda: resources)
    return resources


def test_the_device_is_the_cluster_s_not_this_machine_s(monkeypatch, resources):
    monkeypatch.setenv("ACTIONREC_DEVICE", "auto")
    assert ray_cluster.device() == "cpu"
    monkeypatch.setenv("ACTIONREC_DEVICE", "cuda")
    message = r"^ACTIONREC_DEVICE is cuda, but the Ray cluster has no GPU\. Unset it, or use cpu\.$"
    with pytest.raises(ActionrecError, match=message):
        ray_cluster.device()
    resources["GPU"] = 2.0
    for requested, expected in (("auto", "cuda"), ("cpu", "cpu"), ("cuda:1", "cuda")):
        monkeypatch.setenv("ACTIONREC_DEVICE", requested)
        assert ray_cluster.device() == expected


@pytest.mark.parametrize(("cores", "gpus", "share", "expected"), [(8, 0, 0, 8), (8, 1, 0.25, 4), (2, 1, 0.25, 2), (8, 0, 0.25, 0)])
def test_the_number_of_tasks_is_limited_by_cores_and_shares_of_gpus(resources, cores, gpus, share, expected):
    resources.update(CPU=float(cores), GPU=float(gpus))
    assert ray_cluster.slots(share) == expected
