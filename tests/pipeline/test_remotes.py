"""What one machine trained, another one restores: a real S3 server on this machine, and a shared folder, as DVC remotes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from finished import real_project
from moto.server import ThreadedMotoServer
from projects import commit
from ruamel.yaml import YAML

from actionrec.models import MODELS

pytestmark = pytest.mark.slow

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "no_proxy": "127.0.0.1",
}
RESTORED = (
    "data/clips.csv",
    "data/split.csv",
    "data/frames",
    "data/features",
    *(f"data/models/{name}" for name in MODELS),
    *(f"data/predictions/{name}.npz" for name in MODELS),
    *(f"metrics/{name}/{file}.json" for name in MODELS for file in ("metrics", "timing")),
)


def run(*command: str, cwd: Path, **settings: str) -> str:
    """Run a program of this environment, and return what it prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **CREDENTIALS, "PATH": path, **settings}
    done = subprocess.run(command, cwd=cwd, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def contents(project: Path) -> dict[str, bytes]:
    """Every file of what is to be restored."""
    files = [
        file for name in RESTORED for file in ([project / name] if (project / name).is_file() else (project / name).rglob("*"))
    ]
    return {file.relative_to(project).as_posix(): file.read_bytes() for file in files if file.is_file()}


@pytest.fixture(scope="module")
def endpoint():
    """The address of an S3 server, with a bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    boto3.client("s3", endpoint_url=address, region_name="us-east-1", **keys).create_bucket(Bucket="actionrec")
    yield address
    server.stop()


@pytest.fixture(scope="module")
def trained(tmp_path_factory, endpoint):
    """The finished project, pushed to both remotes, as its Git history says."""
    project = real_project(tmp_path_factory.getbasetemp(), tmp_path_factory.mktemp("one") / "project")
    run("dvc", "remote", "add", "--default", "s3", "s3://actionrec/store", cwd=project)
    run("dvc", "remote", "modify", "s3", "endpointurl", endpoint, cwd=project)
    run("dvc", "remote", "add", "folder", str(tmp_path_factory.mktemp("shared")), cwd=project)
    commit(project)
    for remote in ("s3", "folder"):
        run("dvc", "push", "--run-cache", "--remote", remote, cwd=project)
    return project


@pytest.fixture
def watched(tmp_path):
    """A folder for PATH whose `python` notes what it is asked to run: a stage's command would show."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "python"
    program.write_text(f'#!/bin/sh\necho "$@" >> {folder}/ran\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    return folder


def other_machine(trained: Path, folder: Path, remote: str) -> Path:
    run("git", "clone", "-q", str(trained), str(folder), cwd=trained)
    run("dvc", "config", "--local", "core.remote", remote, cwd=folder)
    return folder


def on_path(folder: Path) -> str:
    return os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])


@pytest.mark.parametrize("remote", ["s3", "folder"])
def test_a_fresh_clone_without_any_clip_restores_all_and_runs_nothing(trained, watched, tmp_path, remote):
    project = other_machine(trained, tmp_path / "other", remote)
    printed = run("dvc", "repro", "--pull", "train", cwd=project, PATH=on_path(watched))
    assert "Running stage" not in printed
    assert not (watched / "ran").exists()
    assert contents(project) == contents(trained)
    assert {f"data/models/{name}/model.safetensors" for name in MODELS} < set(contents(project))
    assert run("git", "status", "--porcelain", cwd=project) == ""


def test_without_a_lock_the_run_cache_tells_what_the_same_inputs_gave(trained, tiny_clips, watched, tmp_path):
    project = other_machine(trained, tmp_path / "other", "folder")
    (project / "data/raw/tiny").symlink_to(tiny_clips)
    lock = project / "dvc.lock"
    before = YAML(typ="safe").load(lock)
    lock.unlink()
    printed = run("dvc", "repro", "--pull", "train", cwd=project, PATH=on_path(watched))
    assert set(re.findall(r"Stage '(train@\w+)' is cached - skipping run", printed)) == {f"train@{name}" for name in MODELS}
    assert (watched / "ran").read_text() == "-m stages.fetch\n"  # which looks whether the clips are there
    assert contents(project) == contents(trained)
    after = YAML(typ="safe").load(lock)["stages"]  # of two stages that are ready, either may come first
    assert {f"train@{name}" for name in MODELS} < set(after)
    assert after == {name: before["stages"][name] for name in after}
