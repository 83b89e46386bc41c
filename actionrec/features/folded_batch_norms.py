"""Batch norms folded into the convolutions before them: fewer kernels, and the same features to rounding."""

import logging
from collections import Counter

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.parametrize import is_parametrized

from actionrec.features.backbones import Backbone
from actionrec.io.network_copy import copied

logger = logging.getLogger(__name__)

_ROUNDING = 1e-3
"""Largest relative change of features that is taken for rounding."""

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class _Tracer(fx.Tracer):
    """Finds which layer takes the result of which; by default, it looks into torchvision's own kinds of Conv3d."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, _CONVOLUTIONS + _BATCH_NORMS) or super().is_leaf_module(m, module_qualified_name)


def with_folded_batch_norms(backbone: Backbone, size: int, device: str) -> Backbone:
    """A copy on the device with batch norms folded into convolutions, if that changes features only by rounding."""
    plain, folded = copied(backbone, device), copied(backbone, device)
    if not fold_batch_norms(folded.network):
        return plain
    random = torch.Generator().manual_seed(0)
    shape = (backbone.snippet_length, size, size, 3)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, generator=random).to(device)
    with torch.inference_mode():
        expected, actual = plain(frames), folded(frames)
    if (actual - expected).norm() <= _ROUNDING * expected.norm():
        return folded
    logger.warning("Batch norms are not folded into convolutions, which is slower: it would change the features")
    return plain


def fold_batch_norms(network: nn.Module) -> bool:
    """Fold each batch norm into the convolution before it, in place. Others stay: after a sum, or of a result used twice.

    Layers that do more than torch's own stay, too: subclasses, hooks, parametrizations.

    Args:
        network: in evaluation mode, float32. One that torch.fx cannot trace stays as it is, with a warning.

    Returns:
        Whether any was folded.
    """
    if not any(isinstance(layer, _BATCH_NORMS) for layer in network.modules()):
        return False
    try:
        graph = _Tracer().trace(copied(network, "meta"))  # a copy, because a network may keep the stand-ins for tensors
    except Exception as error:  # a network may do anything with them
        reason = str(error).strip().split("\n", 1)[0]
        logger.warning("Batch norms are not folded into convolutions, which is slower: %s", reason)
        return False
    read_directly = {node.target.rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    new: dict[nn.Module, nn.Module] = {}
    for names in _pairs(graph):
        convolution, batch_norm = map(network.get_submodule, names)
        if (
            isinstance(convolution, _CONVOLUTIONS)
            and isinstance(batch_norm, _BATCH_NORMS)
            and batch_norm.track_running_stats
            and _is_plain(convolution)
            and _is_plain(batch_norm)
            and not read_directly & set(names)
        ):
            new[convolution] = fuse_conv_bn_eval(convolution, batch_norm)
            new[batch_norm] = nn.Identity()
    for parent in network.modules():  # a layer can have several names
        parent._modules.update({name: new[child] for name, child in parent._modules.items() if child in new})
    return bool(new)


def _is_plain(layer: nn.Module) -> bool:
    """Whether a layer does what its kind in torch does in evaluation mode, and nothing else."""
    kind = next(kind for kind in _CONVOLUTIONS + _BATCH_NORMS if isinstance(layer, kind))
    hooks = layer._forward_hooks or layer._forward_pre_hooks
    return type(layer).forward is kind.forward and not hooks and not is_parametrized(layer) and not layer.training


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
