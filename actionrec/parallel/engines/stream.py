"""Make shards in this process as one stream of work: a finished shard is written while the next one is computed."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from actionrec.core.progress import Advance
from actionrec.parallel import shard_store
from actionrec.parallel.shard_store import ShardJob

Write = Callable[[Path], None]
"""Writes the files of a computed shard into an empty folder."""

ComputeAll = Callable[[Sequence[Any], Advance], Iterator[Write]]
"""Called with the jobs of several shards and the function that adds finished clips to the progress; yields for each job, in order,
what writes its shard."""


def make_all(compute: ComputeAll, missing: Sequence[tuple[ShardJob, Path]], advance: Advance) -> None:
    """Make each shard in its folder. After an error, shards that were computed before it are written.

    Raises:
        Exception: what `compute` or a `Write` raises.
    """
    with ThreadPoolExecutor(1) as writer:
        writing: deque[Future[None]] = deque()
        for (_, folder), write in zip(missing, compute([shard.job for shard, _ in missing], advance), strict=True):
            writing.append(writer.submit(shard_store.make, _write, write, folder, advance))
            if len(writing) > 1:
                writing.popleft().result()
        for shard in writing:
            shard.result()


def _write(write: Write, draft: Path, _: Advance) -> None:
    write(draft)
