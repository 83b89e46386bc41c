"""CUDA graphs: a graph replaces a step only if it does the same. Without a GPU, stand-ins for torch's functions are used."""

import logging
import random
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from actionrec.io import cuda_graphs
from actionrec.io.cuda_graphs import WARM_UP, RepeatedStep

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def gpu(monkeypatch):
    """torch's functions for a GPU, which do nothing, or what they would for the CPU's random generator.

    Its generator is the CPU's, so that draws of "the GPU" are not taken for draws on the CPU.
    """
    stream = SimpleNamespace(wait_stream=lambda other: None)
    mode = ["default"]
    fakes = {
        "Stream": lambda device: stream,
        "current_stream": lambda device: stream,
        "stream": lambda stream: nullcontext(),
        "get_rng_state": lambda device: torch.get_rng_state(),
        "set_rng_state": lambda state, device: torch.set_rng_state(state),
        "get_sync_debug_mode": lambda: mode[0],
        "set_sync_debug_mode": lambda wanted: mode.__setitem__(0, wanted),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(cuda_graphs, "_random_states", lambda: (random.getstate(), np.random.get_state()[2]))
    return mode


class Walk:
    """Adds random numbers to a total."""

    def __init__(self):
        torch.manual_seed(0)
        self.total, self.calls = torch.zeros(3), 0

    def __call__(self):
        self.calls += 1
        self.total += torch.rand(3)

    def tensors(self):
        return [self.total]

    def replay(self):
        """What a graph of this does, without a call of the function."""
        self.total += torch.rand(3)


def walked(steps, device, capture, monkeypatch, kind=Walk):
    """A walk's total after some steps, and how often the function itself was called."""
    walk = kind()
    monkeypatch.setattr(cuda_graphs, "capture", lambda run, stream: capture(walk))
    step = RepeatedStep(device, "walking")
    for _ in range(steps):
        step(walk, walk.tensors)
    return walk.total.tolist(), walk.calls


def faithful(walk):
    return walk.replay, None


def test_on_a_cpu_each_step_is_the_function_itself(monkeypatch):
    assert walked(9, CPU, lambda walk: pytest.fail("captured"), monkeypatch)[1] == 9


@pytest.mark.parametrize("steps", [1, WARM_UP, WARM_UP + 1, WARM_UP + 2, 9])
def test_a_graph_that_does_the_same_replaces_the_function(gpu, steps, monkeypatch, caplog):
    total, calls = walked(steps, GPU, faithful, monkeypatch)
    assert total == walked(steps, CPU, None, monkeypatch)[0]
    assert calls == min(steps, WARM_UP + 1)
    assert not caplog.records


def does_nothing(walk):
    return lambda: None, None


def forgets_randomness(walk):
    def replay():
        walk.total += 0.5

    return replay, None


def draws_twice(walk):
    """The same total, but another state of the random generator."""

    def replay():
        walk.replay()
        torch.rand(1)

    return replay, None


def cannot_be_captured(walk):
    raise RuntimeError("operation not permitted when stream is capturing\nCompile with ...")


def needs_more_memory(walk):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate ...")


@pytest.mark.parametrize(
    ("capture", "reason"),
    [
        (does_nothing, "its results differ"),
        (forgets_randomness, "its results differ"),
        (draws_twice, "its results differ"),
        (cannot_be_captured, "operation not permitted when stream is capturing"),
        (needs_more_memory, "CUDA out of memory. Tried to allocate ..."),
    ],
)
def test_another_graph_is_not_used_and_costs_no_step(gpu, capture, reason, monkeypatch, caplog):
    with caplog.at_level(logging.WARNING):
        total, calls = walked(9, GPU, capture, monkeypatch)
    assert (total, calls) == (walked(9, CPU, None, monkeypatch)[0], 9)
    assert [record.getMessage() for record in caplog.records] == [f"Without a CUDA graph for walking, which is slower: {reason}"]


@pytest.mark.parametrize("copies", [0, 1])
def test_without_memory_for_copies_of_the_state_steps_go_on(gpu, copies, monkeypatch, caplog):
    left, state = [copies], RepeatedStep._state

    def with_little_memory(self, tensors):
        if not left[0]:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        left[0] -= 1
        return state(self, tensors)

    monkeypatch.setattr(RepeatedStep, "_state", with_little_memory)
    capture = lambda walk: pytest.fail("captured")  # noqa: E731
    assert walked(9, GPU, capture, monkeypatch) == walked(9, CPU, capture, monkeypatch)
    assert "Without a CUDA graph for walking, which is slower: CUDA out of memory." in caplog.text


class Replacing(Walk):
    def __call__(self):
        self.calls += 1
        self.total = self.total + torch.rand(3)


class DrawingOnCpu(Walk):
    def __call__(self):
        super().__call__()
        random.random()


def test_a_step_that_replaces_tensors_or_draws_on_the_cpu_is_not_captured(gpu, monkeypatch, caplog):
    for kind in (Replacing, DrawingOnCpu):
        capture = lambda walk: pytest.fail("captured")  # noqa: E731
        assert walked(9, GPU, capture, monkeypatch, kind) == walked(9, CPU, capture, monkeypatch, kind)
    assert caplog.text.count("it replaces tensors, or draws random numbers on the CPU") == 2


def test_a_step_that_waits_for_the_gpu_is_not_captured(gpu, monkeypatch, caplog):
    class Waiting(Walk):
        def __call__(self):
            self.total += torch.rand(3)
            if gpu[0] == "error":
                raise RuntimeError("called a synchronizing CUDA operation")
            self.calls += 1

    total, calls = walked(9, GPU, lambda walk: pytest.fail("captured"), monkeypatch, Waiting)
    assert (total, calls) == walked(9, CPU, None, monkeypatch)
    assert "which is slower: called a synchronizing CUDA operation" in caplog.text
    assert gpu == ["default"]


def test_copies_of_the_state_do_not_hold_gradients(gpu):
    """A copy within autograd's graph ties gradients to the default stream, which ends a capture."""
    weight = nn.Parameter(torch.ones(3))
    copies = RepeatedStep(GPU, "walking")._state([weight])
    assert not any(copy.requires_grad for copy in copies)


def test_garbage_is_collected_before_a_capture_and_not_during_it(monkeypatch):
    seen = []

    @contextmanager
    def graph(*_arguments, **_options):
        seen.append(cuda_graphs.gc.isenabled())
        yield

    generator = SimpleNamespace(clone_state=lambda: None)
    fakes = {"current_stream": lambda device: None, "default_generators": [generator], "graph": graph}
    fakes |= {"CUDAGraph": lambda: SimpleNamespace(replay=None), "device": lambda device: nullcontext()}
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    assert cuda_graphs.capture(lambda: 5, SimpleNamespace(device="cuda", device_index=0)) == (None, 5)
    assert seen == [False]
    assert cuda_graphs.gc.isenabled()


@pytest.mark.gpu
@pytest.mark.parametrize("waits", [False, True])
def test_steps_with_dropout_are_the_same_with_and_without_a_graph(waits, caplog):
    def walk(repeated):
        torch.cuda.manual_seed(0)
        total = torch.ones(1000, device="cuda")
        call = RepeatedStep(GPU, "walking")

        def step():
            total.add_(functional.dropout(total, 0.5)).clamp_(max=1e6)
            if waits:
                total.max().item()

        for _ in range(9):
            call(step, lambda: [total]) if repeated else step()
            functional.dropout(total, 0.5)  # draws between steps, as the last batch of an epoch does
        return total.tolist(), torch.cuda.get_rng_state().tolist()

    assert walk(repeated=True) == walk(repeated=False)
    assert len(caplog.records) == waits
