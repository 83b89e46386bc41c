"""Batches of clips for fine-tuning: frames of their segments, read, augmented and turned into the pictures of each stream.

B clips, S segments, M streams, L frames per snippet, H and W pixels.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actionrec.features.streams import pictures_of
from actionrec.finetuning import pixel_augmentation
from actionrec.finetuning.pixel_augmentation import Draw
from actionrec.io import machine
from actionrec.video.frame_index import FrameIndex

_AHEAD = 2  # batches that are prepared while one is in use


@dataclass(frozen=True)
class ClipReader:
    """Reads what the backbone sees of a clip."""

    index: FrameIndex
    streams: Sequence[str]

    def read(self, row: int, steps: NDArray[np.int64], drawn: Draw | None = None) -> NDArray[np.uint8]:
        """The pictures at some sample points of a clip: (S, M, L, H, W, 3); L is 1 without snippets.

        A difference needs two frames. They are augmented alike, before the difference is taken.

        Raises:
            DataError: see `FrameIndex.read`.
        """
        total = self.index.steps(row)
        with_next = "diff" in self.streams and not self.index.has_snippets and total > 1
        # The last sample point has no next frame: it repeats the difference before it, as `streams.pictures_of` does.
        first = np.minimum(steps, total - 2) if with_next else steps
        read = np.concatenate([steps, first, first + 1]) if with_next else steps
        frames = self.index.read(row, read)
        frames = frames if drawn is None else pixel_augmentation.augment(frames, drawn)
        if self.index.has_snippets:
            return np.stack([np.stack([pictures_of(snippet, stream) for snippet in frames]) for stream in self.streams], axis=1)
        pictures = {"rgb": frames[: len(steps)]}
        if "diff" in self.streams:
            pairs = frames[len(steps) :].reshape(2, len(steps), *frames.shape[1:]) if with_next else frames[None]
            pictures["diff"] = np.stack([pictures_of(pair, "diff")[0] for pair in pairs.swapaxes(0, 1)])
        return np.stack([pictures[stream] for stream in self.streams], axis=1)[:, :, None]


def batches(groups: Sequence[NDArray[np.int64]], read: Callable[[int], NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Yield the pictures of each group of clips, (B, S, M, L, H, W, 3). All cores prepare the next groups.

    Args:
        groups: rows of clips.
        read: returns the pictures of one clip.
    """
    with ThreadPoolExecutor(machine.workers()) as pool:
        ahead: deque[list[Future[NDArray[np.uint8]]]] = deque()
        try:
            for group in groups:
                ahead.append([pool.submit(read, int(row)) for row in group])
                if len(ahead) > _AHEAD:
                    yield np.stack([clip.result() for clip in ahead.popleft()])
            while ahead:
                yield np.stack([clip.result() for clip in ahead.popleft()])
        finally:
            for waiting in ahead:
                for clip in waiting:
                    clip.cancel()
