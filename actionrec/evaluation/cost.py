"""Cost of a network for one clip: operations, memory and latency. T frames, D features a frame.

Operations and memory are counted and the same on every machine. `latency` is measured, so it belongs in a timing file.
"""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry

from actionrec.io.network_copy import copied

_WARM_UP = 3  # clips before timing starts, because the first allocates memory and chooses kernels


@dataclass(frozen=True)
class Memory:
    """Bytes that a model needs for one clip, without gradients."""

    parameter_bytes: int  # parameters and buffers, such as the standardiser's statistics
    activation_bytes: int  # peak during a forward pass, including the input


def flops(model: nn.Module, frames: int, feature_dim: int) -> int:
    """Floating-point operations of a sequence model for one clip; a multiplication and an addition count as two.

    Matrix products only, as usual: sums, norms and activations are below 1 % in these models.
    """
    with _elementary_operations():
        return _flops(model, _features(frames, feature_dim))


def backbone_flops(backbone: nn.Module, frames: int, resolution: int) -> int:
    """Floating-point operations of a backbone for the T frames of one clip, counted like those of `flops`.

    Args:
        resolution: width and height of the frames, pixels.
    """
    return _flops(backbone, _pictures(frames, resolution))


def memory(model: nn.Module, frames: int, feature_dim: int) -> Memory:
    """Bytes of a model's parameters, and the peak of the tensors alive during a forward pass of one clip.

    Counts every tensor that an elementary operation returns, until nothing refers to it. Excludes the workspace of fused
    operations, and the program and its libraries, which take hundreds of times as much as a sequence model.
    """
    with _elementary_operations():
        return _memory(model, _features(frames, feature_dim))


def backbone_memory(backbone: nn.Module, frames: int, resolution: int) -> Memory:
    """Bytes of a backbone for `frames` frames at a time, counted like those of `memory`."""
    return _memory(backbone, _pictures(frames, resolution))


def latency(model: nn.Module, frames: int, feature_dim: int, repeats: int = 20, threads: int = 1) -> float:
    """Measure the median milliseconds of one clip at a time, on the CPU, from features to logits.

    Runs a copy of the model, and restores torch's number of threads.

    Raises:
        ValueError: fewer than 1 repeat or thread.
    """
    if repeats < 1 or threads < 1:
        raise ValueError(f"repeats and threads must be at least 1; got {repeats} and {threads}")
    network = copied(model, "cpu").eval()
    clip = torch.randn(1, frames, feature_dim, generator=torch.Generator().manual_seed(0))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    milliseconds = []
    try:
        with torch.inference_mode():
            for _ in range(_WARM_UP + repeats):
                start = time.perf_counter()
                network(clip)
                milliseconds.append(1000 * (time.perf_counter() - start))
    finally:
        torch.set_num_threads(before)
    return statistics.median(milliseconds[_WARM_UP:])


def _features(frames: int, feature_dim: int) -> Tensor:
    """A clip's features (1, T, D). On the CPU: a sequence model takes milliseconds, but loading the meta device seconds."""
    return torch.randn(1, frames, feature_dim, generator=torch.Generator().manual_seed(0))


def _pictures(frames: int, resolution: int) -> Tensor:
    """A clip's frames (T, H, W, 3) on the meta device, where operations compute only shapes."""
    return torch.empty(frames, resolution, resolution, 3, dtype=torch.uint8, device="meta")


@contextmanager
def _elementary_operations() -> Iterator[None]:
    """Split recurrent and attention layers into elementary operations, which can be counted, as the meta device always does."""
    recurrent, attention = torch.backends.mkldnn.enabled, torch.backends.mha.get_fastpath_enabled()
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]  # a property, though typed as its descriptor
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mkldnn.enabled = recurrent
        torch.backends.mha.set_fastpath_enabled(attention)


def _flops(network: nn.Module, clip: Tensor) -> int:
    network = copied(network, str(clip.device)).eval()
    with torch.no_grad(), _Products() as products:  # inference mode would not split all operations
        network(clip)
    return products.flops


def _memory(network: nn.Module, clip: Tensor) -> Memory:
    network = copied(network, str(clip.device)).eval()
    stored = [*network.parameters(), *network.buffers()]
    with torch.inference_mode(), _LiveBytes(clip, {StorageWeakRef(one.untyped_storage()).cdata for one in stored}) as live:
        network(clip)
    return Memory(sum(one.nbytes for one in stored), live.peak)


class _Mode(TorchDispatchMode):
    """Sees every operation, without loading torch's compiler, as torch's own `FlopCounterMode` does. Loading takes two seconds."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class _Products(_Mode):
    """Counts the floating-point operations of matrix products and convolutions, by torch's formulas."""

    flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func.overloadpacket):
            self.flops += formula(*args, **(kwargs or {}), out_val=result)
        return result


class _LiveBytes(_Mode):
    """Tracks the tensors that operations return, and records the peak of bytes alive at once."""

    def __init__(self, clip: Tensor, known: set[int]) -> None:
        super().__init__()
        self.known = known  # storages of parameters
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0
        self._note([clip])

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._note(result)
        return result

    def _note(self, result: Any) -> None:
        self.alive = {place: (weak, size) for place, (weak, size) in self.alive.items() if not weak.expired()}
        for tensor in tree_iter(result):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                weak = StorageWeakRef(storage)
                if weak.cdata not in self.known:
                    self.alive[weak.cdata] = (weak, storage.nbytes())
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
