"""Layers of the attention models, trained on a CPU: dropout that costs a tenth, and a layer norm that any number of threads
computes alike.

Without gradients and on a GPU both are torch's own.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_LEVELS = 1 << 16


class Dropout(nn.Dropout):
    """nn.Dropout with masks cut from random bytes, where torch draws a double for each element.

    The probability is rounded to a multiple of 1 / 65,536, and what is kept is scaled by the rounded one, so that expectations
    hold.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Drop elements of any shape while training."""
        if not self.training or self.p == 0 or input.device.type != "cpu":
            return functional.dropout(input, self.p, self.training)
        return input * _mask(input.shape, self.p).to(input.dtype)


def _mask(shape: torch.Size, probability: float) -> Tensor:
    """0 where an element is dropped and 1 / (1 - probability) elsewhere, from torch's global random state."""
    dropped = round(probability * _LEVELS)
    if dropped == _LEVELS:
        return torch.zeros(shape)
    count = shape.numel()
    words = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    levels = words.view(torch.int16)[:count]  # evenly from -32,768 to 32,767
    return (levels >= dropped - _LEVELS // 2).float().mul_(_LEVELS / (_LEVELS - dropped)).view(shape)


class LayerNorm(nn.LayerNorm):
    """nn.LayerNorm over the last dimension, the gradients of whose weights do not depend on the number of threads.

    torch's own sums them up thread by thread, so that 1 and 2 threads round differently, alone of all that the models do.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Normalise (..., C)."""
        if input.device.type != "cpu" or not torch.is_grad_enabled() or self.weight is None:
            return super().forward(input)
        return _LayerNorm.apply(input.float(), self.weight, self.bias, self.eps)


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        normed, mean, scale = torch.native_layer_norm(values, weight.shape, weight, bias, eps)
        ctx.save_for_backward(values, weight, bias, mean, scale)
        return normed

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        values, weight, bias, mean, scale = ctx.saved_tensors
        grad = grad.contiguous()
        of_values, _, _ = torch.ops.aten.native_layer_norm_backward(
            grad, values, weight.shape, mean, scale, weight, bias, [True, False, False]
        )
        rows = grad.flatten(0, -2)
        standard = ((values - mean) * scale).flatten(0, -2)
        return of_values, (rows * standard).sum(dim=0), rows.sum(dim=0), None
