"""Cost of a network for one clip: operations, memory and latency. T frames, D features a frame.

Operations and memory are counted and the same on every machine. `latency` is measured, so it belongs in a timing file.
"""

import copy
import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode

_WARM_UP = 3  # clips before timing starts, because the first allocates memory and chooses kernels


@dataclass(frozen=True)
class Memory:
    """Bytes that a model needs for one clip, without gradients."""

    parameter_bytes: int  # parameters and buffers, such as the standardiser's statistics
    activation_bytes: int  # peak during a forward pass, including the input


def flops(model: nn.Module, frames: int, feature_dim: int) -> int:
    """Floating-point operations of a sequence model for one clip; a multiplication and an addition count as two.

    Matrix products only, as usual: sums, norms and activations are below 1 % in these models. torch counts them on the meta
    device, which splits each model into elementary operations. On a CPU or GPU, an LSTM or an attention layer is one fused
    operation that torch does not count.
    """
    return _flops(model, _features(frames, feature_dim))


def backbone_flops(backbone: nn.Module, frames: int, resolution: int) -> int:
    """Floating-point operations of a backbone for the T frames of one clip, counted like those of `flops`.

    Args:
        resolution: width and height of the frames, pixels.
    """
    return _flops(backbone, _pictures(frames, resolution))


def memory(model: nn.Module, frames: int, feature_dim: int) -> Memory:
    """Bytes of a model's parameters, and the peak of the tensors alive during a forward pass of one clip.

    Counted on the meta device: every tensor that an elementary operation returns, until nothing refers to it. Excludes the
    workspace of fused operations, and the program and its libraries, which take hundreds of times as much as a sequence model.
    """
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
    network = copy.deepcopy(model).cpu().eval()
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
    """A clip's features (1, T, D) on the meta device, where operations compute only shapes."""
    return torch.empty(1, frames, feature_dim, device="meta")


def _pictures(frames: int, resolution: int) -> Tensor:
    """A clip's frames (T, H, W, 3) on the meta device."""
    return torch.empty(frames, resolution, resolution, 3, dtype=torch.uint8, device="meta")


def _flops(network: nn.Module, clip: Tensor) -> int:
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        _on_meta(network)(clip)
    return counter.get_total_flops()


def _memory(network: nn.Module, clip: Tensor) -> Memory:
    network = _on_meta(network)
    stored = [*network.parameters(), *network.buffers()]
    with torch.inference_mode(), _LiveBytes(clip, {StorageWeakRef(one.untyped_storage()).cdata for one in stored}) as live:
        network(clip)
    return Memory(sum(one.nbytes for one in stored), live.peak)


def _on_meta(network: nn.Module) -> nn.Module:
    """A copy of the network on the meta device."""
    return copy.deepcopy(network).to("meta").eval()


class _LiveBytes(TorchDispatchMode):
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
