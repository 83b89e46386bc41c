"""Settings of the machine, from environment variables: they change speed, never a result, so they are no parameters."""

import ctypes
import os
import signal
import sys

from actionrec.errors import ActionrecError


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


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device() -> str:
    """Where networks run, as torch names it: ACTIONREC_DEVICE (auto, cpu, cuda, cuda:1), else a GPU where there is one.

    Raises:
        ActionrecError: the variable names no device, or one that this machine lacks.
    """
    wanted = os.environ.get("ACTIONREC_DEVICE") or "auto"
    if wanted == "cpu":
        return wanted
    import torch  # here, since stages that run no network need not wait for torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = wanted.partition(":")
    if kind != "cuda" or not (number.isdecimal() or wanted == "cuda"):
        raise ActionrecError(f"ACTIONREC_DEVICE must be auto, cpu, cuda or cuda:<number>; got {wanted!r}")
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(number or 0) >= found:
        raise ActionrecError(f"ACTIONREC_DEVICE is {wanted}, but torch finds {found} CUDA devices here. Unset it, or use cpu.")
    return wanted


def device_name(device: str) -> str:
    """The device in words for people, such as `cpu (AMD EPYC, 2 cores)`."""
    if device.startswith("cuda"):
        import torch

        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({_processor()}, {cores()} cores)"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        import platform

        return platform.processor() or platform.machine()


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, so that a killed `dvc repro` leaves nobody writing (Linux)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
