"""Time and memory of each video backbone: actionrec with OpenVINO in fp32 and bf16 against torchvision's network as in its docs.

    python -m benchmarks.video_backbones [--backbones r3d_18,s3d] [--snippets 1] [--repeats 2]

Frames are of the size and number that the published weights need; the weights are random. Each way runs in a process of its own,
one after another, with all cores. torchvision's network gets normalised frames: the time of its transforms is not counted.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from multiprocessing import get_context

import numpy as np
import torch
import torchvision

from actionrec.features import backbones, extractors
from actionrec.features.backbones import FeatureSettings
from actionrec.features.catalogue import STEPS_OF_A_VIDEO
from actionrec.features.frame_requirements import VIDEO_BACKBONES, FrameFormat, published_frames
from actionrec.io import machine
from benchmarks import pairs

WAYS = ("torchvision", "fp32", "bf16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", default=",".join(VIDEO_BACKBONES))
    parser.add_argument("--snippets", type=int, default=1, help="timed at once; a clip's time is computed from theirs")
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    print(f"{pairs.describe_machine()}; seconds per clip of {STEPS_OF_A_VIDEO} snippets, peak memory of the process in GiB\n")
    print(f"{'backbone':12}{'torchvision':>20}{'fp32':>20}{'bf16':>20}{'ratios':>14}")
    for name in arguments.backbones.split(","):
        measured = [in_own_process(name, way, arguments.snippets, arguments.repeats) for way in WAYS]
        cells = "".join(f"{seconds:10.2f} s{gib:5.2f} GiB" for seconds, gib in measured)
        plain, *ours = (seconds for seconds, _ in measured)
        print(f"{name:12}{cells}{''.join(f'{plain / seconds:7.2f}' for seconds in ours)}", flush=True)


def in_own_process(name: str, way: str, snippets: int, repeats: int) -> tuple[float, float]:
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (name, way, snippets, repeats))


def measure(name: str, way: str, snippets: int, repeats: int) -> tuple[float, float]:
    """Median seconds of a clip, and peak memory of this process in GiB."""
    frames = published_frames(name, "DEFAULT")
    assert frames is not None
    torch.set_num_threads(machine.cores())
    run = torchvision_run(name, frames, snippets) if way == "torchvision" else our_run(name, frames, snippets, way)
    run()  # one-time work is not counted
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return statistics.median(taken) * STEPS_OF_A_VIDEO / snippets, peak


def torchvision_run(name: str, frames: FrameFormat, snippets: int) -> Callable[[], object]:
    network = torchvision.models.get_model(name, weights=None).eval()
    batch = torch.randn(snippets, 3, frames.length, frames.resolution, frames.resolution)

    def run() -> torch.Tensor:
        with torch.no_grad():
            return network(batch)

    return run


def our_run(name: str, frames: FrameFormat, snippets: int, precision: str) -> Callable[[], object]:
    backbone = backbones.create_backbone(FeatureSettings(name, backbones.RANDOM, precision), frames.length)
    extract = extractors.create_extractor(
        backbone, precision=precision, size=frames.resolution, device="cpu", threads=machine.cores()
    )
    shape = (snippets, frames.length, frames.resolution, frames.resolution, 3)
    clip = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return lambda: extract(clip)


if __name__ == "__main__":
    main()
