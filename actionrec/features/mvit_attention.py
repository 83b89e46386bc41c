"""Attention of torchvision's MViT with additions to whole tensors. The numbers are the same; OpenVINO is 1.5 times as fast.

torchvision adds relative positions and shortcuts to all but the class token, in place: `attn[:, :, 1:, 1:] += ...`. OpenVINO turns
each of these into slow scatter operations. Here, zeros are added to the class token.
"""

from types import FunctionType
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.video import mvit
from torchvision.models.video.mvit import MultiscaleAttention


class _Added:
    """Stands for a tensor that torchvision adds to: keeps what is added."""

    value: Tensor

    def __getitem__(self, place: Any) -> int:
        return 0

    def __setitem__(self, place: Any, value: Tensor) -> None:
        self.value = value


def _add_rel_pos(attention: Tensor, *arguments: Any) -> Tensor:
    added = _Added()
    mvit._add_rel_pos(added, *arguments)
    return attention + functional.pad(added.value, (1, 0, 1, 0))


def _add_shortcut(values: Tensor, shortcut: Tensor, with_class_token: bool) -> Tensor:
    return values.add_(shortcut if with_class_token else functional.pad(shortcut[:, :, 1:], (0, 0, 1, 0)))


class _WholeTensorAttention(MultiscaleAttention):  # type: ignore[misc]
    """torchvision's own `forward`, which finds the two functions above instead of torchvision's."""

    forward = FunctionType(
        MultiscaleAttention.forward.__code__, {**vars(mvit), "_add_rel_pos": _add_rel_pos, "_add_shortcut": _add_shortcut}
    )


def add_to_whole_tensors(network: nn.Module) -> None:
    """Change the attention layers of an MViT in place."""
    for module in network.modules():
        if type(module) is MultiscaleAttention:
            module.__class__ = _WholeTensorAttention
