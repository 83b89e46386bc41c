"""DVC's commands end well in every workspace: a fresh clone with a remote, a finished one, and one on a person's own clips.

The project is the real one up to `extract_frames`, with small frames.
"""

import hashlib
import json
import subprocess
import time

import pytest
from film import write_video
from projects import clone, commit, edit_params, ran, run
from ruamel.yaml import YAML

pytestmark = pytest.mark.slow

STAGES = ("check", "fetch", "weights", "split", "extract_frames")
SMALL = {"split.folds": 3, "frames.count": 2, "frames.resolution": 16, "frames.shards": 2}
RESULTS = ("data/clips.csv", "data/split.csv", "data/frames/ledger.csv", "metrics/extract_frames.json")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A workspace after `dvc repro` on the sample, committed and pushed to a remote."""
    folder = tmp_path_factory.mktemp("finished")
    project, yaml = folder / "project", YAML()
    clone(project)
    pipeline = yaml.load(project / "dvc.yaml")
    yaml.dump({"stages": {name: pipeline["stages"][name] for name in STAGES}}, project / "dvc.yaml")
    edit_params(project, SMALL)
    run("dvc", "remote", "add", "--default", "store", str(folder / "store"), cwd=project)
    run("dvc", "repro", cwd=project)
    commit(project)
    run("dvc", "push", "--run-cache", cwd=project)
    return project


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A person's clips, outside of the project."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(18):
        label = ("Jump", "Sit", "Wave")[number % 3]
        (folder / label).mkdir(exist_ok=True)
        write_video(folder / label / f"v_{label}_g{number // 3 + 1:02d}_c01.avi", 4 + number)
    return folder


def cloned(project, folder):
    run("git", "clone", "-q", str(project), str(folder), cwd=project)
    run("git", "config", "user.name", "Test", cwd=folder)
    run("git", "config", "user.email", "test@example.invalid", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def own(finished, clips, tmp_path_factory):
    """A workspace after `dvc exp run` on a person's own clips behind a link, committed and pushed."""
    project = cloned(finished, tmp_path_factory.mktemp("own") / "project")
    (project / "data/raw/mine").symlink_to(clips)
    run("dvc", "exp", "run", "-S", "data.dataset=mine", cwd=project)
    commit(project)
    run("dvc", "push", "--run-cache", cwd=project)
    return project


@pytest.fixture(scope="module")
def fresh(finished, tmp_path_factory):
    """A clone that has pulled what the remote has, and has run nothing."""
    project = cloned(finished, tmp_path_factory.mktemp("fresh") / "project")
    assert "extract_frames" in run("dvc", "status", cwd=project)
    run("dvc", "pull", cwd=project)
    return project


@pytest.fixture(params=["fresh", "finished", "own"])
def workspace(request):
    return request.getfixturevalue(request.param)


