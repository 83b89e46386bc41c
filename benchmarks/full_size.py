"""Training of the models on a stand-in for UCF-50's features: 6,681 clips, 50 classes, 25 groups, (32, 2048) per clip.

    python -m benchmarks.full_size [--epochs 20] [--clips 6681] [--models gru,lstm] [--classes appearance] [--study]

Prints for each model seconds, peak memory, accuracy, and the share of the machine's measured peak of matrix products that training
reaches. A twentieth of a clip's features shows its class, another its group, the rest is noise; `--classes order` makes pairs of
classes with the same frames in opposite orders. `--study` also trains each model by the study's loop, on the same clips for as many
epochs, and prints its seconds and its accuracy on the test clips after the last one.
"""

import argparse
import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import TensorDataset

from actionrec.data import clip_seconds, folds, splits
from actionrec.data import clips as clip_lists
from actionrec.data.clips import Clip
from actionrec.features.feature_store import read_features, write_shard
from actionrec.io import machine
from actionrec.io.sharding import shard_name, shard_of
from actionrec.models import MODELS
from benchmarks import pairs, training

FRAMES, FEATURE_DIM, CLASSES, GROUPS, SHARDS = 32, 2048, 50, 25, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=6681)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--classes", choices=("appearance", "order"), default="appearance")
    parser.add_argument("--study", action="store_true", help="also train by the study's loop")
    arguments = parser.parse_args()
    device = machine.device()
    peak = products_per_second(device)
    print(f"{pairs.describe_machine()}, {machine.TRAINING_THREADS} threads; matrix products: {peak / 1e9:,.0f} GFLOP/s")
    with pairs.project(train__epochs=arguments.epochs) as folder:
        clips = write_project(folder, arguments.clips, arguments.classes)
        print(f"{len(clips)} clips, {arguments.epochs} epochs, classes by {arguments.classes}\n")
        header = f"{'model':18}{'train s':>9}{'clips/s':>9}{'of peak':>9}{'peak GiB':>10}{'top-1 %':>9}"
        print(header + f"{'study s':>9}{'top-1 %':>9}" if arguments.study else header, flush=True)
        total = studys = 0.0
        for model in arguments.models.split(","):
            run = pairs.stage("train", folder, model)
            timing = read(folder / f"metrics/{model}/timing.json")
            metrics = read(folder / f"metrics/{model}/metrics.json")
            total += timing["train_seconds"]
            # Forward, and twice as much backward, except for the unused gradient of the first layer's input.
            done = 3 * metrics["flops"] * timing["clips_per_second"]
            print(
                f"{model:18}{timing['train_seconds']:9.1f}{timing['clips_per_second']:9.1f}{100 * done / peak:8.0f}%"
                f"{run.peak_gib:10.2f}{100 * metrics['test_top1']:9.1f}",
                end="",
                flush=True,
            )
            if arguments.study:
                with ProcessPoolExecutor(
                    1, get_context("spawn")
                ) as own:  # in this process, its memory would be counted as that of child processes
                    seconds, top1 = own.submit(by_the_studys_loop, folder, model, arguments.epochs, device).result()
                studys += seconds
                print(f"{seconds:9.1f}{100 * top1:9.1f}", end="", flush=True)
            print()
        print(f"{'all':18}{total:9.1f}" + (f"{studys:46.1f}" if arguments.study else ""))


def by_the_studys_loop(folder: Path, model: str, epochs: int, device: str) -> tuple[float, float]:
    """Seconds, and top-1 on the test clips after the last epoch. As in the study, the loop evaluates them after each epoch."""
    stored = read_features(folder / "data/features")
    subsets = splits.read_split(folder / "data/split.csv")
    numbers = np.array([int(clip[5:7]) for clip in stored.clips])

    def chosen(subset: str) -> TensorDataset:
        rows = np.flatnonzero(np.array([subsets[clip] for clip in stored.clips]) == subset)
        return TensorDataset(torch.from_numpy(stored.features[rows]).float(), torch.from_numpy(numbers[rows]))

    torch.set_num_threads(machine.TRAINING_THREADS)
    epoch = training.loop_of_the_study(model, chosen("train"), chosen("test"), device)
    start = time.perf_counter()
    top1 = [epoch() for _ in range(epochs)]
    return time.perf_counter() - start, top1[-1]


