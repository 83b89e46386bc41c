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
LATE = f"import os; from actionrec.core import process_lifetime; process_lifetime.end_with_parent(os.getppid() + 1); {READY}"
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
PYTHON = [sys.executable, "-c"]


def start(*command):
    """A process that runs a command, which tells a process ID when it is ready."""
    environment = {name: value for name, value in os.environ.items() if name != "DVC_STAGE"}
    return subprocess.Popen([*PYTHON, *command], stdout=subprocess.PIPE, text=True, env=environment)


def has_ended_with_its_killed_parent(parent, seconds=10.0):
    with parent:
        number = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        return ends(number, seconds)


@pytest.mark.parametrize(("code", "ended"), [(CHILD, True), (UNBOUND, False)])
def test_a_child_ends_with_its_parent(code, ended):
    parent = start("import subprocess, sys; subprocess.run(sys.argv[1:])", *PYTHON, code)
    assert has_ended_with_its_killed_parent(parent, 10 if ended else 0.3) is ended


def test_a_child_whose_parent_has_ended_before_it_was_bound_ends():
    assert subprocess.run([*PYTHON, LATE], capture_output=True, timeout=60, check=False).returncode == 1


@pytest.mark.parametrize("shell", ["dash", "bash", "sh"])
@pytest.mark.parametrize(
    "wrapped", ["{python} -c '{code}'", "{python} -c '{code}'; true", "sh -c \"{python} -c '{code}'; true\" || true"]
)
@pytest.mark.parametrize(("code", "ended"), [(STAGE, True), (UNBOUND, False)])
def test_a_stage_ends_with_dvc_whatever_shell_is_between(shell, wrapped, code, ended):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    parent = start(DVC, shell, "-c", wrapped.format(python=sys.executable, code=code))
    assert has_ended_with_its_killed_parent(parent, 10 if ended else 0.3) is ended


def test_a_stage_whose_dvc_ended_before_it_looked_ends():
    late = f"import os, time; print(os.getpid(), flush=True); time.sleep(1); from actionrec.core import process_lifetime; {STAGE}"
    adopter = start(ADOPTER, *PYTHON, DVC, "sh", "-c", f"{sys.executable} -c '{late}'; true")
    with adopter:
        number = int(adopter.stdout.readline())
        dvc = psutil.Process(number).parent().parent()
        assert "DVC_STAGE" not in dvc.environ()
        dvc.kill()
        assert ends(number)
        assert adopter.stdout.readline() == ""  # it never came to say that it was ready


def test_what_a_person_starts_outlives_its_parent():
    parent = start("import subprocess, sys; subprocess.run(sys.argv[1:])", *PYTHON, STAGE)
    assert not has_ended_with_its_killed_parent(parent, 0.3)


def test_an_undisturbed_stage_ends_as_it_would():
    code = "from actionrec.core import process_lifetime; process_lifetime.end_with_dvc(); print(7)"
    process = start(DVC, "sh", "-c", f"{sys.executable} -c '{code}'; exit $?")
    with process:
        assert process.stdout.read() == "7\n"
        assert process.wait() == 0


# What other systems lack. Each runs before the program's own code.
NO_PRCTL = "import ctypes; ctypes.CDLL = lambda name: object()"
NO_PIDFD = "import os; vars(os).pop('pidfd_open', None)"
REFUSED_PIDFD = """
import errno, os
def refuse(process): raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
os.pidfd_open = refuse
"""
NO_PROC = "from pathlib import Path; from actionrec.core import process_lifetime; process_lifetime._PROC = Path('/nowhere')"
MACOS = f"{NO_PRCTL}\n{NO_PIDFD}\n{NO_PROC}"


def write_program(path, missing, code):
    path.write_text(f"{missing}\nimport os\n{code}\n{READY}")
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("missing", [NO_PRCTL, NO_PIDFD, REFUSED_PIDFD, NO_PROC, MACOS])
def test_a_stage_ends_with_its_parent_on_any_system(tmp_path, missing):
    program = tmp_path / "stage.py"
    environment = write_program(program, missing, "from actionrec.core import process_lifetime; process_lifetime.end_with_dvc()")
    start_both = "import subprocess, sys; subprocess.run(sys.argv[1:])"  # stands for the shell, and is killed
    command = [*PYTHON, start_both, sys.executable, program]
    shell = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment | {"DVC_STAGE": "split"})
    assert has_ended_with_its_killed_parent(shell)


@pytest.mark.parametrize("missing", [NO_PIDFD, REFUSED_PIDFD])
def test_a_stage_ends_with_dvc_without_pidfd(tmp_path, missing):
    program = tmp_path / "stage.py"
    environment = write_program(program, missing, "from actionrec.core import process_lifetime; process_lifetime.end_with_dvc()")
    command = [*PYTHON, DVC, "sh", "-c", f"{sys.executable} {program}; true"]
    assert has_ended_with_its_killed_parent(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))


def test_a_worker_ends_with_its_parent_on_macos(tmp_path):
    program = tmp_path / "worker.py"
    bind = "os.environ['ACTIONREC_PARENT'] = str(os.getppid()); process_lifetime.end_if_bound()"
    environment = write_program(program, MACOS, bind)
    parent = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    command = [*PYTHON, parent, sys.executable, program]
    assert has_ended_with_its_killed_parent(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))


def test_a_process_whose_parent_has_ended_exits_on_macos(tmp_path):
    program = tmp_path / "worker.py"
    code = "from actionrec.core import process_lifetime; process_lifetime.end_with_parent(os.getppid() + 1)"
    environment = write_program(program, MACOS, code)
    assert subprocess.run([sys.executable, program], env=environment, capture_output=True, timeout=60, check=False).returncode == 1


# A stage whose libraries take ten minutes to load: its workers are still importing when it is killed.
SLOW_STAGE = """
import os, sys, time
from pathlib import Path

import actionrec

folder = Path(sys.argv[1])
if __name__ != "__main__":
    Path(folder, str(os.getpid())).touch()
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


def test_what_a_bound_worker_starts_is_not_bound():
    code = "import os, actionrec; print(os.environ.get('ACTIONREC_PARENT'))"
    environment = {**os.environ, "ACTIONREC_PARENT": str(os.getpid()), "PYTHONPATH": str(ROOT)}
    assert subprocess.run([*PYTHON, code], env=environment, capture_output=True, text=True, check=True).stdout == "None\n"


def test_a_worker_whose_parent_has_ended_before_its_first_import_ends():
    environment = {**os.environ, "ACTIONREC_PARENT": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*PYTHON, "import actionrec; print(7)"], env=environment, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
