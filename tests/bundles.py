"""Small bundles and clips for tests of what uses a trained model."""

from functools import lru_cache

import film
import numpy as np
import torch

from actionrec import backbones
from actionrec.backbones import FeatureSettings
from actionrec.bundle import Architecture, Bundle, save_bundle

CLASSES = ["Bright", "Dark", "Striped"]
SETTINGS = {"simple_rnn": {"hidden_dim": 16}, "lstm": {"hidden_dim": 16}, "gru": {"hidden_dim": 16}, "bilstm": {"hidden_dim": 16}}
SETTINGS["stacked_lstm"] = {"hidden_dim": 16, "num_layers": 2}
SETTINGS["transformer"] = {"d_model": 16, "num_heads": 2, "num_layers": 2, "ff_dim": 32}
SETTINGS["swin_transformer"] = {"dim": 16, "depths": [2, 2], "num_heads": [2, 2], "window": 2}
FRAMES = {"count": 8, "size": 64, "format": "raw", "quality": 95}
CALIBRATION = {"temperature": 1.5, "threshold": 0.2}


@lru_cache
def source(backbone="resnet18"):
    """What features of an untrained backbone are made with, and how wide they are."""
    settings = FeatureSettings(backbone, "random", "fp32")
    built = backbones.create_backbone(settings)
    with torch.inference_mode():
        width = built(torch.zeros(1, 64, 64, 3, dtype=torch.uint8)).shape[1]
    return backbones.describe(settings, built), width


def tiny_bundle(folder, model="gru", *, backbone="resnet18", calibration=CALIBRATION, frames=FRAMES, class_names=CLASSES, **features):
    """Write a bundle whose weights are random but spread wide enough that clips get different answers."""
    about, width = source(backbone)
    architecture = Architecture(model, SETTINGS[model], width, list(class_names))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = architecture.create().eval()
        for parameter in network.parameters():
            parameter.data.mul_(2)
    save_bundle(folder, Bundle(architecture, network, {**about, **features, "frames": frames}, calibration))
    return folder


def clips(folder, count=2, frames=12):
    """Draw `count` clips of each class, in groups of their own: <folder>/<Class>/v_<Class>_gNN_c01.avi."""
    made = []
    for number, name in enumerate(CLASSES):
        for group in range(1, count + 1):
            random = np.random.default_rng((number, group))
            pictures = []
            for place in range(frames):
                picture = random.integers(0, 60, (64, 96, 3), dtype=np.uint8) + np.uint8(150 if name == "Bright" else 0)
                picture[:, (place * 3) % 96 :: 8] += np.uint8(40 if name == "Striped" else 5)
                pictures.append(picture)
            path = folder / name / f"v_{name}_g{group:02d}_c01.avi"
            film.write_video(path, pictures)
            made.append(path)
    return made
