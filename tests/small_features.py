"""What training reads, written without videos: 36 clips of three classes, their features and their split."""

import numpy as np

from actionrec.core import paths
from actionrec.data.clip_seconds import write_clip_seconds
from actionrec.data.clips import Clip, write_clips
from actionrec.data.folds import divide_others, write_other_folds
from actionrec.data.splits import SplitSettings, divide, write_split
from actionrec.features.feature_store import write_shard

CLASSES = ("Jump", "Run", "Sit")
FOLDS = 3
CLIPS = [
    Clip(f"{label}/v_g{group:02d}_c{take}.avi", label, f"g{group:02d}", 1, f"{label}{group}{take}")
    for label in CLASSES
    for group in range(6)
    for take in (1, 2)
]
SOURCE = {"backbone": "resnet18", "weights": "random", "weights_sha256": "ab" * 32, "precision": "fp32", "feature_dim": 8}


def write_features():
    """Write the clips and their features, which tell the classes apart, mostly."""
    random = np.random.default_rng(0)
    centres = dict(zip(CLASSES, random.normal(size=(3, 8)), strict=True))
    arrays = {clip.id: (centres[clip.label] + random.normal(size=(4, 8))).astype(np.float16) for clip in CLIPS}
    write_clips(paths.CLIPS, sorted(CLIPS, key=lambda clip: clip.id))
    write_clip_seconds(paths.CLIP_SECONDS, {clip.id: 1.0 + int(clip.group[1:]) for clip in CLIPS})
    paths.FEATURES.mkdir(parents=True)
    write_shard(paths.FEATURES / "shard-0000.safetensors", arrays, SOURCE)


def write_split_files(fold, every=False):
    """Write split.csv and other_folds.csv as the split stage does."""
    settings = SplitSettings("group", FOLDS, fold, 0.2)
    write_split(paths.SPLIT, divide(CLIPS, settings, 0))
    others = divide_others(CLIPS, settings, 0, range(FOLDS), lambda _: None) if every else {}
    write_other_folds(paths.OTHER_FOLDS, others)
