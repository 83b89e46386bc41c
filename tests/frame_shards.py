"""Small frame stores, written without decoding videos."""

from dataclasses import replace

import numpy as np

from actionrec.io import checksums
from actionrec.video.frame_settings import FrameSettings
from actionrec.video.frame_store import FrameWriter
from actionrec.video.sampling import SampledClip

SETTINGS = FrameSettings(count=5, resolution=32, format="raw", quality=95, shards=2, max_failed=0)
SNIPPETS = np.array([[0, 1, 2], [1, 2, 3], [2, 3, 4]])
"""Three sample points of three frames, of a clip of five."""


def clip_of(seed, count=5, snippets=None, size=32):
    """A clip of smooth, colourful pictures that move (count, size, size, 3)."""
    y, x = np.mgrid[0:size, 0:size] / size
    random = np.random.default_rng(seed)
    speed, phase = random.uniform(0.3, 1, 3), random.uniform(0, 6, 3)
    waves = [
        [0.5 + 0.5 * np.sin(5 * x + 3 * y + speed[colour] * step + phase[colour]) for colour in range(3)] for step in range(count)
    ]
    frames = (255 * np.array(waves)).astype(np.uint8).transpose(0, 2, 3, 1)
    return of_frames(np.ascontiguousarray(frames), snippets)


def of_frames(frames, snippets=None):
    """A clip of these frames, (N, H, W, 3)."""
    clip = SampledClip(frames, list(range(len(frames))), len(frames), len(frames))
    return clip if snippets is None else replace(clip, snippets=snippets, frame_rate=12.5)


def write_shards(folder, clips, form="raw"):
    """Write clips, by id, to two shards with their checksums; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = list(clips)
    for shard in range(2):
        with FrameWriter(folder / f"shard-{shard:04d}.tar", replace(SETTINGS, format=form)) as writer:
            for clip in ids[shard::2]:
                writer.add(clip, clip.split("/")[0], clips[clip])
    checksums.write(folder, {})
    return folder
