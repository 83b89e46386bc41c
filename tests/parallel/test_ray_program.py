"""What a worker does with a program, without a cluster; test_ray_runs.py runs programs on one."""

import os
import time
from pathlib import Path

import pytest

from actionrec.core import file_lock
from actionrec.core.errors import ActionrecError
from actionrec.parallel.engines import ray_program
from actionrec.parallel.engines.ray_cluster import library_versions
from actionrec.parallel.engines.ray_program import Program, ProgramKilledError


def run(project, code, output=None, **environment):
    """Run a program as a worker does; return its exit status and its output."""
    new, lock = ray_program._create_files(project / "logs", "gru")
    program = Program("gru", ["-c", code], str(project), output or new, lock, environment)
    return ray_program._run(program, library_versions()), new.read_text()


def test_a_program_runs_in_the_project_with_the_driver_s_settings_but_not_ray_s(project, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as Ray sets it for a task of one core
    code = "import os; print(os.getcwd(), os.environ['ACTIONREC_DEVICE'], os.environ.get('OMP_NUM_THREADS')); raise SystemExit(3)"
    status, printed = run(project, code, ACTIONREC_DEVICE="cuda")
    assert status == 3
    first, second = printed.splitlines()
    assert first.startswith("gru: runs on ")
    assert second == f"{project} cuda None"
    assert run(project, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")[0] == -11


def test_a_killed_program_is_told_from_one_that_fails(project):
    with pytest.raises(ProgramKilledError, match=r"^the program was killed \(possibly out of memory\) on "):
        run(project, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")


def test_a_machine_that_does_not_share_the_folder_is_refused(project):
    with pytest.raises(ActionrecError, match=r"does not share the project's folder: No such file.*: /elsewhere/gru\.out\."):
        run(project, "", output=Path("/elsewhere/gru.out"))


def test_an_interrupted_worker_interrupts_its_program(project, monkeypatch):
    code = "import time\ntry:\n  open('started', 'w').close(); time.sleep(600)\nexcept KeyboardInterrupt:\n  print('cleaned up')"

    def interrupt(seconds):
        before(seconds)
        if Path("started").exists():
            Path("started").unlink()
            raise KeyboardInterrupt

    before = time.sleep
    monkeypatch.setattr(ray_program.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(project, code)
    (output,) = project.glob("logs/*.out")
    assert output.read_text().splitlines()[-1] == "cleaned up"


def test_an_attempt_waits_for_an_earlier_one_but_not_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_program, "_LOCK_SECONDS", 0.1)
    lock = tmp_path / "lock"
    lock.touch()
    with ray_program._alone(lock) as first:
        assert len(first) == 1
        with ray_program._alone(lock) as second:
            assert second == []
    os.close(file_lock.try_lock(lock))


def test_each_run_has_an_output_file_of_a_new_name_and_removes_those_of_killed_drivers(tmp_path):
    first, lock = ray_program._create_files(tmp_path, "gru")
    other = ray_program._create_files(tmp_path, "gru_attention")[0]
    second, _ = ray_program._create_files(tmp_path, "gru")
    assert first != second
    assert sorted(tmp_path.glob("*.out")) == sorted([other, second])
    assert lock.exists()


@pytest.mark.parametrize(
    ("machines", "with_gpu", "expected"),
    [
        ([{"CPU": 8.0}, {"CPU": 1.0}], False, 2),
        ([{"CPU": 1.0}, {}], False, 1),  # two cores would never be free
        ([{"CPU": 8.0}, {"CPU": 1.0, "GPU": 1.0}], True, 1),
        ([{}], False, 2),  # of a machine that may join
    ],
)
def test_a_training_takes_two_cores_where_a_machine_has_them(monkeypatch, machines, with_gpu, expected):
    ray = pytest.importorskip("ray")
    nodes = [{"Alive": True, "Resources": resources} for resources in machines]
    monkeypatch.setattr(ray, "nodes", lambda: [*nodes, {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 1.0}}])
    assert ray_program._cores(with_gpu=with_gpu) == expected


def test_the_program_gets_the_settings_of_this_project_and_of_dvc(monkeypatch):
    for name in ("ACTIONREC_RUNTIME", "DVC_ROOT", "DVC_STAGE", "MKL_CBWR", "EDITOR"):
        monkeypatch.setenv(name, "x")
    names = ray_program._environment().keys()
    assert {"ACTIONREC_RUNTIME", "DVC_ROOT", "MKL_CBWR"} <= names
    assert not {"DVC_STAGE", "EDITOR", "PATH"} & names


def test_output_is_printed_from_where_it_was_left(tmp_path, capfdbinary):
    output = tmp_path / "gru.out"
    output.write_bytes(b"one\n\xff")
    assert ray_program._print_from(output, 0) == 5
    output.write_bytes(b"one\n\xfftwo\n")
    assert ray_program._print_from(output, 5) == 4
    assert capfdbinary.readouterr().err == b"one\n\xfftwo\n"
