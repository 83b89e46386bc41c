"""Tuned backbones without tuning: a backbone with other weights, and bundles on its features."""

import torch

from actionrec.features import tuned_backbone
from actionrec.features.tuned_backbone import Tuning
from actionrec.io.tensors import save_tensors

TUNING = Tuning("random", stages=2, epochs=3, protocol="group", fold=1, seed=0, gain=0.5)


def write_tuned(folder, backbone, tuning=TUNING, *, factor=1.25):
    """Write data/backbone: the weights of a backbone, those of its last convolution multiplied by `factor`."""
    folder.mkdir(parents=True)
    state = {name: tensor.clone() for name, tensor in backbone.network.state_dict().items()}
    last = [name for name, tensor in state.items() if tensor.ndim == 4][-1]
    state[last] *= factor
    save_tensors(folder / tuned_backbone.WEIGHTS, {name: torch.Tensor.numpy(tensor) for name, tensor in state.items()}, {})
    tuned_backbone.write_description(folder, tuning)
    return folder
