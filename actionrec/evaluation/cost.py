"""What a model costs for one clip: operations, memory, and, measured, time. T frames, D features a frame; no backbone.

`flops` and `memory` are counted, the same on every machine. `latency` is measured: it belongs in a timing file.
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

_WARM_UP = 3  # clips before the first that is timed: the first allocates memory and chooses kernels


@dataclass(frozen=True)
class Memory:
    """Bytes that one clip needs of a model in use (no gradients)."""

    parameter_bytes: int  # learned scalars, and what is stored with them, as the standardiser's statistics
    activation_bytes: int  # the most at any moment of a forward pass, the input included


def flops(model: nn.Module, frames: int, feature_dim: int) -> int:
    """Floating-point operations of a forward pass of one clip; a multiplication and an addition are two.

    Matrix products only, as is usual: sums, norms and activations are below 1 % in these models. Counted by torch on the meta
    device, which runs each model in its elementary operations: on a CPU or GPU an LSTM or an attention is one fused operation
    that torch counts as nothing.
    """
    network, clip = _on_meta(model, frames, feature_dim)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(clip)
    return counter.get_total_flops()


def memory(model: nn.Module, frames: int, feature_dim: int) -> Memory:
    """Bytes of a model's parameters, and of the tensors alive at once in a forward pass of one clip at their most.

    Counted on the meta device: every tensor that the elementary operations make, until nothing refers to it any more. What a
    library's fused operations need for themselves is not in it, nor are the program and its libraries, which in a process of
    its own take hundreds of times as much; parameters count in the type that they have.
    """
    network, clip = _on_meta(model, frames, feature_dim)
    stored = [*network.parameters(), *network.buffers()]
    with torch.inference_mode(), _LiveBytes(clip, {StorageWeakRef(one.untyped_storage()).cdata for one in stored}) as live:
        network(clip)
    return Memory(sum(one.nbytes for one in stored), live.peak)


def latency(model: nn.Module, frames: int, feature_dim: int, repeats: int = 20, threads: int = 1) -> float:
    """Measure the median milliseconds that a model takes for one clip alone, on the CPU, from features to logits.

    The model stays as it is: a copy runs. torch's number of threads is what it was afterwards.

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


def _on_meta(model: nn.Module, frames: int, feature_dim: int) -> tuple[nn.Module, Tensor]:
    """A copy of the model and a clip (1, T, D), both without numbers: operations on them compute shapes alone."""
    return copy.deepcopy(model).to("meta").eval(), torch.empty(1, frames, feature_dim, device="meta")


class _LiveBytes(TorchDispatchMode):
    """Follows the tensors that operations make, and keeps the most bytes that were alive at once."""

    def __init__(self, clip: Tensor, known: set[int]) -> None:
        super().__init__()
        self.known = known  # storages of parameters
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0
        self._note([clip])

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self._note(made)
        return made

    def _note(self, made: Any) -> None:
        self.alive = {place: (weak, size) for place, (weak, size) in self.alive.items() if not weak.expired()}
        for tensor in tree_iter(made):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                weak = StorageWeakRef(storage)
                if weak.cdata not in self.known:
                    self.alive[weak.cdata] = (weak, storage.nbytes())
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
