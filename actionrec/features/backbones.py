"""Frozen image networks that turn a frame into a feature vector: torchvision's classification models without their last layer."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from actionrec.core.errors import ParamsError, WeightsError
from actionrec.features import state_dicts, torchvision_weights
from actionrec.features.settings import RANDOM as RANDOM
from actionrec.features.settings import FeatureSettings as FeatureSettings

# Of ImageNet's pictures, as nearly all of torchvision's weights expect them: red, green, blue, on a scale from 0 to 1.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
_HALF = (0.5, 0.5, 0.5)

# Names of layers in files that torchvision published before it renamed them: DenseNet's and the vision transformers'.
_RENAMED = (
    (re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.([12])\."), r"\1\2."),
    (re.compile(r"\.mlp\.linear_1\."), ".mlp.0."),
    (re.compile(r"\.mlp\.linear_2\."), ".mlp.3."),
)

_LIKELY = 15  # networks that are compared with weights that do not fit

_RANDOM_SEED = 0  # not params' `seed`: another split or another training run needs no new features


class Backbone(nn.Module):
    """Frames (B, H, W, 3), uint8, RGB -> features (B, D), float32; normalisation included."""

    def __init__(self, network: nn.Module, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> None:
        super().__init__()
        self.network = network
        self.gain = 1.0
        """What features are multiplied by; 1 for all weights that were trained."""
        self.dtype = torch.float32
        """Of the network's arithmetic."""
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("scale", 1 / (torch.tensor(std).view(1, 3, 1, 1) * 255), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Map frames (B, H, W, 3), uint8, to features (B, D)."""
        # Normalised in float32 whatever the network's type: bf16 has no 123.675, only 123.5.
        pictures = (frames.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) * self.scale
        features = self.network(pictures.to(self.dtype)).flatten(1)
        return features if self.gain == 1 else features * self.gain

    def in_bf16(self) -> "Backbone":
        """Turn the network's weights to bf16, and leave normalisation in float32."""
        self.network.to(torch.bfloat16)
        self.dtype = torch.bfloat16
        return self


def create_backbone(settings: FeatureSettings) -> Backbone:
    """Build a frozen backbone with its weights, in evaluation mode.

    Raises:
        ParamsError: no such model, or one without a linear last layer.
        WeightsError: its weights cannot be had.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if settings.backbone not in known:
        raise ParamsError(
            f"params.yaml: features.backbone must be a classification model of torchvision; got {settings.backbone!r}. "
            f"Known: {', '.join(known)}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_RANDOM_SEED)
        network, last = _without_last_layer(settings.backbone)
    if settings.weights != RANDOM:
        file = Path(settings.weights) if settings.is_file else torchvision_weights.weights_file(settings.backbone, settings.weights)
        state = state_dicts.read_file(file)
        try:
            state_dicts.load_state(network, _kept(state, last), f"features.weights {settings.weights!r} for {settings.backbone}")
        except WeightsError as error:
            other = backbone_of(state)
            if other is None or other == settings.backbone:
                raise
            raise WeightsError(
                f"{error} These are weights of {other}: set features.backbone to {other}, or features.weights to a file of "
                f"{settings.backbone}."
            ) from None
    backbone = Backbone(network, *_normalisation(settings.backbone)).eval().requires_grad_(False)
    if settings.weights == RANDOM:
        backbone.gain = _gain(backbone)
    return backbone


def backbone_of(state: Mapping[str, Tensor]) -> str | None:
    """The model of torchvision that a state dict belongs to, whatever its last layer; None where none of the likely ones fits.

    Those are the ones with the most similar numbers of parameters, as the last layer may have been made for other classes.
    """
    size = sum(tensor.numel() for tensor in state.values())
    published = {
        name: next(iter(torchvision.models.get_model_weights(name))).meta["num_params"]
        for name in torchvision.models.list_models(module=torchvision.models)
    }
    for name in sorted(published, key=lambda name: abs(published[name] - size))[:_LIKELY]:
        try:
            with torch.device("meta"):  # names and shapes, without numbers
                network, last = _without_last_layer(name)
        except NotImplementedError:  # RegNet computes its widths with tensors
            network, last = _without_last_layer(name)
        except ParamsError:
            continue
        if state_dicts.misfits(network, {name: tuple(one.shape) for name, one in _kept(state, last).items()}) == []:
            return name
    return None


def _without_last_layer(backbone: str) -> tuple[nn.Module, str]:
    """Build a network that gives features, and tell the name of the layer that was taken off."""
    # GoogLeNet and Inception warn about their own slow initialisation, bring heads for training unless told otherwise, and
    # with their published weights turn ImageNet's normalisation into the one that those were trained with.
    inception = {"aux_logits": False, "init_weights": True, "transform_input": True}
    options = inception if backbone in ("googlenet", "inception_v3") else {}
    network = torchvision.models.get_model(backbone, weights=None, **options)
    last = _last_linear(network, backbone)
    network.set_submodule(last, nn.Identity())
    return network, last


def _kept(state: Mapping[str, Tensor], last: str) -> dict[str, Tensor]:
    """What features need of a state dict, under today's names."""
    unused = (f"{last}.", "aux1.", "aux2.", "AuxLogits.")
    return {_current_name(name): tensor for name, tensor in state.items() if not name.startswith(unused)}


def _gain(backbone: Backbone) -> float:
    """A power of two that brings an untrained network's features into the range of float16, where they are beyond it.

    The signals of untrained networks die out (MobileNetV2's features are at most 1e-8) or grow (Inception's reach 1e11), and
    would be stored as 0 or not at all. A power of two changes no digit; ResNets do without.
    """
    noise = torch.randint(0, 256, (1, 224, 224, 3), generator=torch.Generator().manual_seed(_RANDOM_SEED), dtype=torch.uint8)
    with torch.inference_mode():
        largest = backbone(noise).abs().max().item()
    return 1.0 if 2**-7 <= largest <= 2**10 else 2.0 ** -round(math.log2(largest))


def _normalisation(backbone: str) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation of the pictures that a backbone's weights were trained on."""
    return (_HALF, _HALF) if backbone == "efficientnet_v2_l" else (MEAN, STD)


def _current_name(name: str) -> str:
    """Today's name of a tensor in one of torchvision's older files."""
    for pattern, replacement in _RENAMED:
        name = pattern.sub(replacement, name)
    return name


def _last_linear(network: nn.Module, backbone: str) -> str:
    """Name of the layer that maps features to classes."""
    name, layer = list(network.named_modules())[-1]
    if not isinstance(layer, nn.Linear):
        raise ParamsError(f"params.yaml: features.backbone {backbone!r} has no linear last layer to take features before.")
    return name


def describe(settings: FeatureSettings, backbone: Backbone) -> dict[str, Any]:
    """What features are made with, for their metadata and the bundles of models trained on them."""
    mean, std = _normalisation(settings.backbone)
    return {
        "backbone": settings.backbone,
        # A path is shortened to the file's name: the hash says which weights, and a path would tell of a machine.
        "weights": Path(settings.weights).name if settings.is_file else settings.weights,
        "weights_sha256": state_dicts.state_sha256(backbone.network),
        "precision": settings.precision,
        "preprocessing": {"mean": list(mean), "std": list(std), "colours": "RGB", "scale": 255},
    }
