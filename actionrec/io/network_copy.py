"""A copy of a network on another device."""

import copy
from typing import TypeVar

from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def copied(network: Network, device: str) -> Network:
    """A copy that shares no memory with the network. On the device `meta`, it has shapes alone.

    `copy.deepcopy` alone would copy tensors by functions that load torch's compiler, which takes 2 seconds.
    """
    here = "meta" if device == "meta" else "cpu"

    def moved(tensor: Tensor) -> Tensor:
        return tensor.detach().to(here, copy=True)

    weights = {id(one): nn.Parameter(moved(one), one.requires_grad) for one in network.parameters()}
    duplicate = copy.deepcopy(network, {**weights, **{id(one): moved(one) for one in network.buffers()}})
    return duplicate.to(device)  # moves whatever else the network's layers hold
