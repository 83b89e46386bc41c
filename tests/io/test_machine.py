import os
import subprocess
import sys
from pathlib import Path

import pytest

from actionrec.core import paths
from actionrec.core.errors import ActionrecError
from actionrec.io import environment, machine
from actionrec.parallel import shards
from actionrec.parallel.shard_store import ShardJob
from actionrec.training import checkpoints


@pytest.mark.parametrize(("text", "expected"), [("1", 1), ("16", 16), ("007", 7)])
def test_workers_are_as_many_as_the_variable_says(monkeypatch, text, expected):
    monkeypatch.setenv("ACTIONREC_WORKERS", text)
    assert machine.workers() == expected


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", " ", "²"])
def test_workers_that_are_no_whole_number_are_refused(monkeypatch, text):
    monkeypatch.setenv("ACTIONREC_WORKERS", text)
    with pytest.raises(ActionrecError) as error:
        machine.workers()
    assert str(error.value) == f"ACTIONREC_WORKERS must be a whole number from 1; got {text!r}"


@pytest.mark.parametrize(("text", "expected"), [(None, "local"), ("", "local"), ("local", "local"), ("ray", "ray")])
def test_the_engine_is_what_the_variable_says_else_this_machine(monkeypatch, text, expected):
    monkeypatch.delenv("ACTIONREC_ENGINE", raising=False)
    if text is not None:
        monkeypatch.setenv("ACTIONREC_ENGINE", text)
    assert machine.engine() == expected


@pytest.mark.parametrize("text", ["Ray", "cluster", " ", "local,ray"])
def test_an_engine_that_is_none_is_refused(monkeypatch, text):
    monkeypatch.setenv("ACTIONREC_ENGINE", text)
    with pytest.raises(ActionrecError) as error:
        machine.engine()
    assert str(error.value) == f"ACTIONREC_ENGINE must be local or ray; got {text!r}"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no such call here")
@pytest.mark.parametrize("text", [None, ""])
def test_workers_are_else_the_cores_that_this_process_may_use(monkeypatch, text):
    monkeypatch.setenv("ACTIONREC_WORKERS", text) if text is not None else monkeypatch.delenv("ACTIONREC_WORKERS", raising=False)
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert machine.workers() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert machine.workers() == len(allowed)