def read(path: Path) -> dict[str, float]:
    return json.loads(path.read_text(encoding="utf-8"))


def products_per_second(device: str) -> float:
    """Peak floating-point operations a second of matrix products, in the precision of training."""
    torch.set_num_threads(machine.TRAINING_THREADS)
    kind = torch.bfloat16 if machine.has_bf16(device) else torch.float32
    size = 8192 if device.startswith("cuda") else 2048
    one, other = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
    best = float("inf")
    for _ in range(8):
        start = time.perf_counter()
        (one @ other)[0, 0].item()  # waits for a GPU
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def write_project(folder: Path, count: int, classes: str) -> list[Clip]:
    """Write what the stages before training leave for it: clips.csv, split.csv, other_folds.csv, clip_seconds.csv and features."""
    clips = sorted(
        (
            Clip(f"Class{number % CLASSES:02d}/v_g{number // CLASSES % GROUPS + 1:02d}_c{number:04d}.avi", *about(number))
            for number in range(count)
        ),
        key=lambda clip: clip.id,
    )
    settings = splits.SplitSettings(protocol="group", folds=5, fold=0, validation=0.2)
    clip_lists.write_clips(folder / "data/clips.csv", clips)
    splits.write_split(folder / "data/split.csv", splits.divide(clips, settings, 0))
    folds.write_other_folds(folder / "data/other_folds.csv", {})
    clip_seconds.write_clip_seconds(folder / "data/clip_seconds.csv", {})
    source = {"backbone": "stand-in", "weights": "random", "weights_sha256": "0" * 64, "frames": {"count": FRAMES}}
    of_shard: dict[int, list[Clip]] = {}
    for clip in clips:
        of_shard.setdefault(shard_of(clip.id, SHARDS), []).append(clip)

    def write(number: int) -> None:
        made = dict(zip((clip.id for clip in of_shard[number]), features(of_shard[number], classes), strict=True))
        write_shard(folder / f"data/features/{shard_name(number)}.safetensors", made, source)

    (folder / "data/features").mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(machine.cores()) as pool:  # NumPy draws numbers without Python's lock
        list(pool.map(write, of_shard))
    return clips


def about(number: int) -> tuple[str, str, int, str]:
    """Class, group, bytes and hash of an imaginary clip."""
    return f"Class{number % CLASSES:02d}", f"g{number // CLASSES % GROUPS + 1:02d}", 1, f"{number:064x}"


def features(clips: list[Clip], classes: str) -> Iterator[np.ndarray]:
    """(T, D) in float16 for each clip: like ResNet-50's, never below 0, and 0.5 on average."""
    for clip in clips:
        number = int(clip.label.removeprefix("Class"))
        shown = number // 2 if classes == "order" else number
        of_class = lit([1, shown]) * np.random.default_rng([2, shown]).uniform(0, 2, (FRAMES, FEATURE_DIM))
        if classes == "order" and number % 2:
            of_class = of_class[::-1]
        of_group = 0.7 * lit([3, number, int(clip.group[1:])])
        noise = np.random.default_rng([4, int(clip.sha256, 16)]).standard_normal((FRAMES, FEATURE_DIM), dtype=np.float32)
        yield (of_class + of_group + 0.5 * np.abs(noise)).astype(np.float16)


def lit(seed: list[int]) -> np.ndarray:
    """(D,), true for a random twentieth of the features."""
    return np.random.default_rng(seed).random(FEATURE_DIM) < 0.05


if __name__ == "__main__":
    main()
