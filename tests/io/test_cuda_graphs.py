"""CUDA graphs: a graph replaces a step only if it does the same. Without a GPU, stand-ins for torch's functions are used."""

import logging
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from actionrec.io import cuda_graphs
from actionrec.io.cuda_graphs import WARM_UP, RepeatedStep

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def stand_ins(monkeypatch):
    """torch's functions for a GPU, which do nothing, or what they would for the CPU's random generator."""
    stream = SimpleNamespace(wait_stream=lambda other: None)
    fakes = {
        "Stream": lambda device: stream,
        "current_stream": lambda device: stream,
        "stream": lambda stream: nullcontext(),
        "get_rng_state": lambda device: torch.get_rng_state(),
        "set_rng_state": lambda state, device: torch.set_rng_state(state),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)


class Walk:
    """Adds random numbers to a total."""

    def __init__(self):
        torch.manual_seed(0)
        self.total, self.calls = torch.zeros(3), 0

    def __call__(self):
        self.calls += 1
        self.total += torch.rand(3)

    def replay(self):
        """What a graph of this does, without a call of the function."""
        self.total += torch.rand(3)


def walked(steps, device, capture, monkeypatch):
    """A walk's total after some steps, and how often the function itself was called."""
    walk = Walk()
    monkeypatch.setattr(cuda_graphs, "capture", lambda run, stream: capture(walk))
    step = RepeatedStep(walk, lambda: [walk.total], device, "walking")
    for _ in range(steps):
        step()
    return walk.total.tolist(), walk.calls


def test_on_a_cpu_each_step_is_the_function_itself(monkeypatch):
    assert walked(9, CPU, lambda walk: pytest.fail("captured"), monkeypatch)[1] == 9


@pytest.mark.parametrize("steps", [1, WARM_UP, WARM_UP + 1, WARM_UP + 2, 9])
def test_a_graph_that_does_the_same_replaces_the_function(stand_ins, steps, monkeypatch, caplog):
    total, calls = walked(steps, GPU, lambda walk: (walk.replay, None), monkeypatch)
    assert total == walked(steps, CPU, None, monkeypatch)[0]
    assert calls == min(steps, WARM_UP + 1)
    assert not caplog.records


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


@pytest.mark.parametrize(
    ("capture", "reason"),
    [
        (lambda walk: (lambda: None, None), "its results differ"),
        (forgets_randomness, "its results differ"),
        (draws_twice, "its results differ"),
        (cannot_be_captured, "operation not permitted when stream is capturing"),
    ],
)
def test_another_graph_is_not_used_and_costs_no_step(stand_ins, capture, reason, monkeypatch, caplog):
    with caplog.at_level(logging.WARNING):
        total, calls = walked(9, GPU, capture, monkeypatch)
    assert (total, calls) == (walked(9, CPU, None, monkeypatch)[0], 9)
    assert [record.getMessage() for record in caplog.records] == [f"Without a CUDA graph for walking, which is slower: {reason}"]


@pytest.mark.gpu
@pytest.mark.parametrize("waits", [False, True])
def test_steps_with_dropout_are_the_same_with_and_without_a_graph(waits, caplog):
    def walk(repeated):
        torch.cuda.manual_seed(0)
        total = torch.ones(1000, device="cuda")

        def step():
            total.add_(functional.dropout(total, 0.5)).clamp_(max=1e6)
            if waits:
                total.max().item()

        call = RepeatedStep(step, lambda: [total], torch.device("cuda"), "walking") if repeated else step
        for _ in range(9):
            call()
            functional.dropout(total, 0.5)  # draws between steps, as the last batch of an epoch does
        return total.tolist(), torch.cuda.get_rng_state().tolist()

    assert walk(repeated=True) == walk(repeated=False)
    assert len(caplog.records) == waits
