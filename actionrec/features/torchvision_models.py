"""torchvision's classification models of images and videos without their last layer, and weights files that match them."""

import re
from collections.abc import Mapping
from functools import partial

import torch
import torchvision
from torch import Tensor, nn

from actionrec.core.errors import ParamsError
from actionrec.features import frame_requirements, mvit_attention, state_dicts
from actionrec.features.frame_requirements import VIDEO_BACKBONES
from actionrec.features.networks import MEAN, STD, FeatureNetwork

_HALF = (0.5, 0.5, 0.5)

# Names of layers in weights files from before torchvision renamed them, of DenseNet and of the vision transformers.
_RENAMED = (
    (re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.([12])\."), r"\1\2."),
    (re.compile(r"\.mlp\.linear_1\."), ".mlp.0."),
    (re.compile(r"\.mlp\.linear_2\."), ".mlp.3."),
)

_CANDIDATES = 17  # networks that are compared with weights that do not fit


def names() -> list[str]:
    """Names of torchvision's image classification models."""
    return torchvision.models.list_models(module=torchvision.models)


def create(name: str) -> FeatureNetwork:
    """Build a network without its last layer, with fresh weights from torch's global random state.

    Raises:
        ParamsError: the last layer is not linear.
    """
    network, last_layer = _without_last_layer(name)
    mean, std = normalisation(name)
    limits = frame_requirements.limits_of(name) if name in VIDEO_BACKBONES else None
    return FeatureNetwork(network, mean, std, partial(_select, last_layer=last_layer), limits)


def normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the pictures that a model's published weights were trained on."""
    if name in VIDEO_BACKBONES:
        transforms = torchvision.models.get_model_weights(name).DEFAULT.transforms()
        return tuple(transforms.mean), tuple(transforms.std)
    return (_HALF, _HALF) if name == "efficientnet_v2_l" else (MEAN, STD)


def model_of(state: Mapping[str, Tensor]) -> str | None:
    """Name of the model that a state dict belongs to, ignoring its last layer; None if it fits no likely model.

    Likely models are those with the most similar number of parameters: the last layer may be for another number of classes.
    """
    size = sum(tensor.numel() for tensor in state.values())
    known = [*names(), *VIDEO_BACKBONES]
    parameter_counts = {name: next(iter(torchvision.models.get_model_weights(name))).meta["num_params"] for name in known}
    for name in sorted(parameter_counts, key=lambda name: abs(parameter_counts[name] - size))[:_CANDIDATES]:
        try:
            with torch.device("meta"):  # names and shapes without values
                network, last_layer = _without_last_layer(name)
        except NotImplementedError:  # RegNet computes its widths with tensors
            network, last_layer = _without_last_layer(name)
        except ParamsError:
            continue
        if not state_dicts.misfits(network, {key: tuple(tensor.shape) for key, tensor in _select(state, last_layer).items()}):
            return name
    return None


def _without_last_layer(name: str) -> tuple[nn.Module, str]:
    """Build a network that gives features; return it, and the name of the removed layer."""
    # By default, GoogLeNet and Inception warn about their slow initialisation and have extra heads for training. With
    # transform_input they turn ImageNet's normalisation into the one that their published weights expect.
    inception = {"aux_logits": False, "init_weights": True, "transform_input": True}
    network = torchvision.models.get_model(name, weights=None, **(inception if name in ("googlenet", "inception_v3") else {}))
    last_layer = _last_layer(network, name)
    network.set_submodule(last_layer, nn.Identity())
    mvit_attention.add_to_whole_tensors(network)
    return network, last_layer


def _last_layer(network: nn.Module, name: str) -> str:
    """Name of the layer that maps features to classes."""
    if name == "s3d":
        return "classifier"  # dropout and a convolution, before the mean over space and time
    layer_name, layer = list(network.named_modules())[-1]
    if not isinstance(layer, nn.Linear):
        raise ParamsError(
            f"params.yaml: features.backbone: the last layer of {name} is not linear, so it cannot be removed automatically. Use "
            f"another backbone, or add the file actionrec/features/networks/{name}.py."
        )
    return layer_name


def _select(state: Mapping[str, Tensor], last_layer: str) -> dict[str, Tensor]:
    """The tensors of a state dict that features need, under their current names."""
    unused = (f"{last_layer}.", "aux1.", "aux2.", "AuxLogits.")
    return {_current_name(name): tensor for name, tensor in state.items() if not name.startswith(unused)}


def _current_name(name: str) -> str:
    """The current name of a tensor from a weights file that may use older names."""
    for pattern, replacement in _RENAMED:
        name = pattern.sub(replacement, name)
    return name
