"""Settings of the machine, from environment variables. They affect speed only, so they are not parameters."""

import os
import platform
from functools import lru_cache
from pathlib import Path

from actionrec.core.errors import ActionrecError

TRAINING_THREADS = 2
"""CPU threads of a training. Fixed, because the result of a matrix product depends on the number of threads."""

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
"""Environment variables that select processor instructions. They change rounding, as another processor would."""

_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # x86 and ARM


def workers() -> int:
    """Number of worker processes: ACTIONREC_WORKERS, by default one for each core that this process may use.

    Raises:
        ActionrecError: the variable is not a whole number from 1.
    """
    text = os.environ.get("ACTIONREC_WORKERS", "")
    if not text:
        return cores()
    if not text.isdecimal() or int(text) < 1:
        raise ActionrecError(f"ACTIONREC_WORKERS must be a whole number from 1; got {text!r}")
    return int(text)


def engine() -> str:
    """The engine that decodes and computes features: ACTIONREC_ENGINE, `local` (this machine) or `ray` (a Ray cluster).

    Raises:
        ActionrecError: the variable has another value.
    """
    requested = os.environ.get("ACTIONREC_ENGINE") or "local"
    if requested not in ("local", "ray"):
        raise ActionrecError(f"ACTIONREC_ENGINE must be local or ray; got {requested!r}")
    return requested


def arithmetic() -> dict[str, str]:
    """The variables of ARITHMETIC that are set, by name. They are part of the key of all work stored in .work."""
    return {name: os.environ[name] for name in ARITHMETIC if os.environ.get(name)}


def cores() -> int:
    """Processor cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def has_bf16(device: str) -> bool:
    """Whether a device has hardware for bf16 matrix products. Without it, bf16 is slower than float32."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_capability(device) >= (8, 0)
    return not _BF16_FLAGS.isdisjoint(_cpuinfo("flags", "Features").split())


def device() -> str:
    """The torch device for networks: ACTIONREC_DEVICE (auto, cpu, cuda, cuda:1); by default a GPU if there is one.

    Raises:
        ActionrecError: the variable is not a device, or this machine does not have it.
    """
    requested = requested_device()
    if requested == "cpu":
        return requested
    import torch  # imported here, so that stages without a network do not wait for torch

    if requested == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    gpu_count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(requested.partition(":")[2] or 0) >= gpu_count:
        raise ActionrecError(
            f"ACTIONREC_DEVICE is {requested}, but torch finds {gpu_count} CUDA devices here. Unset it, or use cpu."
        )
    return requested


def requested_device() -> str:
    """ACTIONREC_DEVICE (auto, cpu, cuda, cuda:1), not compared with the devices of this machine.

    Raises:
        ActionrecError: the variable is not a device.
    """
    requested = os.environ.get("ACTIONREC_DEVICE") or "auto"
    kind, _, number = requested.partition(":")
    if requested not in ("auto", "cpu", "cuda") and not (kind == "cuda" and number.isdecimal()):
        raise ActionrecError(f"ACTIONREC_DEVICE must be auto, cpu, cuda or cuda:<number>; got {requested!r}")
    return requested


def device_name(device: str) -> str:
    """The device's name for people, such as `cpu (AMD EPYC, 2 cores)`."""
    if device.startswith("cuda"):
        import torch

        return f"{device} ({torch.cuda.get_device_name(device)})"
    processor = _cpuinfo("model name") or platform.processor() or platform.machine()
    return f"cpu ({processor}, {cores()} cores)"


@lru_cache
def _cpuinfo(*names: str) -> str:
    """The first processor's entry in /proc/cpuinfo under one of these names; "" if there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() in names), "")
