"""Seconds and peak memory of each stage at the size of Kinetics-700: stand-ins of 6,500, 65,000 and 650,000 clips, 700 classes.

    python -m benchmarks.scale [--clips 6500,65000,650000] [--models gru,lstm] [--stages split,train] [--folder FOLDER]

Raw clips are small video files: `split` runs on them, again with remembered hashes, and on the same clips in tar shards of 320;
`inspect` reads their headers. The stages after decoding run on features of (8, 64): `train` for one epoch of the models, and for
the baselines; `audit`, `compare` and `package`. The project has these models only. 650,000 clips need 8 GB of disk.

A class has 10 to 20 sources. The last column is the time for ten times as many clips, divided by ten: 1 is linear growth.
Peak memory below 0.6 GiB is not seen, because a new process starts with the peak of the one that starts it.
"""

import argparse
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from math import log10
from pathlib import Path

import av
import numpy as np
from ruamel.yaml import YAML

from actionrec.core import paths
from actionrec.data.clip_seconds import write_clip_seconds
from actionrec.data.clips import Clip, read_clips
from actionrec.evaluation.clip_cost import BackboneCost, ClipTiming
from actionrec.features import tuned_backbone
from actionrec.features.feature_store import write_shard
from actionrec.io import checksums
from actionrec.io.files import write_csv, write_json
from actionrec.io.sharding import shard_name, shard_of
from actionrec.video.frame_settings import FrameSettings
from actionrec.video.frame_store import DESCRIPTION, LEDGER, LEDGER_HEADER, FrameWriter
from benchmarks import pairs

CLASSES, FEWEST_SOURCES, MOST_SOURCES = 700, 10, 20
FRAMES, FEATURE_DIM = 8, 64
CLIPS_A_SHARD = 320
GROUP = r"(s\d+_\d+)-"  # data.group, in names such as Class007/s007_12-000345.mp4
RAW, TRAINED = ("split", "inspect"), ("train", "audit", "compare", "package")
BASELINES = ("mean_pool", "mean_std", "middle_frame")


@dataclass(frozen=True)
class Measured:
    """One stage at one size."""

    seconds: float
    peak_gib: float


Results = dict[str, Measured | None]
"""Stage -> what it took; None if it failed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", default="6500,65000,650000", help="sizes, smallest first")
    parser.add_argument("--models", default="gru,lstm", help="models that are trained for an epoch")
    parser.add_argument("--stages", default=",".join((*RAW, *TRAINED)), help=f"of {', '.join((*RAW, *TRAINED))}")
    parser.add_argument("--folder", type=Path, help="where temporary projects are; default: the system's folder")
    arguments = parser.parse_args()
    models = (*arguments.models.split(","), *BASELINES)
    print(f"{pairs.describe_machine()}\n", flush=True)
    stages = arguments.stages.split(",")
    of_size: dict[int, Results] = {}
    for count in map(int, arguments.clips.split(",")):
        print(f"\n{count:,} clips", flush=True)
        of_size[count] = {}
        if not {*stages}.isdisjoint(RAW):
            with project(models, arguments.folder) as folder:
                of_size[count] |= raw(folder, count, stages)
        if not {*stages}.isdisjoint(TRAINED):
            with project(models, arguments.folder) as folder:
                of_size[count] |= trained(folder, count, models, stages)
    print("\n" + table(of_size))


@contextmanager
def project(models: Sequence[str], parent: Path | None) -> Iterator[Path]:
    """A temporary project with a copy of the code, which has these models only."""
    with tempfile.TemporaryDirectory(dir=parent) as name:
        folder = Path(name)
        for package in ("actionrec", "stages"):
            shutil.copytree(pairs.ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(pairs.ROOT / "dvc.yaml", folder)
        for file in (folder / "actionrec/models").glob("*.py"):
            if file.stem not in (*models, "__init__"):
                file.unlink()
        yaml = YAML()
        params = yaml.load(pairs.ROOT / "params.yaml")
        params["data"] |= {"dataset": "mine", "group": GROUP}
        params["train"]["epochs"] = 1
        params["frames"]["count"] = FRAMES
        params["models"] = {model: params["models"][model] for model in models}
        yaml.dump(params, folder / "params.yaml")
        tuned_backbone.write_untuned(folder / paths.BACKBONE)
        yield folder


def measure(results: Results, name: str, command: list[str], folder: Path) -> None:
    """Run a command of the project in a process of its own, print what it took, and add that to the results."""
    try:
        done = pairs.Finished(["-m", *command], folder, PYTHONPATH=str(folder))
    except SystemExit as error:
        results[name] = None
        print(f"{name:34} failed: {str(error).strip().splitlines()[-1][:300]}", flush=True)
    else:
        results[name] = Measured(done.seconds, done.peak_gib)
        print(f"{name:34}{done.seconds:9.1f} s{done.peak_gib:8.2f} GiB", flush=True)


# Raw clips.


def raw(folder: Path, count: int, stages: Sequence[str]) -> Results:
    """Measure the stages that read raw clips."""
    results: Results = {}
    data = folder / "data/raw/mine"
    write_files(data, count)
    if "inspect" in stages:
        measure(results, "inspect", ["actionrec", "inspect", "data/raw/mine"], folder)
        shutil.rmtree(folder / paths.WORK)
    if "split" in stages:
        measure(results, "split", ["stages.split"], folder)
        if not results["split"]:
            return results
        measure(results, "split, hashes remembered", ["stages.split"], folder)
        clips = (folder / paths.CLIPS).read_bytes()
        pack(data)
        measure(results, "split, tar shards", ["stages.split"], folder)
        if results["split, tar shards"] and (folder / paths.CLIPS).read_bytes() != clips:
            sys.exit("the clips in tar shards differ from those in files")
    return results


def clip_name(number: int) -> str:
    """The id of a clip: its class, and one of the class's sources."""
    of_class = number % CLASSES
    sources = FEWEST_SOURCES + of_class % (MOST_SOURCES - FEWEST_SOURCES + 1)
    return f"Class{of_class:03d}/s{of_class:03d}_{number // CLASSES % sources:02d}-{number:06d}.mp4"


