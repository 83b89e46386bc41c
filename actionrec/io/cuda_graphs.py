"""CUDA graphs: many kernels in one launch. A GPU computes a small batch faster than Python launches its kernels.

A graph replays the kernels that torch would launch, with the same arguments, so results are the same bytes.
"""

import gc
import logging
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

logger = logging.getLogger(__name__)

WARM_UP = 3
"""Runs before a capture, in which libraries choose kernels and allocate memory."""

Result = TypeVar("Result")


def capture(run: Callable[[], Result], stream: torch.cuda.Stream) -> tuple[Callable[[], None], Result]:
    """Capture the kernels that `run` launches, on a stream on which it has run before. This computes nothing yet.

    A failed capture can leave torch without a working memory allocator (2.11), so run `run` in `without_waiting` before.

    Returns:
        A function that starts the kernels on the current stream; and the result of `run`, whose tensors they overwrite.

    Raises:
        RuntimeError: `run` does what a graph cannot hold.
    """
    current = torch.cuda.current_stream(stream.device)
    generator = torch.cuda.default_generators[stream.device_index]
    random_state = generator.clone_state()
    graph = torch.cuda.CUDAGraph()
    try:
        with (
            _no_garbage_collection(),
            torch.cuda.device(stream.device),  # else torch would prepare the first GPU as well
            torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"),
        ):
            result = run()
    except RuntimeError as error:
        # torch leaves both in the state of a capture.
        torch.cuda.set_stream(current)
        generator.graphsafe_set_state(random_state)
        raise RuntimeError(str(error.__context__ or error)) from error  # the first error says what failed
    return graph.replay, result


@contextmanager
def without_waiting() -> Iterator[None]:
    """Raise a RuntimeError where Python waits for the GPU, in any thread. A graph cannot hold that."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Synchronization debug mode is a prototype")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """The collector might free an old graph, which ends the capture of another one."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class RepeatedStep:
    """Calls a function many times, which works on the same tensors: on a GPU, its CUDA graph replaces it after a few calls.

    The graph is used only if its first replay leaves the same bytes in all tensors as the function does.

    Keeps no reference to the function, because the function's owner has one to this: the graph's memory, often gigabytes, would
    stay until garbage is collected.
    """

    def __init__(self, device: torch.device, what: str) -> None:
        """Args: `what` names the step in the warning that it cannot be captured."""
        self._device, self._what = device, what
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._calls = 0
        self._replay: Callable[[], None] | None = None

    def __call__(self, step: Callable[[], None], tensors: Callable[[], Sequence[Tensor]]) -> None:
        """Start one step; does not wait for it, except for that of the capture.

        Args:
            step: the same function in each call.
            tensors: gives all tensors that `step` changes; called after its first calls.
        """
        self._calls += 1
        if self._stream is None:
            step()
        elif self._replay is not None:
            self._replay()
        elif self._calls == WARM_UP + 1:
            self._replay = self._captured(step, tensors, self._stream)
        else:
            self._launch(step, self._stream)

    def _captured(
        self, step: Callable[[], None], tensors: Callable[[], Sequence[Tensor]], stream: torch.cuda.Stream
    ) -> Callable[[], None] | None:
        """Take one step, and capture it; None if it cannot be captured, or the graph does something else."""
        try:
            before = self._state(tensors())
        except torch.OutOfMemoryError as error:  # of the copies, which training without a graph does not need
            self._launch(step, stream)
            self._warn(str(error))
            return None
        places, on_cpu = _places(tensors()), _random_states()
        try:
            with without_waiting():
                self._launch(step, stream)
        except RuntimeError as error:
            self._restore(tensors(), before)
            self._launch(step, stream)
            self._warn(str(error))
            return None
        if _places(tensors()) != places or _random_states() != on_cpu:
            self._warn("it replaces tensors, or draws random numbers on the CPU")
            return None
        try:
            after = self._state(tensors())
        except torch.OutOfMemoryError as error:
            self._warn(str(error))
            return None
        self._restore(tensors(), before)
        try:
            replay, _ = capture(step, stream)
            replay()
            if _places(tensors()) == places and _same(self._state(tensors()), after):
                return replay
            reason = "its results differ"
        except RuntimeError as error:
            reason = str(error)
        self._restore(tensors(), after)
        self._warn(reason)
        return None

    def _launch(self, step: Callable[[], None], stream: torch.cuda.Stream) -> None:
        """Take one step without a graph, on the stream of the capture."""
        current = torch.cuda.current_stream(self._device)
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            step()
        current.wait_stream(stream)

    def _state(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Copies of all tensors, and the state of the random generator.

        Detached: a copy that is part of an autograd graph would tie later gradients to the stream of this copy.
        """
        return [*(tensor.detach().clone() for tensor in tensors), torch.cuda.get_rng_state(self._device)]

    def _restore(self, tensors: Sequence[Tensor], state: Sequence[Tensor]) -> None:
        with torch.no_grad():
            for tensor, saved in zip(tensors, state, strict=False):  # the last one is the generator's
                tensor.copy_(saved)
        torch.cuda.set_rng_state(state[-1], self._device)

    def _warn(self, reason: str) -> None:
        logger.warning("Without a CUDA graph for %s, which is slower: %s", self._what, reason.strip().split("\n", 1)[0])


def _places(tensors: Sequence[Tensor]) -> list[int]:
    """The addresses that a graph reads and writes."""
    return [tensor.data_ptr() for tensor in tensors]


def _random_states() -> tuple[bytes, object, bytes]:
    """Those of the generators on the CPU: what a step draws there is fixed in its graph."""
    numpys: Any = np.random.get_state()
    return torch.get_rng_state().numpy().tobytes(), random.getstate(), numpys[1].tobytes() + repr(numpys[2:]).encode()


def _same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))
