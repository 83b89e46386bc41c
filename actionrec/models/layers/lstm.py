"""LSTM layers that train faster on a CPU in bf16: the arithmetic of torch's nn.LSTM with fewer matrix products.

On a CPU, torch's backward pass adds an outer product to the gradient of each weight at each of the T steps. Here the gradients of
all steps' gates are kept, and each weight's gradient is one matrix product over all steps and clips. docs/performance.md has the
measurements. The weights are those of nn.LSTM. Without gradients, on a GPU and in float32, torch's own kernels are used.

B clips, T frames, D inputs, H hidden; gates in torch's order. Tensors are (T, B, ...), so that a step is one block of memory.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Weights = tuple[Tensor, Tensor, Tensor, Tensor]
"""Weights of one layer and direction: (4 H, D), (4 H, H), and the biases of both, (4 H,) each."""


def outputs(layers: nn.LSTM, features: Tensor, dropout: float = 0.0) -> Tensor:
    """Hidden states of the last layer at each step: (B, T, D) -> (B, T, H), or (B, T, 2 H) in two directions.

    Args:
        layers: with batch_first and biases, without dropout.
        dropout: between the layers, in training. Not torch's own: on a GPU, the state of cuDNN's dropout cannot be saved in a
            checkpoint, nor be part of a CUDA graph.
    """
    dropout = dropout if layers.training and layers.num_layers > 1 else 0.0
    if features.device.type == "cpu" and torch.is_grad_enabled() and _product_type() != torch.float32:
        return _through_layers(layers, features, dropout, _own_layer)
    # In float32 on a CPU, oneDNN computes a whole layer, forward and backward.
    return _through_layers(layers, features, dropout, _torchs_layer) if dropout else layers(features)[0]


def _through_layers(
    layers: nn.LSTM, features: Tensor, dropout: float, run: Callable[[Tensor, Sequence[Weights]], Tensor]
) -> Tensor:
    """`outputs`, layer by layer; `run` maps (T, B, D) and the weights of a layer to (T, B, H or 2 H)."""
    steps = features.transpose(0, 1).contiguous()  # (T, B, D)
    for layer, weights in enumerate(_by_layer(layers)):
        if layer and dropout:
            steps = functional.dropout(steps, dropout)
        steps = run(steps, weights)
    return steps.transpose(0, 1)


def _own_layer(steps: Tensor, weights: Sequence[Weights]) -> Tensor:
    """A layer with the backward pass of this module."""
    return torch.cat([_Lstm.apply(steps, *own, bool(backward)) for backward, own in enumerate(weights)], dim=2)


def _torchs_layer(steps: Tensor, weights: Sequence[Weights]) -> Tensor:
    """A layer with torch's kernels."""
    initial = steps.new_zeros(len(weights), steps.shape[1], weights[0][1].shape[1])
    every = [weight for direction in weights for weight in direction]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")  # they are all layers'
        hidden: Tensor = torch.lstm(steps, (initial, initial), every, True, 1, 0.0, True, len(weights) == 2, False)[0]
    return hidden


def _by_layer(layers: nn.LSTM) -> Iterable[Sequence[Weights]]:
    """The weights of each layer: those of its forward direction, then those of its backward direction if it has one."""
    directions = 2 if layers.bidirectional else 1
    every = list(layers.all_weights)
    return [every[start : start + directions] for start in range(0, len(every), directions)]  # type: ignore[misc]


def _product_type() -> torch.dtype:
    """The type that matrix products are computed in: bf16 within torch's autocast, else float32."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32


def _project(steps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The inputs' contribution to the gates, for all steps in one product: (T, B, D) -> (T, B, 4 H), float32."""
    return functional.linear(steps, weight, bias.to(weight.dtype)).float()


def _through(hidden: Tensor, weight: Tensor) -> Tensor:
    """The hidden states' contribution to the gates, for one step: (B, H) -> (B, 4 H), float32."""
    return (hidden.to(weight.dtype) @ weight.T).float()


def _add_through(gate: Tensor, hidden: Tensor, weight: Tensor) -> None:
    """Add the hidden states' contribution to `gate`, (B, 4 H), in place."""
    if weight.dtype == torch.float32:
        gate.addmm_(hidden, weight.T)
    else:
        gate.add_(_through(hidden, weight))


