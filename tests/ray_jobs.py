"""What Ray's workers run in tests, in a module that they can import, and the program that hands it to them."""

import os
import signal
import sys
import time
from pathlib import Path

from actionrec.core import entry, paths
from actionrec.data.clip_files import read_clip_files
from actionrec.data.clips import read_clips
from actionrec.io import params, sharding
from actionrec.parallel import engines, shards
from stages import extract_frames


def note(text):
    with Path("journal.txt").open("a", encoding="utf-8") as stream:
        stream.write(f"{text}\n")


def journal():
    return Path("journal.txt").read_text(encoding="utf-8").split("\n")[:-1] if Path("journal.txt").exists() else []


def wait_for(name):
    while not Path(name).exists():
        time.sleep(0.05)


def extract_at_the_gate(job, draft, advance):
    """Make a shard of frames, but wait, half done, until there is a file `open`."""
    import ray

    shard = sharding.shard_of(job.clips[0].id, job.settings.shards)
    note(f"{ray.get_runtime_context().get_node_id()} {os.getpid()} {shard}")
    (draft / "half.txt").touch()
    wait_for("open")
    (draft / "half.txt").unlink()
    extract_frames.extract(job, draft, advance)


def crash_at_second_clip(job, draft, advance):
    """Crash as a codec does, whichever process tries."""
    for count in (1, 0):  # the driver is told now and then
        time.sleep(0.6)
        advance(count)
    time.sleep(0.6)
    os.kill(os.getpid(), signal.SIGSEGV)


def main():
    name, at_most, retries = sys.argv[1:]
    settings = params.read(extract_frames.Params)
    files = read_clip_files(paths.RAW / settings.data.dataset)
    tasks = extract_frames.plan(read_clips(paths.CLIPS), files, settings.frames)
    engines.ray.RETRIES = int(retries)
    shards.complete("frames", tasks[: int(at_most)], globals()[name], what="Working", workers=1)


if __name__ == "__main__":
    entry.run(main)
