"""The whole pipeline on a GPU in under five minutes: one table with targets and baselines, and where the time goes.

    python -m benchmarks.gpu [--quick] [--seconds 285] [--parts frames,features,training]

Everything is a stand-in: drawn clips like UCF-50's, a ResNet-50 with random weights, features of UCF-50's size. The stages run as
DVC runs them, without DVC. Trainings run for a few epochs; the others of 20 are added from the time of each further epoch. A part
that fails or reaches its time limit leaves gaps in the tables, and its error below them. `--quick` tries all parts in small sizes,
for a machine without a GPU.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from actionrec.core import paths
from actionrec.evaluation.study_results import RESULTS, TRAIN_CLIPS
from actionrec.io import machine
from benchmarks import gpu_tables, pairs
from benchmarks.gpu_tables import EPOCHS, FRAMES, UCF50_CLIPS, Found, TrainingRun


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    frame_clips: int = 1280
    few_frame_clips: int = 64
    feature_shards: int = 6
    clips_a_shard: int = 104  # as UCF-50's in 64 shards
    resolution: int = 224
    training_clips: int = UCF50_CLIPS
    study_clips: int = 640
    epochs: int = 3
    models: tuple[str, ...] = tuple(sorted(RESULTS, key=lambda name: -RESULTS[name].train_seconds))  # train-all's order
    jobs: tuple[int, ...] = (7, 4, 2)


QUICK = Sizes(4, 2, 2, 2, 64, 250, 16, 2, ("gru", "simple_rnn"), (2,))


class Clock:
    """The time limits of the whole benchmark and of the running part."""

    def __init__(self, seconds: float) -> None:
        self.end = self.part_end = time.monotonic() + seconds

    def start_part(self, limit: float) -> None:
        self.part_end = min(self.end, time.monotonic() + limit)

    @property
    def left(self) -> float:
        return max(0.1, self.part_end - time.monotonic())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="try all parts in small sizes")
    parser.add_argument("--seconds", type=float, default=285, help="time limit; parts that do not fit are left out")
    parser.add_argument("--parts", default="frames,features,training")
    arguments = parser.parse_args()
    sizes, clock, found = QUICK if arguments.quick else Sizes(), Clock(arguments.seconds), Found()
    precision = "bf16" if machine.has_bf16(machine.device()) else "fp32"
    print(f"{pairs.describe_machine()}, {machine.cores()} cores\n", flush=True)
    # Part -> its function and its limit in seconds.
    parts: dict[str, tuple[Callable[[Sizes, Clock, Found, str], None], float]] = {
        "frames": (frames, 50),
        "features": (features, 100),
        "training": (training, 285),
    }
    for name in arguments.parts.split(","):
        part, limit = parts[name]
        clock.start_part(arguments.seconds if arguments.quick else limit)
        try:
            part(sizes, clock, found, precision)
        except Exception as error:
            found.errors.append(f"{name}: {type(error).__name__}: {error}")
        print(f"{name}: done, {clock.end - time.monotonic():.0f} s left", file=sys.stderr, flush=True)
    print(gpu_tables.tables(found, sizes.models, sizes.epochs))
    if found.notes or found.errors:
        print("\n" + "\n".join([*sorted(found.notes), *found.errors]))
    sys.exit(1 if found.errors else 0)


# Running other programs.


def start(arguments: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(pairs.ROOT), os.environ.get("PYTHONPATH")]))}
    if machine.device() == "cpu":
        environment["ACTIONREC_WORKERS"] = "1"  # on a GPU, features have one process, too
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], clock: Clock, found: Found) -> str:
    """Wait for a program, note what it says about CUDA graphs, and return what it printed.

    Raises:
        TimeoutError: the part's time is over.
        RuntimeError: it failed.
    """
    try:
        printed, errors = process.communicate(timeout=clock.left)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"{' '.join(process.args[2:])} was stopped at the time limit") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(process.args[2:])} failed: {errors.strip()[-600:]}")
    found.notes |= {line.strip() for line in errors.splitlines() if "Without a CUDA graph" in line}
    return printed


def stage(name: str, folder: Path, clock: Clock, found: Found, *arguments: str) -> tuple[float, list[tuple[str, float, float]]]:
    """Run a stage; return its seconds, and its spans with times since its start."""
    begin = time.time()
    printed = finish(start(["benchmarks.timed_stage", name, *arguments], folder), clock, found)
    seconds = time.time() - begin
    return seconds, [(step, first - begin, last - begin) for step, first, last in json.loads(printed.splitlines()[-1])]


def processor_seconds() -> float:
    """Processor time of all ended programs that this one started, and of their workers."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def baselines(arguments: Sequence[str], clock: Clock, found: Found) -> dict[str, float]:
    printed = finish(start(["benchmarks.gpu_baselines", *arguments], pairs.ROOT), clock, found)
    return dict(json.loads(line) for line in printed.splitlines())


