import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from processes import ends

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="calls of Linux")

READY = "print(os.getpid(), flush=True); import time; time.sleep(60)"
CHILD = f"import os; from actionrec.core import process_lifetime; process_lifetime.end_with_parent(os.getppid()); {READY}"
STAGE = f"import os; from actionrec.core import process_lifetime; process_lifetime.end_with_dvc(); {READY}"
UNBOUND = f"import os; {READY}"
# As DVC runs a stage: through a shell, which gets a variable that DVC itself has not.
DVC = """
import os, subprocess, sys
subprocess.run(sys.argv[1:], env={**os.environ, "DVC_STAGE": "train@gru"})
"""
# Becomes who adopts the processes that others leave behind, as an init does.
ADOPTER = """
import ctypes, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1)
subprocess.run(sys.argv[1:], start_new_session=True)
os.wait()
"""
RUN = "import subprocess, sys; subprocess.run(sys.argv[1:])"
PYTHON = [sys.executable, "-c"]


def start(*command, code=None, environment=()):
    """Start a Python process that runs a command; the command prints a process ID when it is ready."""
    inherited = {name: value for name, value in os.environ.items() if name != "DVC_STAGE"}
    command = [*PYTHON, code or RUN, *command]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**inherited, "PYTHONPATH": str(ROOT), **dict(environment)}
    )


def ends_with_its_killed_parent(parent, seconds=10.0):
    with parent:
        number = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        return ends(number, seconds)


@pytest.mark.parametrize(("code", "ended"), [(CHILD, True), (UNBOUND, False), (STAGE, False)])  # a stage outside DVC is not bound
def test_a_child_ends_with_its_parent_if_it_is_bound(code, ended):
    assert ends_with_its_killed_parent(start(*PYTHON, code), 10 if ended else 0.3) is ended


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize(
    "wrapped", ["{python} -c '{code}'", "{python} -c '{code}'; true", "sh -c \"{python} -c '{code}'; true\" || true"]
)
def test_a_stage_ends_with_dvc_through_any_shell(shell, wrapped):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    assert ends_with_its_killed_parent(start(shell, "-c", wrapped.format(python=sys.executable, code=STAGE), code=DVC))


def test_a_stage_whose_dvc_has_ended_before_the_check_ends():
    late = f"import os, time; print(os.getpid(), flush=True); time.sleep(0.5); from actionrec.core import process_lifetime; {STAGE}"
    with start(*PYTHON, DVC, "sh", "-c", f"{sys.executable} -c '{late}'; true", code=ADOPTER) as adopter:
        number = int(adopter.stdout.readline())
        dvc = psutil.Process(number).parent().parent()
        assert "DVC_STAGE" not in dvc.environ()
        dvc.kill()
        assert ends(number)
        assert adopter.stdout.readline() == ""  # it never reached the end of its program


def test_a_stage_that_is_not_killed_finishes():
    code = "from actionrec.core import process_lifetime; process_lifetime.end_with_dvc(); print(7)"
    with start("sh", "-c", f"{sys.executable} -c '{code}'; exit $?", code=DVC) as process:
        assert process.stdout.read() == "7\n"
        assert process.wait() == 0


MACOS = "import ctypes; ctypes.CDLL = lambda name: object()"  # without prctl; runs before the program's own code


@pytest.fixture
def program(tmp_path):
    """Write a program that runs without some calls of the system."""

    def program(missing, code):
        (tmp_path / "program.py").write_text(f"{missing}\nimport os\nfrom actionrec.core import process_lifetime\n{code}\n{READY}")
        return tmp_path / "program.py"

    return program


def test_a_stage_ends_with_its_parent_on_macos(program):
    stage = program(MACOS, "process_lifetime.end_with_dvc()")
    assert ends_with_its_killed_parent(start(sys.executable, stage, environment={"DVC_STAGE": "split"}))


def test_a_worker_ends_with_its_parent_on_macos(program):
    worker = program(MACOS, "os.environ['ACTIONREC_PARENT'] = str(os.getppid()); process_lifetime.end_if_bound()")
    assert ends_with_its_killed_parent(start(sys.executable, worker))


@pytest.mark.parametrize("missing", ["", MACOS])
def test_a_process_whose_parent_has_already_ended_exits(program, missing):
    orphan = program(missing, "process_lifetime.end_with_parent(os.getppid() + 1)")
    with start(sys.executable, orphan) as process:
        assert process.stdout.read() == ""


# A stage whose libraries take ten minutes to load: its workers are still importing when it is killed.
SLOW_STAGE = """
import os, sys, time
from pathlib import Path

import actionrec

if __name__ != "__main__":
    Path(sys.argv[1], str(os.getpid())).touch()
    time.sleep(600)

def work(job, advance):
    pass

if __name__ == "__main__":
    from actionrec.parallel import pool
    list(pool.run(work, [1, 2], 2, print))
"""


def test_workers_that_are_still_importing_end_with_their_killed_parent(tmp_path):
    file, started = tmp_path / "stage.py", tmp_path / "started"
    file.write_text(SLOW_STAGE)
    started.mkdir()
    parent = subprocess.Popen([sys.executable, file, started], env={**os.environ, "PYTHONPATH": str(ROOT)})
    until = time.monotonic() + 120
    while len(workers := [int(path.name) for path in started.iterdir()]) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    assert len(workers) == 2
    assert [ends(worker, 20) for worker in workers] == [True, True]


@pytest.mark.parametrize(("parent", "printed"), [(None, "None\n"), (1, "")], ids=["the parent lives", "the parent has ended"])
def test_a_worker_ends_at_its_first_import_if_its_parent_has_ended_and_does_not_bind_its_children(parent, printed):
    code = "import os, actionrec; print(os.environ.get('ACTIONREC_PARENT'))"
    environment = {**os.environ, "ACTIONREC_PARENT": str(parent or os.getpid()), "PYTHONPATH": str(ROOT)}
    assert subprocess.run([*PYTHON, code], env=environment, capture_output=True, text=True, check=False).stdout == printed
