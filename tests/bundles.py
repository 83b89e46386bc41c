"""Small bundles and clips for tests of what uses a trained model."""

from functools import lru_cache

import film
import numpy as np
import torch

from actionrec.features import backbones
from actionrec.features.backbones import FeatureSettings
from actionrec.features.streams import pictures_of
from actionrec.models import MODELS
from actionrec.training.bundle import Architecture, Bundle, save_bundle
from actionrec.video.frame_settings import Sampling
from actionrec.video.sampling import resize, snippet_frames

CLASSES = ["Bright", "Dark", "Striped"]
SETTINGS = {name: {"hidden_dim": 16} for name in MODELS} | {
    "mean_pool": {},
    "mean_std": {},
    "middle_frame": {},
    "stacked_lstm": {"hidden_dim": 16, "num_layers": 2},
    "transformer": {"d_model": 16, "num_heads": 2, "num_layers": 2, "ff_dim": 32},
    "swin_transformer": {"dim": 16, "depths": [2, 2], "num_heads": [2, 2], "window": 2},
}
FRAMES = {"count": 8, "resolution": 64, "format": "raw", "quality": 95}
CALIBRATION = {"temperature": 1.5, "threshold": 0.2}


VIDEO = {"count": 3, "resolution": 32, "format": "raw", "quality": 95, "snippet": {"length": 4, "rate": 12.5}, "fit": "crop"}
"""Frames for a bundle with a video backbone, such as r3d_18."""


PLAIN = Sampling.of(FRAMES)


@lru_cache
def source(backbone="resnet18", streams=("rgb",), sampling=PLAIN):
    """What features of an untrained backbone are made with, and those of the drawn clips, (n, T, D) in float16."""
    settings = FeatureSettings(backbone, "random", "fp32", streams)
    built = backbones.create_backbone(settings, sampling.snippet.length)
    places = snippet_frames(12, sampling.count, sampling.snippet, 25.0)
    drawn = np.stack(
        [
            np.stack([resize(picture[:, :, ::-1], sampling.resolution, sampling.fit) for picture in pictures(number, 1)])[places]
            for number in range(len(CLASSES))
        ]
    ).reshape(len(CLASSES), *sampling.shape)
    with torch.inference_mode():
        features = [torch.stack([features_of(built, pictures_of(clip, stream)) for clip in drawn]) for stream in streams]
    return backbones.describe(settings, built), torch.cat(features, dim=2).numpy().astype(np.float16)


def features_of(backbone, shown):
    """Features (T, D) of what a backbone sees, (T, H, W, 3) or (T, L, H, W, 3), in one batch."""
    made = backbone(torch.from_numpy(np.ascontiguousarray(shown)).flatten(0, -4))
    return made.unflatten(0, (len(shown), -1)).mean(dim=1)


def tiny_bundle(
    folder,
    model="gru",
    *,
    backbone="resnet18",
    streams=("rgb",),
    calibration=CALIBRATION,
    clip_seconds=None,
    frames=FRAMES,
    class_names=CLASSES,
    **features,
):
    """Write a bundle that is trained a little on the drawn clips, so that it tells them apart."""
    about, shown = source(backbone, streams, Sampling.of(frames if "snippet" in frames else FRAMES))
    torch.set_num_threads(1)  # more only wait for each other
    with torch.random.fork_rng():
        torch.manual_seed(1)
        architecture = Architecture(model, SETTINGS[model], shown.shape[2], list(class_names))
        network = architecture.create()
        network.standardise.fit(shown, np.arange(len(shown)))
        optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
        for _ in range(30):
            loss = torch.nn.functional.cross_entropy(network(torch.from_numpy(shown).float()), torch.arange(len(shown)))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    about = {**about, **features, "frames": frames}
    save_bundle(folder, Bundle(architecture, network.eval(), about, calibration, clip_seconds=clip_seconds))
    return folder


def pictures(number, group, count=12):
    """The pictures (64, 96, 3), BGR, of one drawn clip of class `number`."""
    random = np.random.default_rng((number, group))
    drawn = []
    for place in range(count):
        picture = random.integers(0, 60, (64, 96, 3), dtype=np.uint8) + np.uint8(150 if number == 0 else 0)
        picture[:, (place * 3) % 8 :: 8] += np.uint8(100 if number == 2 else 5)
        drawn.append(picture)
    return drawn


def clips(folder, count=2, frames=12):
    """Draw `count` clips of each class, in groups of their own: <folder>/<Class>/v_<Class>_gNN_c01.avi."""
    return [
        film.write_video(folder / name / f"v_{name}_g{group:02d}_c01.avi", pictures(number, group, frames))
        for number, name in enumerate(CLASSES)
        for group in range(1, count + 1)
    ]