@contextmanager
def watching_the_gpu(found: Found, part: str) -> Iterator[None]:
    """Note how much of the time the GPU runs kernels, as nvidia-smi reports it."""
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--loop-ms=200"]
    if machine.device() == "cpu" or not shutil.which(command[0]):
        yield
        return
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield
    finally:
        process.terminate()
        shares = [int(line) for line in process.communicate()[0].split() if line.isdecimal()]
        if shares:
            found.busy[part] = statistics.mean(shares)


# The parts.


def frames(sizes: Sizes, clock: Clock, found: Found, precision: str) -> None:
    """Measure extract_frames with all cores: clips a second of further clips, and its start."""
    from actionrec.data.clip_files import write_members
    from actionrec.data.clip_search import find_clips
    from actionrec.data.clips import write_clips
    from benchmarks import decode

    with pairs.project(data__dataset="mine", frames__resolution=sizes.resolution) as folder:
        raw = folder / "data/raw/mine"
        first = raw / "Waving/v_Waving_g01_c0000.avi"
        first.parent.mkdir(parents=True)
        decode.CLIPS["Xvid, GOP 250, packed B"][1](first)
        for number in range(1, sizes.frame_clips):
            label = ("Waving", "Turning")[number % 2]
            copy = raw / label / f"v_{label}_g{number % 25 + 1:02d}_c{number:04d}.avi"
            copy.parent.mkdir(exist_ok=True)
            os.link(first, copy)
        clips = find_clips(raw, None)
        write_members(folder / paths.TAR_MEMBERS, {})
        seconds, used = {}, {}
        for count in (sizes.few_frame_clips, sizes.few_frame_clips, sizes.frame_clips):  # the first run reads libraries from disk
            write_clips(folder / paths.CLIPS, clips[:count])
            shutil.rmtree(folder / paths.WORK, ignore_errors=True)
            before = processor_seconds()
            seconds[count], spans = stage("extract_frames", folder, clock, found)
            used[count] = processor_seconds() - before
        found.steps["extract_frames"] = {step: last - first for step, first, last in spans}
        further, processor = (
            (spent[sizes.frame_clips] - spent[sizes.few_frame_clips]) / (sizes.frame_clips - sizes.few_frame_clips)
            for spent in (seconds, used)
        )
        found.rates["extract_frames"] = 1 / further
        found.processor["extract_frames"] = 1000 * processor
        found.starts["extract_frames"] = seconds[sizes.few_frame_clips] - sizes.few_frame_clips * further
        found.rates |= baselines(["frames", str(first)], clock, found)


