"""A backbone in two parts: the frozen one, and the one that is tuned.

The frozen part needs no gradients, and OpenVINO runs it twice as fast as torch on a CPU. That takes a network that is a chain of
blocks, such as a ResNet or a MobileNet. Others, such as vision transformers, run as a whole in torch, as all do on a GPU.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from actionrec.features import extractors
from actionrec.features.backbones import Backbone
from actionrec.finetuning.last_stages import last_stages
from actionrec.io import machine
from actionrec.io.network_copy import copied

_ROUNDING = 1e-4  # largest difference between a network and its two parts, as a share of the largest feature


@dataclass(frozen=True)
class TwoParts:
    """A backbone in two parts."""

    frozen: Callable[[NDArray[np.uint8]], Tensor]
    """Maps frames (B, H, W, 3), uint8, as a `Backbone` takes them, to what `tuned` takes. Gradients do not flow through it."""
    tuned: nn.Module
    """Maps that to features (B, D, ...). Only the last stages have parameters that learn."""
    network: nn.Module
    """The whole network."""
    takes_frames: bool
    """Whether each frame gives a feature; otherwise, each snippet does."""

    def state(self) -> dict[str, Tensor]:
        """The state dict of the whole network, on the CPU."""
        return {name: tensor.cpu() for name, tensor in {**self.network.state_dict(), **self.tuned.state_dict()}.items()}


def two_parts(backbone: Backbone, size: int, stages: int, precision: str, device: str) -> TwoParts:
    """Divide a backbone; the last stages learn.

    Args:
        size: width and height of the frames, pixels.
        stages: how many learn.
        precision: of the frozen part where OpenVINO runs it, fp32 or bf16.

    Raises:
        ParamsError: the network has fewer stages.
    """
    modules = last_stages(backbone, size, stages)
    parts = None
    if extractors.runtime(device) == "openvino":
        parts = _divided(backbone, size, modules.before, modules.learning[0], precision)
    parts = parts or _whole(backbone, device)
    for name in modules.learning:
        parts.tuned.get_submodule(name).requires_grad_(True)
    return parts


def _whole(backbone: Backbone, device: str) -> TwoParts:
    network = copied(backbone, device)
    network.network.to(memory_format=torch.channels_last if backbone.limits is None else torch.channels_last_3d)

    def prepare(frames: NDArray[np.uint8]) -> Tensor:
        pixels = torch.from_numpy(frames)
        return network.normalised((pixels.pin_memory() if device.startswith("cuda") else pixels).to(device, non_blocking=True))

    return TwoParts(prepare, network.network, backbone.network, backbone.limits is None)


class _UpTo(nn.Module):
    """Runs a network, and returns the input of one of its modules."""

    def __init__(self, network: nn.Module, name: str) -> None:
        super().__init__()
        self.network, self.name = network, name

    def forward(self, pictures: Tensor) -> Tensor:
        caught: list[Tensor] = []
        module = self.network.get_submodule(self.name)
        handle = module.register_forward_pre_hook(lambda _module, arguments: caught.append(arguments[0]))
        self.network(pictures)
        handle.remove()
        return caught[0]


def _divided(backbone: Backbone, size: int, before: Sequence[str], first: str, precision: str) -> TwoParts | None:
    """Divide a backbone before the module `first`; None if it is not a chain of modules.

    Args:
        before: names of the modules that run before it.
    """
    frozen = copied(backbone, "cpu")
    frozen.network, frozen.gain = _UpTo(frozen.network, first), 1.0
    tuned = copied(backbone.network, "cpu")
    for name in before:
        tuned.set_submodule(name, nn.Identity())
    random = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (backbone.snippet_length, size, size, 3), generator=random, dtype=torch.uint8)
    try:
        with torch.inference_mode():
            pictures = backbone.normalised(noise)
            between, expected = frozen.network(pictures), backbone.network(pictures)
            if not (tuned(between) - expected).abs().max() <= _ROUNDING * expected.abs().max():
                return None
    except (RuntimeError, ValueError, TypeError, AttributeError, AssertionError, IndexError):  # shapes that do not fit
        return None
    run = extractors.openvino_runner(frozen, precision, size, machine.TRAINING_THREADS)
    shape, batch = between.shape[1:], extractors.batch_frames(backbone, on_gpu=False)
    layout = torch.channels_last if len(shape) == 3 else torch.contiguous_format

    def run_frozen(frames: NDArray[np.uint8]) -> Tensor:
        outputs = [run(frames[start : start + batch])() for start in range(0, len(frames), batch)]
        return torch.from_numpy(np.concatenate(outputs)).unflatten(1, shape).contiguous(memory_format=layout)

    tuned.to(memory_format=torch.channels_last if backbone.limits is None else torch.channels_last_3d)
    return TwoParts(run_frozen, tuned, backbone.network, backbone.limits is None)
