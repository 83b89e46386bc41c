"""Images a second of ResNet-50 features: actionrec against plain torch, and the whole stage against the bare model.

    python -m benchmarks.features [--precision fp32] [--clips 24] [--size 224]

On a processor with AMX, measure as if it had none: ONEDNN_MAX_CPU_ISA=AVX2 python -m benchmarks.features --precision fp32
"""

import argparse
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import torchvision

from actionrec.features import backbones, extractors
from actionrec.features.backbones import FeatureSettings
from actionrec.io import machine
from actionrec.io.files import write_json
from actionrec.video.frame_settings import FrameSettings
from actionrec.video.frame_store import DESCRIPTION, FrameWriter
from actionrec.video.sampling import SampledClip
from benchmarks import pairs

FRAMES = 32
extractor: extractors.Extractor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--clips", type=int, default=24, help="clips for the whole stage; with more, its start matters less")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=pairs.REPEATS)
    arguments = parser.parse_args()
    device = machine.device()
    print(f"{pairs.describe_machine()}; {extractors.runtime(device)}, features.precision {arguments.precision}\n")
    images(arguments.precision, arguments.size, device, arguments.repeats)
    whole_stage(arguments.precision, arguments.size, arguments.clips, device)


def images(precision: str, size: int, device: str, repeats: int) -> None:
    """Print images a second of one process with one thread."""
    torch.set_num_threads(1)
    frames = pictures(1, size)[0]
    prepare(precision, size, device)
    plain = torchvision.models.resnet50()
    plain.fc = torch.nn.Identity()
    plain.eval().to(device)
    normalised = torch.randn(FRAMES, 3, size, size, device=device)  # without PIL and transforms

    def baseline() -> None:
        with torch.no_grad():
            plain(normalised).cpu()

    seconds = pairs.interleaved({"torch eager fp32, NCHW": baseline, "actionrec": lambda: extractor(frames)}, repeats)
    for name, taken in seconds.items():
        print(f"{name:28} {FRAMES / taken:8.1f} images/s")
    print(f"{'ratio':28} {seconds['torch eager fp32, NCHW'] / seconds['actionrec']:8.2f}\n")


def whole_stage(precision: str, size: int, clips: int, device: str) -> None:
    """Compare the stage, which reads frames and writes shards, with the model alone in as many processes."""
    workers = machine.workers() if device == "cpu" else 1
    with pairs.project(features__precision=precision, features__weights="random", frames__resolution=size) as folder:
        store(folder, clips, size)
        nothing = pairs.stage("resnet_features", folder)  # warms the system's caches, not the stage's
        shutil.rmtree(folder / ".work")
        stage = pairs.stage("resnet_features", folder)
        # One clip per process is missing: the time to start and end the stage and its workers.
        for shard in sorted((folder / ".work/features").glob("[!.]*"))[:workers]:
            shutil.rmtree(shard)
        again = pairs.stage("resnet_features", folder)
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=prepare, initargs=(precision, size, device)) as pool:
        share = [clips // workers + (worker < clips % workers) for worker in range(workers)]
        alone = max(pool.map(bare, share, [size] * workers))
    print(f"bare model, {workers} processes        {clips * FRAMES / alone:8.1f} images/s")
    rest = clips - workers
    print(f"stage                         {clips * FRAMES / stage.seconds:8.1f} images/s, with {again.seconds:.1f} s of start")
    print(f"stage, without its start      {rest * FRAMES / (stage.seconds - again.seconds):8.1f} images/s")
    print(f"share of the bare model       {100 * alone * rest / clips / (stage.seconds - again.seconds):8.1f} %")
    print(f"peak memory of a process      {max(nothing.peak_gib, stage.peak_gib):8.2f} GiB")


def pictures(clips: int, size: int) -> np.ndarray:
    """Noise that takes JPEG as long as pictures do: (clips, T, size, size, 3)."""
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (clips, FRAMES, size // 8, size // 8, 3), dtype=np.uint8)
    return small.repeat(8, axis=2).repeat(8, axis=3)


def store(folder: Path, clips: int, size: int) -> None:
    """Write data/frames as extract_frames does, one clip per shard."""
    settings = FrameSettings(FRAMES, size, "jpeg", 95, shards=64, max_failed=0.0)
    frames = folder / "data" / "frames"
    frames.mkdir(parents=True)
    for clip in range(clips):
        with FrameWriter(frames / f"shard-{clip:04d}.tar", settings) as writer:
            picture = pictures(1, size)[0]
            writer.add(f"A/{clip}.avi", "A", SampledClip(picture, list(range(FRAMES)), FRAMES, FRAMES))
    write_json(frames / DESCRIPTION, settings.sampling())


def prepare(precision: str, size: int, device: str) -> None:
    """Create this process's extractor."""
    global extractor
    torch.set_num_threads(1)
    settings = FeatureSettings("resnet50", "random", precision)
    backbone = backbones.create_backbone(settings)
    extractor = extractors.create_extractor(backbone, precision=precision, size=size, device=device, threads=1)


def bare(clips: int, size: int) -> float:
    """Seconds for a number of clips whose frames are in memory."""
    import time

    frames = pictures(1, size)[0]
    extractor(frames)
    start = time.perf_counter()
    for _ in range(clips):
        extractor(frames)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
