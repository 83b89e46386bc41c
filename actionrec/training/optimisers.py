"""torch's optimisers without torch's compiler: loading it takes 2 seconds at the start of each training."""

from inspect import unwrap

import torch
from torch.optim import Optimizer


class _WithoutCompiler(Optimizer):
    """torch wraps these methods for torch.compile, and the wrappers load the compiler."""

    add_param_group = unwrap(Optimizer.add_param_group)
    zero_grad = unwrap(Optimizer.zero_grad)
    state_dict = unwrap(Optimizer.state_dict)
    load_state_dict = unwrap(Optimizer.load_state_dict)


class Adam(_WithoutCompiler, torch.optim.Adam):
    """torch's Adam."""

    step = torch.no_grad()(unwrap(torch.optim.Adam.step))


class AdamW(Adam, torch.optim.AdamW):
    """torch's AdamW."""


class LBFGS(_WithoutCompiler, torch.optim.LBFGS):
    """torch's L-BFGS."""