def write_files(folder: Path, count: int) -> None:
    """Write small clips of 40 frames that differ in a box that players skip."""
    contents = small_video()
    for number in range(count):
        path = folder / clip_name(number)
        if number < CLASSES:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents + b"\0\0\0\x10free" + number.to_bytes(8, "big"))


def small_video() -> bytes:
    stream = BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width = video.height = 32
        rng = np.random.default_rng(0)
        for number in range(40):
            picture = np.full((32, 32, 3), 5 * number, dtype=np.uint8)
            picture[:8, :8] = rng.integers(0, 255, (8, 8, 3))
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
    return stream.getvalue()


def pack(folder: Path) -> None:
    """Move the clips of class folders into tar shards."""
    clips = sorted(path for path in folder.glob("*/*"))
    for start in range(0, len(clips), CLIPS_A_SHARD):
        with tarfile.open(folder / f"shard-{start // CLIPS_A_SHARD:05d}.tar", "w") as archive:
            for path in clips[start : start + CLIPS_A_SHARD]:
                archive.add(path, path.relative_to(folder).as_posix())
                archive.members.clear()  # type: ignore[attr-defined]
    for label in {path.parent for path in clips}:
        shutil.rmtree(label)


# The stages after decoding.


def trained(folder: Path, count: int, models: Sequence[str], stages: Sequence[str]) -> Results:
    """Measure the stages that follow decoding."""
    results: Results = {}
    data = folder / "data/raw/mine"
    for number in range(count):  # split's result depends on names and contents, not on pictures
        path = data / clip_name(number)
        if number < CLASSES:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(number.to_bytes(8, "big"))
    pairs.Finished(["-m", "stages.split"], folder, PYTHONPATH=str(folder))
    write_decoded(folder)
    for model in models if "train" in stages else ():
        measure(results, f"train {model}", ["stages.train", model], folder)
    for stage in ("audit", "compare", "package"):
        if stage in stages:
            measure(results, stage, [f"stages.{stage}"], folder)
    return results