def contents(folder):
    """Each file's number, time of its last change, rights and contents, behind links as well."""
    return {
        path: (path.stat().st_ino, path.stat().st_mtime_ns, path.stat().st_mode, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def results(project):
    return {name: (project / name).read_bytes() for name in RESULTS}


def is_clean(project):
    return "up to date" in run("dvc", "status", cwd=project) and not run("git", "status", "--porcelain", cwd=project)


@pytest.fixture
def untouched(workspace, clips):
    """Check in the end that no clip was changed, moved, copied into the cache or deleted, and that a link is still one."""
    raw = workspace / "data/raw"
    before = {folder: contents(folder) for folder in (raw / "sample", clips)}
    linked = (raw / "mine").is_symlink()
    yield
    assert {folder: contents(folder) for folder in (raw / "sample", clips)} == before
    assert (raw / "mine").is_symlink() == linked
    cached = {path.parent.name + path.name for path in (workspace / ".dvc/cache/files/md5").rglob("*") if path.is_file()}
    assert not cached & {
        hashlib.md5(path.read_bytes()).hexdigest() for folder in before for path in before[folder] if path.suffix == ".avi"
    }


@pytest.mark.usefixtures("untouched")
def test_commands_end_well_and_change_nothing(workspace):
    before = results(workspace)
    for command in ("pull", "checkout", "commit", "commit -f", "repro", "repro --pull", "push", "status"):
        assert ran(run("dvc", *command.split(), cwd=workspace)) == set(), command
        assert results(workspace) == before, command
    assert is_clean(workspace)


@pytest.mark.usefixtures("untouched")
def test_a_saved_experiment_is_applied(workspace):
    before = results(workspace)
    run("dvc", "exp", "save", "--force", "--name", "saved", cwd=workspace)
    run("dvc", "exp", "run", "-S", "split.fold=1", cwd=workspace)
    assert results(workspace)["data/split.csv"] != before["data/split.csv"]
    run("dvc", "exp", "apply", "saved", cwd=workspace)
    assert results(workspace) == before
    assert is_clean(workspace)


def fold_of(project, experiment):
    shown = run("dvc", "exp", "show", "--json", cwd=project)
    found = [
        one["revs"][0]
        for commit in json.loads(shown)
        for one in commit["experiments"] or []
        if one["name"] == experiment and one["revs"][0]["data"]
    ]
    return found[0]["data"]["params"]["params.yaml"]["data"]["split"]["fold"]


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("workspace", "way"),
    [("fresh", "--temp"), ("finished", "--temp"), ("own", "--temp"), ("own", "--queue")],
    indirect=["workspace"],
)
def test_an_experiment_in_a_folder_of_its_own_finds_the_clips(workspace, way):
    before = results(workspace)
    name = f"elsewhere{way}"
    run("dvc", "exp", "run", way, "--name", name, "-S", "split.fold=2", cwd=workspace)
    if way == "--queue":
        run("dvc", "queue", "start", cwd=workspace)
        for _ in range(240):
            if not {"Running", "Queued"} & set((status := run("dvc", "queue", "status", cwd=workspace)).split()):
                break
            time.sleep(0.5)
        assert "Success" in status, status
    assert fold_of(workspace, name) == 2
    assert results(workspace) == before
    assert is_clean(workspace)


def refused(*command, cwd):
    done = subprocess.run(command, cwd=cwd, text=True, capture_output=True, check=False)
    assert done.returncode != 0
    return done.stdout + done.stderr


@pytest.fixture
def second(own, tmp_path):
    """A machine without a person's raw clips."""
    return cloned(own, tmp_path / "second")


def test_a_machine_without_the_raw_clips_restores_all_else_and_runs_nothing(own, second):
    assert ran(run("dvc", "repro", "--pull", cwd=second)) == set()
    assert results(second) == results(own)
    assert ran(run("dvc", "repro", "--allow-missing", cwd=second)) == set()
    for command in ("status", "pull", "checkout"):
        run("dvc", command, cwd=second)
    message = refused("dvc", "repro", cwd=second)
    assert "error: data/raw/mine (data.dataset in params.yaml) is missing." in message
    assert run("git", "status", "--porcelain", cwd=second) == ""


def test_a_machine_that_keeps_its_data_sets_elsewhere_names_their_folder(own, second, clips, tmp_path):
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets/mine").symlink_to(clips)
    run("dvc", "pull", cwd=second)
    assert ran(run("dvc", "repro", cwd=second, ACTIONREC_DATA=str(tmp_path / "sets"))) == {"fetch"}
    assert (second / "data/raw/mine").resolve() == clips
    assert results(second) == results(own)
    assert is_clean(second)


def test_a_changed_clip_is_seen_behind_a_link(own, clips, tmp_path):
    project = cloned(own, tmp_path / "project")
    copy = tmp_path / "copy"
    run("cp", "-r", str(clips), str(copy), cwd=tmp_path)
    (project / "data/raw/mine").symlink_to(copy)
    run("dvc", "pull", cwd=project)
    assert is_clean(project)
    write_video(copy / "Jump/v_Jump_g09_c01.avi", 4)
    assert ran(run("dvc", "repro", cwd=project)) == {"fetch", "split", "extract_frames"}
    assert json.loads((project / "metrics/extract_frames.json").read_text())["clips"] == 19
