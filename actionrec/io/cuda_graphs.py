"""CUDA graphs: many kernels in one launch. A GPU computes a small batch faster than Python launches its kernels.

A graph replays the kernels that torch would launch, with the same arguments, so results are the same bytes.
"""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

WARM_UP = 3
"""Runs before a capture, in which libraries choose kernels and allocate memory."""

Result = TypeVar("Result")


def capture(run: Callable[[], Result], stream: torch.cuda.Stream) -> tuple[Callable[[], None], Result]:
    """Capture the kernels that `run` launches, on a stream on which it has run before. This computes nothing yet.

    Returns:
        A function that starts the kernels on the current stream; and the result of `run`, whose tensors they overwrite.

    Raises:
        RuntimeError: `run` does what a graph cannot hold, such as waiting for the GPU.
    """
    current = torch.cuda.current_stream(stream.device)
    generator = torch.cuda.default_generators[stream.device_index]
    random_state = generator.clone_state()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            result = run()
    except RuntimeError as error:
        # torch leaves both in the state of a capture.
        torch.cuda.set_stream(current)
        generator.graphsafe_set_state(random_state)
        raise error.__context__ or error from None  # the first error, which says what failed
    return graph.replay, result


class RepeatedStep:
    """A function that is called many times and works on the same tensors: on a GPU, its CUDA graph replaces it after a few calls.

    The graph is used only if its first replay leaves the same bytes in all tensors as the function does.
    """

    def __init__(self, step: Callable[[], None], tensors: Callable[[], Sequence[Tensor]], device: torch.device, what: str) -> None:
        """Args:
        step: reads nothing back from the GPU.
        tensors: gives all tensors that `step` changes, which exist after its first call.
        what: names the step in the warning that it cannot be captured.
        """
        self._step, self._tensors, self._device, self._what = step, tensors, device, what
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._calls = 0
        self._replay: Callable[[], None] | None = None

    def __call__(self) -> None:
        """Start one step; does not wait for it, except for that of the capture."""
        self._calls += 1
        if self._stream is None:
            self._step()
        elif self._replay is not None:
            self._replay()
        elif self._calls == WARM_UP + 1:
            self._replay = self._capture(self._stream)
        else:
            self._launch(self._stream)

    def _capture(self, stream: torch.cuda.Stream) -> Callable[[], None] | None:
        """Take one step, and capture it; None if it cannot be captured, or the graph does something else."""
        before = self._state()
        try:
            replay, _ = capture(self._step, stream)
        except RuntimeError as error:
            self._launch(stream)
            self._warn(str(error).strip().split("\n", 1)[0])
            return None
        replay()
        replayed = self._state()
        self._restore(before)
        self._launch(stream)
        if all(torch.equal(one, other) for one, other in zip(replayed, self._state(), strict=True)):
            return replay
        self._warn("its results differ")
        return None

    def _launch(self, stream: torch.cuda.Stream) -> None:
        """Take one step without a graph, on the stream of the capture."""
        current = torch.cuda.current_stream(self._device)
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            self._step()
        current.wait_stream(stream)

    def _state(self) -> list[Tensor]:
        """Copies of all tensors, and the state of the random generator."""
        return [*(tensor.clone() for tensor in self._tensors()), torch.cuda.get_rng_state(self._device)]

    def _restore(self, state: Sequence[Tensor]) -> None:
        with torch.no_grad():
            for tensor, saved in zip(self._tensors(), state[:-1], strict=True):
                tensor.copy_(saved)
        torch.cuda.set_rng_state(state[-1], self._device)

    def _warn(self, reason: str) -> None:
        logger.warning("Without a CUDA graph for %s, which is slower: %s", self._what, reason)