def _order(length: int, backward: bool) -> list[tuple[int, int | None]]:
    """Pairs of each step and the previous one in a direction's order; the first step has None."""
    places = list(reversed(range(length))) if backward else list(range(length))
    return list(zip(places, [None, *places[:-1]], strict=True))


def _weight_gradients(
    needs_inputs: bool, gates: Tensor, steps: Tensor, hidden: Tensor, weight: Tensor, backward: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Gradients of the inputs and of the two weight matrices, one product each.

    Args:
        gates: (T, B, 4 H), gradients of the gates before their non-linearities.
        steps: (T, B, D), the inputs of the gates.
        hidden: (T, B, H), the hidden state after each step.
    """
    kind = weight.dtype
    flat = gates.flatten(0, 1).to(kind)
    inputs = (flat @ weight).float().view_as(steps) if needs_inputs else None
    of_input = flat.T @ steps.flatten(0, 1)
    later, before = (gates[:-1], hidden[1:]) if backward else (gates[1:], hidden[:-1])
    of_hidden = later.flatten(0, 1).to(kind).T @ before.flatten(0, 1).to(kind)
    return inputs, of_input.float(), of_hidden.float()


class _Lstm(torch.autograd.Function):
    """One LSTM layer in one direction: i, f, o = sigmoid(...), g = tanh(...), c = f c' + i g, h = o tanh(c)."""

    @staticmethod
    def forward(ctx: Any, steps: Tensor, w: Tensor, u: Tensor, b: Tensor, c: Tensor, backward: bool) -> Tensor:
        kind = _product_type()
        steps, w, u = steps.to(kind), w.to(kind), u.to(kind)
        gates = _project(steps, w, b + c)  # becomes the gates after their non-linearities, step by step
        width = u.shape[1]
        hidden = gates.new_empty(*gates.shape[:2], width)
        cells, squashed = torch.empty_like(hidden), torch.empty_like(hidden)  # c and tanh(c)
        for now, before in _order(len(steps), backward):
            gate = gates[now]
            if before is not None:
                _add_through(gate, hidden[before], u)
            gate[:, : 2 * width].sigmoid_()
            gate[:, 2 * width : 3 * width].tanh_()
            gate[:, 3 * width :].sigmoid_()
            enter, keep, new, leave = gate.chunk(4, dim=1)
            torch.mul(enter, new, out=cells[now])
            if before is not None:
                cells[now].addcmul_(keep, cells[before])
            torch.tanh(cells[now], out=squashed[now])
            torch.mul(leave, squashed[now], out=hidden[now])
        ctx.save_for_backward(steps, w, u, gates, hidden, cells, squashed)
        ctx.backward_in_time = backward
        return hidden

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        steps, w, u, gates, hidden, cells, squashed = ctx.saved_tensors
        gate_gradients = torch.empty_like(gates)  # gradients of the gates before their non-linearities
        back = torch.zeros_like(hidden[0])  # of the hidden state, from the step after
        back_cell = torch.zeros_like(back)  # of the cell
        for now, before in reversed(_order(len(steps), ctx.backward_in_time)):
            enter, keep, new, leave = gates[now].chunk(4, dim=1)
            of_enter, of_keep, of_new, of_leave = gate_gradients[now].chunk(4, dim=1)
            back.add_(grad[now])
            torch.mul(back * squashed[now], leave * (1 - leave), out=of_leave)
            back_cell.addcmul_(back * leave, 1 - squashed[now].square())
            torch.mul(back_cell * new, enter * (1 - enter), out=of_enter)
            torch.mul(back_cell * enter, 1 - new.square(), out=of_new)
            if before is None:
                of_keep.zero_()
                break
            torch.mul(back_cell * cells[before], keep * (1 - keep), out=of_keep)
            back_cell.mul_(keep)
            back = (gate_gradients[now].to(u.dtype) @ u).float()
        inputs, of_w, of_u = _weight_gradients(ctx.needs_input_grad[0], gate_gradients, steps, hidden, w, ctx.backward_in_time)
        bias = gate_gradients.sum(dim=(0, 1))
        return inputs, of_w, of_u, bias, bias, None
