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


@pytest.mark.parametrize(
    ("variable", "read", "allowed", "texts"),
    [
        ("ACTIONREC_WORKERS", machine.workers, "a whole number from 1", ["0", "-1", "1.5", " ", "²"]),
        ("ACTIONREC_ENGINE", machine.engine, "local or ray", ["Ray", " ", "local,ray"]),
        ("ACTIONREC_DEVICE", machine.device, "auto, cpu, cuda or cuda:<number>", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0"]),
    ],
)
def test_a_variable_with_another_value_is_rejected(monkeypatch, variable, read, allowed, texts):
    for text in texts:
        monkeypatch.setenv(variable, text)
        with pytest.raises(ActionrecError) as error:
            read()
        assert str(error.value) == f"{variable} must be {allowed}; got {text!r}"


def test_the_variables_choose_workers_and_engine(monkeypatch):
    monkeypatch.setenv("ACTIONREC_WORKERS", "007")
    assert machine.workers() == 7
    for text, expected in (("", "local"), ("local", "local"), ("ray", "ray")):
        monkeypatch.setenv("ACTIONREC_ENGINE", text)
        assert machine.engine() == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not have the call")
def test_by_default_there_is_a_worker_for_each_core_that_this_process_may_use(monkeypatch):
    monkeypatch.setenv("ACTIONREC_WORKERS", "")
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
    def refuse(path, **options):
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", refuse)
    machine._cpuinfo.cache_clear()
    assert not machine.has_bf16("cpu")
    assert machine.device_name("cpu").startswith("cpu (")
    machine._cpuinfo.cache_clear()


def test_neither_the_device_cpu_nor_parameters_need_torch():
    code = "import sys; from actionrec.io import machine, params; print(machine.device(), 'torch' in sys.modules)"
    environment = {**os.environ, "ACTIONREC_DEVICE": "cpu"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "cpu False\n"


def test_the_device_is_the_requested_one_or_a_gpu_if_there_is_one(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    for text, expected in (("auto", "cuda"), ("cuda", "cuda"), ("cuda:1", "cuda:1"), ("cpu", "cpu")):
        monkeypatch.setenv("ACTIONREC_DEVICE", text)
        assert machine.device() == expected
    monkeypatch.setenv("ACTIONREC_DEVICE", "cuda:2")
    message = "ACTIONREC_DEVICE is {}, but torch finds {} CUDA devices here. Unset it, or use cpu."
    with pytest.raises(ActionrecError, match=message.format("cuda:2", 2)):
        machine.device()
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setenv("ACTIONREC_DEVICE", "cuda")
    with pytest.raises(ActionrecError, match=message.format("cuda", 0)):
        machine.device()


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


def test_variables_that_make_results_wrong_do_not_reach_the_libraries_or_other_processes():
    code = "import os, actionrec; os.execvp('printenv', ['printenv'])"
    variables = {**os.environ, **dict.fromkeys(environment.IGNORED, "1")}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    assert not set(environment.IGNORED) & {line.partition("=")[0] for line in done.stdout.splitlines()}


def shard_folder(name):
    """The folder of a shard that is computed here."""
    job = ShardJob(name, "ab" * 32, 1, None)
    return shards.complete("frames", [job], compute_nothing, what="Computing", workers=1)[name]


def compute_nothing(job, draft, advance):
    (draft / "shard").write_text("")


def test_work_computed_with_other_instructions_is_not_reused(project, monkeypatch):
    for name in machine.ARITHMETIC:
        monkeypatch.delenv(name, raising=False)
    before = shard_folder("a"), checkpoints.checkpoint("gru", {}).path
    assert before[0] == paths.WORK / "frames" / ("ab" * 32)
    others = set()
    for name in machine.ARITHMETIC:
        monkeypatch.setenv(name, "AVX2")
        others |= {shard_folder("a"), checkpoints.checkpoint("gru", {}).path}
        monkeypatch.setenv(name, "")  # the same as unset
    assert len(others - {*before}) == 2 * len(machine.ARITHMETIC)
    assert (shard_folder("a"), checkpoints.checkpoint("gru", {}).path) == before