def features(sizes: Sizes, clock: Clock, found: Found, precision: str) -> None:
    """Measure resnet_features: images a second of further clips, and its start."""
    changes = {"features__precision": precision, "features__weights": "random", "frames__resolution": sizes.resolution}
    with pairs.project(**changes) as folder:
        store_frames(folder, sizes, range(1))
        stage("resnet_features", folder, clock, found)  # reads the libraries from the disk
        shutil.rmtree(folder / paths.WORK)
        few, spans = stage("resnet_features", folder, clock, found)
        store_frames(folder, sizes, range(1, sizes.feature_shards))
        shutil.rmtree(folder / paths.WORK)
        with watching_the_gpu(found, "resnet_features"):
            every, _ = stage("resnet_features", folder, clock, found)
        further = (every - few) / ((sizes.feature_shards - 1) * sizes.clips_a_shard)
        found.rates["resnet_features"] = FRAMES / further
        found.starts["resnet_features"] = few - sizes.clips_a_shard * further
        found.steps["resnet_features"] = {step: last - first for step, first, last in reversed(spans)}  # the first call counts
        found.rates |= baselines(["features", str(folder / paths.FRAMES), "--precision", precision], clock, found)


def store_frames(folder: Path, sizes: Sizes, shards: Iterable[int]) -> None:
    """Write shards of data/frames as extract_frames does, with other pictures in each shard."""
    import numpy as np

    from actionrec.io.files import write_json
    from actionrec.video.frame_settings import FrameSettings
    from actionrec.video.frame_store import DESCRIPTION, FrameWriter
    from actionrec.video.sampling import SampledClip
    from benchmarks.features import pictures

    settings = FrameSettings(FRAMES, sizes.resolution, "jpeg", 95, shards=64, max_failed=0.0)
    (folder / paths.FRAMES).mkdir(parents=True, exist_ok=True)
    drawn = pictures(1, sizes.resolution)[0]

    def write(shard: int) -> None:
        frames = np.roll(drawn, 8 * shard, axis=2)
        with FrameWriter(folder / paths.FRAMES / f"shard-{shard:04d}.tar", settings) as writer:
            for clip in range(sizes.clips_a_shard):
                writer.add(f"A/{shard}-{clip}.avi", "A", SampledClip(frames, list(range(FRAMES)), FRAMES, FRAMES))

    with ThreadPoolExecutor(machine.cores()) as pool:  # OpenCV encodes without Python's lock
        list(pool.map(write, shards))
    write_json(folder / paths.FRAMES / DESCRIPTION, settings.sampling())


def training(sizes: Sizes, clock: Clock, found: Found, precision: str) -> None:
    """Measure the trainings: the study's loop, then ours one after the other, then several at a time."""
    from benchmarks import full_size

    with pairs.project(train__epochs=sizes.epochs, train__precision=precision) as folder:
        full_size.write_project(folder, sizes.training_clips, "appearance")
        command = ["training", "--models", ",".join(sizes.models), "--clips", str(sizes.study_clips)]
        try:
            epochs = baselines(command, clock, found)
        except (RuntimeError, TimeoutError) as error:
            found.errors.append(f"training, the study's loop: {error}")
        else:
            found.study = {model: EPOCHS * epoch * TRAIN_CLIPS / sizes.study_clips for model, epoch in epochs.items()}
        for jobs in (1, *sizes.jobs):
            with watching_the_gpu(found, f"training, {jobs} at a time"):
                found.trainings[jobs] = trainings(sizes.models, jobs, folder, clock, found)


def trainings(models: Sequence[str], jobs: int, folder: Path, clock: Clock, found: Found) -> dict[str, TrainingRun]:
    """Train all models, `jobs` at a time, as train-all starts them; a model that fails is missing."""
    shutil.rmtree(folder / paths.WORK, ignore_errors=True)  # checkpoints

    def train(model: str) -> TrainingRun | None:
        try:
            seconds, spans = stage("train", folder, clock, found, model)
        except (RuntimeError, TimeoutError) as error:
            found.errors.append(f"training, {jobs} at a time: {error}")
            return None
        ends = [last for step, _, last in spans if step == "measurements"]
        read = next(last for step, _, last in spans if step == "read_job")
        return TrainingRun(read, ends[0] - read, (ends[-1] - ends[0]) / (len(ends) - 1), seconds - ends[-1])

    with ThreadPoolExecutor(jobs) as pool:
        runs = zip(models, pool.map(train, models), strict=True)
        return {model: run for model, run in runs if run is not None}


if __name__ == "__main__":
    main()
