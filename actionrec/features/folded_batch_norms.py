"""Batch norms folded into the convolutions before them: fewer kernels, and the same features to rounding."""

import logging
from collections import Counter

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

logger = logging.getLogger(__name__)

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class _Tracer(fx.Tracer):
    """Finds which layer takes the result of which; by default, it looks into torchvision's own kinds of Conv3d."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, _CONVOLUTIONS + _BATCH_NORMS) or super().is_leaf_module(m, module_qualified_name)


def fold_batch_norms(network: nn.Module) -> None:
    """Fold each batch norm into the convolution before it, in place. Others stay: after a sum, or of a result used twice.

    Args:
        network: in evaluation mode, float32. One that torch.fx cannot trace stays as it is, with a warning.
    """
    if not any(isinstance(layer, _BATCH_NORMS) for layer in network.modules()):
        return
    try:
        graph = _Tracer().trace(network)
    except Exception as error:  # a network may do anything with the stand-ins for tensors
        reason = str(error).strip().split("\n", 1)[0]
        logger.warning("Batch norms are not folded into convolutions, which is slower: %s", reason)
        return
    for first, second in _pairs(graph):
        convolution, batch_norm = network.get_submodule(first), network.get_submodule(second)
        if isinstance(convolution, _CONVOLUTIONS) and isinstance(batch_norm, _BATCH_NORMS) and batch_norm.track_running_stats:
            network.set_submodule(first, fuse_conv_bn_eval(convolution, batch_norm))
            network.set_submodule(second, nn.Identity())


def _pairs(graph: fx.Graph) -> list[tuple[str, str]]:
    """Names of layers that run once, the second on the result of the first, which nothing else takes."""
    calls = [node for node in graph.nodes if node.op == "call_module"]
    times = Counter(node.target for node in calls)
    pairs = [(first, second) for second in calls for first in second.all_input_nodes[:1] if first.op == "call_module"]
    return [
        (first.target, second.target)
        for first, second in pairs
        if len(first.users) == times[first.target] == times[second.target] == 1
    ]
