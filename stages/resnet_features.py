"""Compute the features of each clip's stored frames with the backbone: data/features/."""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from actionrec.core import entry, paths
from actionrec.core.errors import DataError
from actionrec.core.progress import Advance
from actionrec.features import backbones, extractors, feature_store
from actionrec.features.backbones import Backbone, FeatureSettings
from actionrec.features.extractors import Extractor
from actionrec.features.tuned_backbone import TunedBackbone, read_tuned
from actionrec.io import checksums, files, machine, params
from actionrec.parallel import engines, shards
from actionrec.parallel.code_digest import code_digest
from actionrec.parallel.engines.stream import Write
from actionrec.parallel.shard_store import ShardJob
from actionrec.video import frame_store
from actionrec.video.frame_settings import Sampling
from actionrec.video.frame_store import DESCRIPTION

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Params:
    """The parameters of this stage, from params.yaml."""

    features: FeatureSettings


@dataclass(frozen=True)
class FeatureJob:
    """The job for one shard: its frames, how many clips they are of, the feature settings and the device."""

    shard: Path
    clips: int
    settings: FeatureSettings
    tuned: TunedBackbone | None
    source: dict[str, Any]
    device: str


def main() -> None:
    settings, tuned = params.read(Params).features, read_tuned(paths.BACKBONE)
    device = engines.ray.device() if machine.engine() == "ray" else machine.device()
    description = feature_store.current_frames(files.read_json(paths.FRAMES / DESCRIPTION))
    backbone = _backbone(settings, Sampling.of(description).snippet.length, tuned)
    source = {**backbones.describe(settings, backbone, tuned), "frames": description}
    tasks = plan(settings, tuned, source, device)
    workers = machine.workers() if device == "cpu" else 1
    folders = shards.complete(
        "features", tasks, extract, what="Extracting features", workers=workers, device=device, compute_all=extract_all
    )
    with files.whole_folder(paths.FEATURES) as draft:
        sums = shards.link_into(draft, {f"{name}.safetensors": folder / "features.safetensors" for name, folder in folders.items()})
        checksums.write(draft, sums)
    logger.info("%d clips in %d shards", sum(task.clips for task in tasks), len(tasks))


def plan(settings: FeatureSettings, tuned: TunedBackbone | None, source: dict[str, Any], device: str) -> list[ShardJob]:
    """One job for each shard of frames; shards without clips (all failed to decode) are skipped."""
    shard_paths = sorted(paths.FRAMES.glob("*.tar"))
    if not shard_paths:
        raise DataError(f"{paths.FRAMES} has no frames. Run `dvc repro extract_frames`.")
    names = [path.name for path in shard_paths]
    checksums.refuse_missing(paths.FRAMES, ".tar", names)
    contents = checksums.verify(paths.FRAMES, [*names, DESCRIPTION])
    code = code_digest("resnet_features")
    libraries = [f"{name} {version(name)}" for name in ("torch", "torchvision", extractors.runtime(device))]
    made_by = [*libraries, f"cv2 {cv2.__version__}", device.partition(":")[0]]
    weights = {tuned.weights: tuned.sha256} if tuned else {}
    if settings.is_file and not tuned:
        weights = {Path(settings.weights): files.sha256_of(Path(settings.weights))}
    tasks = []
    for path in shard_paths:
        clips = frame_store.count_clips(path)
        if clips:
            key = {"frames": contents[path.name], "source": source, "code": code, "made_by": made_by}
            inputs = {path: contents[path.name], **weights}
            job = FeatureJob(path, clips, settings, tuned, source, device)
            tasks.append(ShardJob(path.stem, files.digest(key), clips, job, inputs))
    return tasks


def extract(job: FeatureJob, draft: Path, advance: Advance) -> None:
    """Compute one shard of features."""
    for write in extract_all([job], advance):
        write(draft)


def extract_all(jobs: Sequence[FeatureJob], advance: Advance) -> Iterator[Write]:
    """Compute shards of features, all with the same settings, as one stream of clips: a GPU does not wait at a shard's end.

    Raises:
        DataError: frames are damaged; the shards before them have been yielded.
    """
    source, device = jobs[0].source, jobs[0].device
    sampling = Sampling.of(source["frames"])
    extractor = _extractor(jobs[0].settings, jobs[0].tuned, sampling.resolution, sampling.snippet.length, device)
    # One process feeds a GPU and decodes frames on all cores; on a CPU there is one process per core.
    threads = machine.workers() if device.startswith("cuda") else 1
    started: deque[tuple[Path, str]] = deque()

    def clip_stream() -> Iterator[NDArray[np.uint8]]:
        for shard, clip_id, clip_frames in frame_store.read_shards([job.shard for job in jobs], threads, empty=extractor.empty):
            started.append((shard, clip_id))
            yield clip_frames

    features = extractor.each(clip_stream())
    for job in jobs:
        shard_features: dict[str, NDArray[np.float16]] = {}
        for clip_features in islice(features, job.clips):
            shard, clip_id = started.popleft()
            if shard == job.shard:
                shard_features[clip_id] = clip_features
                advance(1)
        if len(shard_features) != job.clips:
            raise DataError(f"{job.shard} was replaced while in use. Run `dvc repro`.")
        yield partial(_write, shard_features, source)


def _write(shard_features: dict[str, NDArray[np.float16]], source: dict[str, Any], draft: Path) -> None:
    feature_store.write_shard(draft / "features.safetensors", shard_features, source)


@lru_cache(maxsize=1)
def _extractor(settings: FeatureSettings, tuned: TunedBackbone | None, size: int, snippet_length: int, device: str) -> Extractor:
    """The extractor, created once per process."""
    cv2.setNumThreads(1)
    backbone = _backbone(settings, snippet_length, tuned)
    precision, streams = settings.precision, settings.streams
    return extractors.create_extractor(backbone, precision=precision, size=size, device=device, threads=1, streams=streams)


@lru_cache(maxsize=1)
def _backbone(settings: FeatureSettings, snippet_length: int, tuned: TunedBackbone | None) -> Backbone:
    """The backbone, created once per process; on a GPU this process also extracts the features."""
    torch.set_num_threads(1)  # there is one process per core, and results must not depend on their number
    return backbones.create_backbone(settings, snippet_length, tuned)


if __name__ == "__main__":
    entry.run(main)