def test_without_sched_getaffinity_every_core_counts(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert machine.cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.cores() == 1


def test_without_proc_the_processor_is_named_and_bf16_is_not_assumed(monkeypatch):
    real = Path.read_text

    def read_text(path, *arguments, **options):
        if path.is_relative_to("/proc"):
            raise FileNotFoundError(path)
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", read_text)
    machine._cpuinfo.cache_clear()
    assert not machine.has_bf16("cpu")
    assert machine.device_name("cpu").startswith("cpu (")
    machine._cpuinfo.cache_clear()


def test_the_cpu_is_a_device_without_waiting_for_torch():
    code = "import sys; from actionrec.io import machine; print(machine.device(), 'torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "ACTIONREC_DEVICE": "cpu"}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "cpu False\n"


@pytest.mark.parametrize("text", ["gpu", "CUDA", "cuda:", "cuda:x", "cuda:-1", "cpu:0"])
def test_a_device_that_is_none_is_refused(monkeypatch, text):
    monkeypatch.setenv("ACTIONREC_DEVICE", text)
    with pytest.raises(ActionrecError) as error:
        machine.device()
    assert str(error.value) == f"ACTIONREC_DEVICE must be auto, cpu, cuda or cuda:<number>; got {text!r}"


@pytest.mark.parametrize("text", ["cuda", "cuda:0", "cuda:1"])
def test_a_gpu_that_is_not_there_is_refused(monkeypatch, text):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setenv("ACTIONREC_DEVICE", text)
    with pytest.raises(
        ActionrecError, match=f"ACTIONREC_DEVICE is {text}, but torch finds 0 CUDA devices here. Unset it, or use cpu."
    ):
        machine.device()


def test_a_gpu_is_taken_where_there_is_one(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    for text, expected in (("auto", "cuda"), ("cuda", "cuda"), ("cuda:1", "cuda:1"), ("cpu", "cpu")):
        monkeypatch.setenv("ACTIONREC_DEVICE", text)
        assert machine.device() == expected
    monkeypatch.setenv("ACTIONREC_DEVICE", "cuda:2")
    with pytest.raises(ActionrecError, match="torch finds 2 CUDA devices"):
        machine.device()


def test_the_device_s_name_is_for_people(monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: 3)
    assert machine.device_name("cpu").startswith("cpu (")
    assert machine.device_name("cpu").endswith(", 3 cores)")


@pytest.mark.parametrize(
    ("flags", "has"),
    [("fpu avx2", False), ("avx512_bf16 fpu", True), ("amx_bf16 amx_tile", True), ("asimd bf16 i8mm", True), ("", False)],
)
def test_bf16_is_known_from_the_processors_flags(monkeypatch, flags, has):
    monkeypatch.setattr(machine, "_cpuinfo", lambda *names: flags)
    assert machine.has_bf16("cpu") == has


COMPUTE = """
import hashlib, os
from actionrec.io import environment
import numpy as np
import torch

torch.set_num_threads(2)
torch.manual_seed(0)
one, other = torch.randn(256, 2048), torch.randn(2048, 256)
product = one.bfloat16() @ other.bfloat16()
exact = one.bfloat16().double() @ other.bfloat16().double()
assert (product.double() - exact).abs().max() < 1, "a bf16 product is wrong"
sums = torch.stack([torch.randn(1_000_000).exp().sum() for _ in range(8)])
results = [sums, product.float(), one @ other, torch.nn.functional.softmax(one, 1)]
results = [result.numpy() for result in results] + [one.numpy() @ other.numpy()]
print(hashlib.sha256(b"".join(result.tobytes() for result in results)).hexdigest())
"""
WRONG = {
    "OMP_THREAD_LIMIT": "1",
    "OMP_DYNAMIC": "TRUE",
    "OMP_MAX_ACTIVE_LEVELS": "0",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "2",
    "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
    "DNNL_DEFAULT_FPMATH_MODE": "BF16",
}


def test_variables_that_limit_threads_or_precision_change_no_result():
    def computed(**variables):
        environment = {name: text for name, text in os.environ.items() if name not in WRONG} | variables
        return subprocess.run([sys.executable, "-c", COMPUTE], env=environment, capture_output=True, text=True, check=True).stdout

    assert computed(**WRONG) == computed()


@pytest.mark.parametrize("name", environment.IGNORED)
def test_a_variable_that_makes_results_wrong_does_not_reach_the_libraries_or_other_processes(name):
    code = f"import os, actionrec; os.execvp('printenv', ['printenv', {name!r}])"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, name: "1"}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")


def shard_folder(name):
    """The folder of a shard that is made here."""
    made = shards.complete("frames", [ShardJob(name, "ab" * 32, 1, None)], make_nothing, what="Making", workers=1)
    return made[name]


def make_nothing(job, draft, advance):
    (draft / "shard").write_text("")


@pytest.mark.parametrize("name", machine.ARITHMETIC)
def test_work_computed_with_other_instructions_is_not_taken_for_this_machines(project, monkeypatch, name):
    for other in machine.ARITHMETIC:
        monkeypatch.delenv(other, raising=False)
    before = shard_folder("a"), checkpoints.checkpoint("gru", {}).path
    assert before[0] == paths.WORK / "frames" / ("ab" * 32)
    monkeypatch.setenv(name, "AVX2")
    after = shard_folder("a"), checkpoints.checkpoint("gru", {}).path
    assert len({*before, *after}) == 4
    monkeypatch.setenv(name, "")  # as good as unset
    assert (shard_folder("a"), checkpoints.checkpoint("gru", {}).path) == before
