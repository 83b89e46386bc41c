"""Decode each clip, sample its frames evenly, and store them: data/frames/; and the clips' lengths: data/clip_seconds.csv."""

import logging
import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import cv2

from actionrec.core import entry, paths
from actionrec.core.errors import DataError, VideoError
from actionrec.core.progress import Advance
from actionrec.data.clip_files import ClipFiles, read_clip_files
from actionrec.data.clip_seconds import read_clip_seconds, write_clip_seconds
from actionrec.data.clips import Clip, read_clips
from actionrec.io import checksums, files, machine, params
from actionrec.io.params import DataSettings
from actionrec.io.sharding import shard_name, shard_of
from actionrec.io.tar_member import ClipFile
from actionrec.parallel import shards
from actionrec.parallel.code_digest import code_digest
from actionrec.parallel.shard_store import ShardJob
from actionrec.video import clip_reader
from actionrec.video.frame_settings import FrameSettings
from actionrec.video.frame_store import DESCRIPTION, LEDGER, LEDGER_HEADER, FrameWriter

logger = logging.getLogger(__name__)

LISTED = 25
SECONDS = "seconds.csv"  # of a shard's clips
DECODER = "pyav"


@dataclass(frozen=True)
class Params:
    """The parameters of this stage, from params.yaml."""

    data: DataSettings
    frames: FrameSettings


@dataclass(frozen=True)
class FrameJob:
    """The job for one shard: its clips and the settings."""

    clips: list[Clip]
    files: list[ClipFile]
    """Of each clip."""
    settings: FrameSettings


def main() -> None:
    settings = params.read(Params)
    clips = read_clips(paths.CLIPS)
    tasks = plan(clips, read_clip_files(paths.RAW / settings.data.dataset), settings.frames)
    folders = shards.complete("frames", tasks, extract, what="Extracting frames", workers=machine.workers())

    ledger = sorted((row for folder in folders.values() for row in files.read_csv(folder / LEDGER, LEDGER_HEADER)), key=clip_of)
    # Written even if this run fails: the list of failed clips may be too long for a terminal.
    files.write_csv(paths.WORK / "frames" / LEDGER, LEDGER_HEADER, ([*row.values()] for row in ledger))
    failed = [row for row in ledger if row["error"]]
    counts = {
        "clips": len(ledger),
        "decoded": len(ledger) - len(failed),
        "padded": sum(int(row["padded"]) > 0 for row in ledger),
        "damaged": sum(row["warning"] != "" for row in ledger),
        "failed": len(failed),
    }
    refuse_too_many(failed, len(ledger), settings.frames.max_failed)
    with files.whole_folder(paths.FRAMES) as draft:
        sums = shards.link_into(draft, {f"{name}.tar": folder / "frames.tar" for name, folder in folders.items()})
        files.write_csv(draft / LEDGER, LEDGER_HEADER, ([*row.values()] for row in ledger))
        files.write_json(draft / DESCRIPTION, settings.frames.sampling())
        checksums.write(draft, sums)
    lengths = {clip: seconds for folder in folders.values() for clip, seconds in read_clip_seconds(folder / SECONDS).items()}
    write_clip_seconds(paths.CLIP_SECONDS, lengths)
    files.write_json(paths.FRAME_METRICS, counts)
    for folder in folders.values():
        if any(row["error"].startswith(clip_reader.UNEXPECTED) for row in files.read_csv(folder / LEDGER, LEDGER_HEADER)):
            shutil.rmtree(folder)  # retried on the next run, as the error may not come back
    logger.info("%(clips)d clips: %(decoded)d decoded (%(padded)d padded, %(damaged)d damaged), %(failed)d failed", counts)
    report_damaged([row for row in ledger if row["warning"]])


