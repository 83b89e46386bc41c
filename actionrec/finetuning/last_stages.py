"""The last stages of a backbone, which are the ones that fine-tuning trains.

A stage is a run of blocks whose outputs have the same width and height: `layer4` of a ResNet, the blocks at 7 x 7 pixels of a
MobileNet. If that is nearly the whole network, as in a vision transformer, each block is a stage. What comes after the last
block, such as a norm or a layer between pooling and classifier, belongs to the last stage.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from actionrec.core.errors import ParamsError
from actionrec.features.backbones import Backbone
from actionrec.io.network_copy import copied

_LARGE = 0.5  # a module with more of the parameters than this is not a block, but a container of blocks
_SMALL = 0.01  # of the parameters; smaller modules are not blocks, but norms and the like
_NEARLY_ALL = 0.9  # of the parameters; a network with such a last stage does not shrink its pictures from stage to stage


@dataclass(frozen=True)
class LastStages:
    """The modules of a network that learn, and those before them; by name, in the order in which they run."""

    before: list[str]
    learning: list[str]


def last_stages(backbone: Backbone, size: int, count: int) -> LastStages:
    """Find the last stages of `backbone.network`.

    Args:
        size: width and height of the frames, pixels.
        count: stages, from the end.

    Raises:
        ParamsError: the network has fewer stages.
    """
    shapes = _output_shapes(backbone, size)
    stages = _stages(backbone.network, shapes)
    if count > len(stages):
        raise ParamsError(
            f"params.yaml: finetune.stages: the backbone has {len(stages)} stages; got {count}, expected at most {len(stages)}."
        )
    learning = [name for stage in stages[len(stages) - count :] for name in stage]
    order = list(shapes)
    return LastStages(order[: order.index(learning[0])], learning)


def _stages(network: nn.Module, shapes: Mapping[str, Sequence[int]]) -> list[list[str]]:
    """Names of the modules of each stage, in the order in which they run.

    Args:
        shapes: of the outputs of modules, see `_output_shapes`.
    """
    sizes = {name: _parameters(network.get_submodule(name)) for name in shapes}
    stages: list[list[str]] = []
    last_shape: Sequence[int] = ()
    for name, shape in shapes.items():
        if sizes[name] == 0:
            continue
        after_pooling = all(length == 1 for length in shape)
        if not stages or (shape != last_shape and not after_pooling):
            stages.append([])
        stages[-1].append(name)
        last_shape = last_shape if after_pooling else shape
    total = _parameters(network)
    if sum(sizes[name] for name in stages[-1]) > _NEARLY_ALL * total:
        stages[-1:] = _one_each(stages[-1], [name for name in stages[-1] if sizes[name] > _SMALL * total])
    return stages


def _one_each(names: Sequence[str], blocks: Sequence[str]) -> list[list[str]]:
    """A stage for each block; smaller modules belong to the block before them, or to the first."""
    stages: list[list[str]] = []
    early: list[str] = []
    for name in names:
        if name in blocks:
            stages.append([*early, name])
            early = []
        elif stages:
            stages[-1].append(name)
        else:
            early.append(name)
    return stages or [list(names)]


def _blocks(module: nn.Module, total: int, prefix: str = "") -> list[str]:
    """Names of the parts of a network; containers of most of its parameters are replaced by their own parts."""
    names = []
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        if isinstance(child, nn.ModuleList) or (_parameters(child) > _LARGE * total and any(True for _ in child.children())):
            names += _blocks(child, total, f"{path}.")
        else:
            names.append(path)
    return names


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _output_shapes(backbone: Backbone, size: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the outputs of a network's blocks, without batch and channels, in the order in which the modules run.

    Tokens (B, N, C) and pictures (B, H, W, C) have their channels last, so their shape is told apart by those too.
    """
    probe = copied(backbone, "meta")  # shapes without arithmetic
    shapes: dict[str, tuple[int, ...]] = {}

    def record(name: str) -> Any:
        def hook(_module: nn.Module, _arguments: object, output: Any) -> None:
            tensor = output if isinstance(output, Tensor) else output[0]
            shapes[name] = tuple(tensor.shape[2:])

        return hook

    for name in _blocks(probe.network, _parameters(probe.network)):
        probe.network.get_submodule(name).register_forward_hook(record(name))
    with torch.inference_mode():
        probe(torch.zeros(backbone.snippet_length, size, size, 3, dtype=torch.uint8, device="meta"))
    return shapes
