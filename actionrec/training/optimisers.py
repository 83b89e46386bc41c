"""Adam and AdamW as in torch, without torch's compiler: loading it takes 2 seconds at the start of each training."""

from inspect import unwrap

import torch


class Adam(torch.optim.Adam):
    """torch's Adam. Its methods are wrapped for torch.compile, and the wrappers load the compiler; these are not wrapped."""

    add_param_group = unwrap(torch.optim.Adam.add_param_group)
    zero_grad = unwrap(torch.optim.Adam.zero_grad)
    state_dict = unwrap(torch.optim.Adam.state_dict)
    load_state_dict = unwrap(torch.optim.Adam.load_state_dict)
    step = torch.no_grad()(unwrap(torch.optim.Adam.step))


class AdamW(Adam, torch.optim.AdamW):
    """torch's AdamW, likewise."""