def plan(clips: list[Clip], files_of: ClipFiles, settings: FrameSettings) -> list[ShardJob]:
    """Spread the clips over shards."""
    of_shard = defaultdict(list)
    for clip in clips:
        of_shard[shard_of(clip.id, settings.shards)].append(clip)
    code = code_digest("extract_frames")
    tasks = []
    for number, inside in sorted(of_shard.items()):
        key = {
            # Without the groups: they depend on data.group, and the pixels do not.
            "clips": [[clip.id, clip.label, clip.sha256] for clip in inside],
            "sampling": settings.sampling(),
            "code": code,
            "cv2": cv2.__version__,
            "av": version("av"),
        }
        job = FrameJob(inside, [files_of[clip.id] for clip in inside], settings)
        ids = [clip.id for clip in inside]
        inputs = dict(zip(job.files, (clip.sha256 for clip in inside), strict=True))
        tasks.append(ShardJob(shard_name(number), files.digest(key), len(inside), job, inputs, ids))
    return tasks


def extract(job: FrameJob, draft: Path, advance: Advance) -> None:
    """Write one shard: frames.tar, and the ledger and the lengths of its clips."""
    cv2.setNumThreads(1)
    rows: list[list[object]] = []
    lengths: dict[str, float] = {}
    settings = job.settings
    with FrameWriter(draft / "frames.tar", settings) as writer:
        for clip, path in zip(job.clips, job.files, strict=True):
            with unchanged(path, clip.sha256):
                try:
                    sampled = clip_reader.sample_clip_safely(
                        path, settings.count, settings.resolution, settings.fit, settings.snippet
                    )
                except VideoError as error:
                    rows.append([clip.id, error.header_frames, error.decoded_frames, 0, 0, DECODER, "", str(error)])
                else:
                    counts = [sampled.header_frames, sampled.decoded_frames, sampled.unique_frames, sampled.padded]
                    rows.append([clip.id, *counts, DECODER, sampled.warning, ""])
                    writer.add(clip.id, clip.label, sampled)
                    if sampled.frame_rate:
                        lengths[clip.id] = sampled.decoded_frames / sampled.frame_rate
            advance(1)
    files.write_csv(draft / LEDGER, LEDGER_HEADER, rows)
    write_clip_seconds(draft / SECONDS, lengths)


@contextmanager
def unchanged(path: ClipFile, sha256: str) -> Iterator[None]:
    """Check that a file has the given SHA-256 and does not change while it is read.

    Raises:
        DataError: the file is missing, differs or changes. Its frames must not be stored under the key of other contents.
    """
    try:
        before = path.stat()
        same = files.sha256_of(path) == sha256
        yield
        after = path.stat()
    except FileNotFoundError:
        raise DataError(f"{path} is missing, but {paths.CLIPS} lists it. Rerun `dvc repro`, which runs split again.") from None
    if not same or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise DataError(f"{path} has changed since {paths.CLIPS} was written. Rerun `dvc repro`, which runs split again.")


def report_damaged(damaged: list[dict[str, str]]) -> None:
    if damaged:
        listed = "\n".join(f"  {row['clip']}: {row['warning']}" for row in damaged[:LISTED])
        more = f"\n  and {len(damaged) - LISTED} more; see {paths.FRAMES / LEDGER}" if len(damaged) > LISTED else ""
        logger.warning("%d clips are damaged; their undamaged frames are used:\n%s%s", len(damaged), listed, more)


def refuse_too_many(failed: list[dict[str, str]], total: int, allowed: float) -> None:
    """Raise a VideoError that lists the failed clips if their share is more than `allowed`."""
    listed = "\n".join(f"  {row['clip']}: {row['error']}" for row in failed[:LISTED])
    if len(failed) > LISTED:
        listed += f"\n  and {len(failed) - LISTED} more; see {paths.WORK / 'frames' / LEDGER}"
    if len(failed) > allowed * total or len(failed) == total:
        raise VideoError(
            f"{len(failed)} of {total} clips cannot be decoded (allowed: {allowed:.1%} of them):\n{listed}\n"
            "Fix or remove them, or raise frames.max_failed in params.yaml to continue without them."
        )
    if failed:
        logger.warning("%d of %d clips cannot be decoded and are skipped:\n%s", len(failed), total, listed)


def clip_of(row: dict[str, str]) -> str:
    return row["clip"]


if __name__ == "__main__":
    entry.run(main)
