"""Settings of the machine, from environment variables: they change speed, never a result, so they are not parameters."""

import os
from functools import lru_cache
from pathlib import Path

from actionrec.core.errors import ActionrecError

TRAINING_THREADS = 2
"""Of a CPU. Fixed, since sums depend on how matrix products are cut up: more cores must not change a result."""

ARITHMETIC = (
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "DNNL_CPU_ISA_HINTS",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
    "ONEDNN_CPU_ISA_HINTS",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "OPENCV_CPU_DISABLE",
)
"""Environment variables by which libraries choose instructions: they change results by rounding, as another processor does."""

_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # of x86 processors, and of ARM's


def workers() -> int:
    """Processes for long work: ACTIONREC_WORKERS, else one for each core that this process may use.

    Raises:
        ActionrecError: the variable is no whole number from 1.
    """
    text = os.environ.get("ACTIONREC_WORKERS", "")
    if not text:
        return cores()
    if not text.isdecimal() or int(text) < 1:
        raise ActionrecError(f"ACTIONREC_WORKERS must be a whole number from 1; got {text!r}")
    return int(text)


def engine() -> str:
    """Who decodes and makes features: ACTIONREC_ENGINE, `local` (this machine's processes) or `ray` (a Ray cluster's).

    Raises:
        ActionrecError: the variable names neither.
    """
    wanted = os.environ.get("ACTIONREC_ENGINE") or "local"
    if wanted not in ("local", "ray"):
        raise ActionrecError(f"ACTIONREC_ENGINE must be local or ray; got {wanted!r}")
    return wanted


def arithmetic() -> dict[str, str]:
    """The variables of ARITHMETIC that are set, by name: a part of the key of all work that waits in .work."""
    return {name: os.environ[name] for name in ARITHMETIC if os.environ.get(name)}


def cores() -> int:
    """Processor cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def has_bf16(device: str) -> bool:
    """Whether a device multiplies matrices of bf16 in its hardware; elsewhere bf16 is slower than float32."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_capability(device) >= (8, 0)
    return not _BF16_FLAGS.isdisjoint(_cpuinfo("flags", "Features").split())


def device() -> str:
    """Where networks run, as torch names it: ACTIONREC_DEVICE (auto, cpu, cuda, cuda:1), else a GPU where there is one.

    Raises:
        ActionrecError: the variable names no device, or one that this machine lacks.
    """
    wanted = wanted_device()
    if wanted == "cpu":
        return wanted
    import torch  # here, since stages that run no network need not wait for torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(wanted.partition(":")[2] or 0) >= found:
        raise ActionrecError(f"ACTIONREC_DEVICE is {wanted}, but torch finds {found} CUDA devices here. Unset it, or use cpu.")
    return wanted


def wanted_device() -> str:
    """ACTIONREC_DEVICE (auto, cpu, cuda, cuda:1), whatever this machine has.

    Raises:
        ActionrecError: the variable names no device.
    """
    wanted = os.environ.get("ACTIONREC_DEVICE") or "auto"
    kind, _, number = wanted.partition(":")
    if wanted not in ("auto", "cpu", "cuda") and not (kind == "cuda" and number.isdecimal()):
        raise ActionrecError(f"ACTIONREC_DEVICE must be auto, cpu, cuda or cuda:<number>; got {wanted!r}")
    return wanted


def device_name(device: str) -> str:
    """The device in words for people, such as `cpu (AMD EPYC, 2 cores)`."""
    if device.startswith("cuda"):
        import torch

        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({_processor()}, {cores()} cores)"


def _processor() -> str:
    import platform

    return _cpuinfo("model name") or platform.processor() or platform.machine()


@lru_cache
def _cpuinfo(*names: str) -> str:
    """What Linux says of the first processor under one of these names; empty where it says nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() in names), "")
