"""The parts of the Ray engine that need no cluster; test_ray_runs.py has the others."""

import fcntl
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from actionrec.parallel.engines import ray as engine

ROOT = Path(__file__).parents[2]


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
    assert pickle.loads(engine._pack((bytes, [1, 2.5, "é"]))) == (bytes, [1, 2.5, "é"])  # others as usual


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
