import subprocess
import sys

import pytest

from actionrec.core.errors import ActionrecError
from actionrec.parallel.engines import ray_program
from actionrec.pipeline import cluster_shell


@pytest.fixture
def shell(monkeypatch):
    """Calls the program as DVC does, on a cluster whose programs end with a status; `asked` has what Ray was asked for."""
    monkeypatch.setenv("DVC_STAGE", "train@gru")
    asked = []

    def call(command, status=0):
        monkeypatch.setattr(ray_program, "run", lambda *request: (asked.append(request), status)[1])
        monkeypatch.setattr(sys, "argv", ["shell", "--gpus", "0.5", "-c", command])
        cluster_shell.main()

    call.asked = asked
    return call


@pytest.mark.parametrize("status", [0, 2])
def test_a_stage_s_command_runs_on_the_cluster_and_gives_its_status(shell, status):
    with pytest.raises(SystemExit) as end:
        shell("python -m stages.train gru", status)
    assert (end.value.code or 0) == status
    assert shell.asked == [("gru", ["-m", "stages.train", "gru"], cluster_shell.LOGS, 0.5)]


def test_a_crash_and_a_command_of_another_program_are_errors(shell):
    with pytest.raises(ActionrecError, match=r"^python -m stages\.train gru crashed \(SIGSEGV\)$"):
        shell("python -m stages.train gru", -11)
    shell.asked.clear()
    with pytest.raises(ActionrecError, match=r"^dvc\.yaml: a cluster runs only commands that start with `python`; got 'make gru'$"):
        shell("make gru")
    assert shell.asked == []


def test_the_script_for_dvc_starts_this_python(tmp_path):
    script = tmp_path / "a folder's script"
    cluster_shell.write(script, 0.25)
    done = subprocess.run([script, "--help"], text=True, capture_output=True, check=True)
    assert done.stdout.startswith("usage: python -m actionrec.pipeline.cluster_shell")
    assert "--gpus 0.25 " in script.read_text()
