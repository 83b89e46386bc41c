"""What small runs of fine-tuning need: settings, a tiny backbone, and clips whose classes are easy to learn."""

import numpy as np
import torch
from frame_shards import of_frames, write_shards
from torch import nn

from actionrec.features.backbones import Backbone
from actionrec.finetuning.clip_batches import ClipReader
from actionrec.finetuning.settings import FinetuneSettings
from actionrec.finetuning.tuning import Clips
from actionrec.training.training_data import LabelledClips
from actionrec.video.frame_index import FrameIndex

SIZE = 32
"""Width and height of the easy clips' frames, pixels."""
CLASSES = ("across", "dots", "down")
CLIPS_PER_CLASS = 12


def settings(**changes):
    """Three epochs of plain training: nothing is augmented or dropped."""
    values = {
        "epochs": 3,
        "stages": 1,
        "segments": 2,
        "batch_size": 4,
        "learning_rate": 0.003,
        "weight_decay": 0.0001,
        "dropout": 0.0,
        "crop": 1.0,
        "flip": False,
        "flip_pairs": [],
        "colour": 0.0,
        "precision": "fp32",
    }
    return FinetuneSettings(**{**values, **changes})


class TinyNetwork(nn.Module):
    """A chain of three stages with batch normalisation, for pictures of 32 pixels: (B, 3, H, W) to (B, 8, 1, 1)."""

    def __init__(self):
        super().__init__()
        self.stem = self.stage(3, 8)
        self.middle = self.stage(8, 8)
        self.last = self.stage(8, 8)
        self.pool = nn.AdaptiveAvgPool2d(1)

    @staticmethod
    def stage(taken, given):
        return nn.Sequential(nn.Conv2d(taken, given, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(given), nn.ReLU())

    def forward(self, pictures):
        return self.pool(self.last(self.middle(self.stem(pictures))))


def frozen(network, **options):
    """A backbone of this network."""
    return Backbone(network, **options).eval().requires_grad_(False)


def tiny_backbone(seed=0):
    """A frozen backbone of 8 features, with statistics of batches of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = TinyNetwork().train()
        with torch.no_grad():
            network(torch.randn(16, 3, SIZE, SIZE))
    return frozen(network)


def easy_frames(label, seed, count=4):
    """Stripes across, dots, or stripes down, whose place and colours are random: (count, 32, 32, 3)."""
    random = np.random.default_rng([label, seed])
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    frames = []
    for _ in range(count):
        up, right = random.integers(0, 4, 2)
        across, down = (y + up) % 4 < 2, (x + right) % 4 < 2
        shown = (across, across & down, down)[label]
        colours = random.integers(0, 120, (2, 3)) + np.array([[0], [120]])
        frames.append(colours[shown.astype(int)])
    return np.stack(frames).astype(np.uint8)


def write_easy_store(folder):
    clips = {
        f"{name}/{number:02}.avi": of_frames(easy_frames(label, number))
        for label, name in enumerate(CLASSES)
        for number in range(CLIPS_PER_CLASS)
    }
    return write_shards(folder, clips)


def easy_clips(store, mirrored, streams=("rgb",)):
    """The clips of a store: of each class, 8 of 12 train, 2 validate and 2 test."""
    index = FrameIndex(store)
    count = len(index.clips)
    labels = np.array([CLASSES.index(clip.split("/")[0]) for clip in index.clips])
    places = np.arange(count) % CLIPS_PER_CLASS
    rows = {
        subset: np.flatnonzero((places >= low) & (places < high))
        for subset, low, high in (("train", 0, 8), ("val", 8, 10), ("test", 10, 12))
    }
    return Clips(ClipReader(index, streams), LabelledClips(labels, list(CLASSES), np.arange(count), rows), mirrored, SIZE)