def write_decoded(folder: Path) -> None:
    """Write what the stages from `extract_frames` to `clip_cost` leave, for the clips of data/clips.csv."""
    clips = read_clips(folder / paths.CLIPS)
    shards = max(1, len(clips) // CLIPS_A_SHARD)
    source = {
        "backbone": "resnet50",
        "weights": "random",
        "weights_sha256": "0" * 64,
        "precision": "fp32",
        "frames": {"count": FRAMES, "resolution": 224, "fit": "squash", "format": "jpeg", "quality": 95},
    }
    of_shard: dict[int, list[Clip]] = {}
    for clip in clips:
        of_shard.setdefault(shard_of(clip.id, shards), []).append(clip)
    for number, inside in of_shard.items():
        made = dict(zip((clip.id for clip in inside), features(inside), strict=True))
        write_shard(folder / paths.FEATURES / f"{shard_name(number)}.safetensors", made, source)
    checksums.write(folder / paths.FEATURES, {})

    frames = folder / paths.FRAMES
    frames.mkdir()
    settings = FrameSettings(count=FRAMES, resolution=224, fit="squash", format="jpeg", quality=95, shards=1, max_failed=0)
    with FrameWriter(frames / "shard-0000.tar", settings):
        pass  # charts without pictures
    write_csv(frames / LEDGER, LEDGER_HEADER, ([clip.id, 40, 40, FRAMES, 0, "pyav", "", ""] for clip in clips))
    write_json(frames / DESCRIPTION, settings.sampling())
    checksums.write(frames, {})
    write_clip_seconds(folder / paths.CLIP_SECONDS, {clip.id: 1.6 for clip in clips})
    counts = {"clips": len(clips), "decoded": len(clips), "padded": 0, "damaged": 0, "failed": 0}
    write_json(folder / paths.FRAME_METRICS, counts)
    write_json(folder / paths.FINETUNE_METRICS, {})
    cost = asdict(BackboneCost(parameters=23_508_032, flops=65_394_180_096, memory_mb=452.3))
    write_json(folder / paths.CLIP_COST, {"backbone": "resnet50", "frames": FRAMES, "resolution": 224, **cost})
    write_json(folder / paths.CLIP_TIMING, asdict(ClipTiming(decode_ms=40.0, backbone_ms=960.0, device="cpu")))


def features(clips: Sequence[Clip]) -> np.ndarray:
    """(n, T, D) in float16: a part shows the class, a part the source, the rest is noise."""
    class_part, source_part = (np.random.default_rng(seed).normal(0, 1, (CLASSES * MOST_SOURCES, FEATURE_DIM)) for seed in (1, 2))
    labels = np.array([int(clip.label.removeprefix("Class")) for clip in clips])
    sources = labels * MOST_SOURCES + [int(clip.group.partition("_")[2]) for clip in clips]
    noise = np.stack([np.random.default_rng(int(clip.sha256[:16], 16)).normal(0, 1, (FRAMES, FEATURE_DIM)) for clip in clips])
    return ((class_part[labels] + source_part[sources])[:, None] + 2 * noise).astype(np.float16)


# Printing.


def table(of_size: dict[int, Results]) -> str:
    """A row per stage: seconds and GiB at each size, and the growth between the last two sizes that the stage finished."""
    sizes = sorted(of_size)
    lines = ["| stage | " + " | ".join(f"{size:,} clips" for size in sizes) + " | growth |", "|---|" + "---|" * (len(sizes) + 1)]
    for name in dict.fromkeys(name for results in of_size.values() for name in results):
        found = [of_size[size].get(name) for size in sizes]
        cells = [f"{one.seconds:.1f} s, {one.peak_gib:.2f} GiB" if one else "failed" for one in found]
        lines.append(f"| {name} | {' | '.join(cells)} | {growth(sizes, found)} |")
    return "\n".join(lines)


def growth(sizes: Sequence[int], found: Sequence[Measured | None]) -> str:
    """The time for ten times as many clips, divided by ten, from the last two sizes that finished."""
    done = [(size, one.seconds) for size, one in zip(sizes, found, strict=True) if one]
    if len(done) < 2:
        return ""
    (few, before), (many, after) = done[-2:]
    return f"{10 ** (log10(after / before) / log10(many / few) - 1):.2f}"


if __name__ == "__main__":
    main()
