"""A project with clips, a split and stored frames, for what exporting reads of one."""

from bundles import FRAMES, clips

from actionrec.data.clip_search import find_clips
from actionrec.data.clips import write_clips
from actionrec.io.files import write_csv, write_json
from actionrec.io.sharding import shard_name, shard_of
from actionrec.video import clip_reader
from actionrec.video.frame_settings import FrameSettings
from actionrec.video.frame_store import LEDGER, LEDGER_HEADER, FrameWriter


def project_of(folder, frames=FRAMES, shards=4):
    """Write data/raw/mine, data/clips.csv, data/split.csv and data/frames: of each class, group 1 tests and the others train."""
    clips(folder / "data/raw/mine", count=3)
    found = find_clips(folder / "data/raw/mine")
    write_clips(folder / "data/clips.csv", found)
    subsets = [(clip.id, "test" if clip.group == "g01" else "train") for clip in found]
    write_csv(folder / "data/split.csv", ("clip", "subset"), subsets)
    settings = FrameSettings(**frames, shards=shards, max_failed=0.0)
    (folder / "data/frames").mkdir()
    for number in range(shards):
        with FrameWriter(folder / "data/frames" / f"{shard_name(number)}.tar", settings) as writer:
            for clip in found:
                if shard_of(clip.id, shards) == number:
                    path = folder / "data/raw/mine" / clip.id
                    writer.add(clip.id, clip.label, clip_reader.sample_clip(path, settings.count, settings.resolution))
    ledger = [(clip.id, settings.count, settings.count, settings.count, 0, "pyav", "", "") for clip in found]
    write_csv(folder / "data/frames" / LEDGER, LEDGER_HEADER, ledger)
    write_json(folder / "data/frames/frames.json", settings.sampling())
