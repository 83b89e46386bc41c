"""Frame index: reads single frames of the frame store, in any order, without decoding the others.

T sample points, L frames per snippet, H and W pixels. The index holds the place of every frame in its shard, 16 bytes each.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actionrec.core.errors import REPAIR, DataError, VideoError
from actionrec.io import checksums
from actionrec.video import frame_store, shard_file
from actionrec.video.shard_file import TarMember


@dataclass(frozen=True)
class _StoredClip:
    """Where a clip's frames are."""

    shard: int
    places: NDArray[np.int64]
    """(N, 2): offset and length in bytes of each frame's JPEG; or (1, 2), of one array with all frames."""
    is_array: bool
    """Whether it is one array."""
    frames: int
    """N"""
    snippets: NDArray[np.int64] | None
    """(T, L): which of the N frames each snippet has; None: one frame for each sample point."""


class FrameIndex:
    """The frames of all clips of a folder of shards. Threads may share it."""

    def __init__(self, folder: Path) -> None:
        """Verify the shards, and find the frames in them.

        Raises:
            DataError: there are no shards, or one is missing or damaged.
        """
        self._shards = sorted(folder.glob("*.tar"))
        if not self._shards:
            raise DataError(f"{folder} has no frames. Run `dvc repro extract_frames`.")
        names = [path.name for path in self._shards]
        checksums.refuse_missing(folder, ".tar", names)
        self._sums = checksums.verify(folder, names)
        clips = {clip: stored for number, path in enumerate(self._shards) for clip, stored in _clips_of(path, number)}
        self.clips = sorted(clips)
        """Clip ids, sorted."""
        self._clips = [clips[clip] for clip in self.clips]
        self.has_snippets = any(clip.snippets is not None for clip in self._clips)
        """Whether there are several frames at each sample point."""

    def signature(self) -> dict[str, str]:
        """Identity of these frames: the SHA-256 of each shard by name."""
        return dict(self._sums)

    def steps(self, row: int) -> int:
        """Sample points (T) of a clip."""
        clip = self._clips[row]
        return clip.frames if clip.snippets is None else len(clip.snippets)

    def read(self, row: int, steps: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Read the frames at some sample points of a clip: (S, H, W, 3), or snippets (S, L, H, W, 3), RGB.

        Frames that several of the steps share are decoded once.

        Raises:
            DataError: the shard cannot be read, or a frame is damaged.
        """
        clip = self._clips[row]
        frame_numbers = np.asarray(steps, dtype=np.int64)
        frame_numbers = frame_numbers if clip.snippets is None else clip.snippets[frame_numbers]
        different, inverse = np.unique(frame_numbers, return_inverse=True)
        path = self._shards[clip.shard]
        try:
            with path.open("rb", buffering=0) as stream:
                frames = _read(stream.fileno(), clip, different)
        except (OSError, EOFError, ValueError, IndexError, VideoError) as error:
            raise DataError(f"{path}: frames of {self.clips[row]} cannot be read ({error}). {REPAIR}") from None
        return frames[inverse.reshape(frame_numbers.shape)]


def _read(file: int, clip: _StoredClip, frames: NDArray[np.int64]) -> NDArray[np.uint8]:
    places = clip.places if clip.is_array else clip.places[frames]
    contents = [os.pread(file, int(length), int(start)) for start, length in places]
    if clip.is_array:
        return frame_store.decode_array(contents[0])[frames]
    return frame_store.decode_jpegs(contents)


def _clips_of(path: Path, shard: int) -> list[tuple[str, _StoredClip]]:
    clips: list[tuple[str, _StoredClip]] = []
    description: dict[str, object] | None = None
    pictures: list[TarMember] = []
    with shard_file.open_shard(path) as stream:
        for member in [*shard_file.members(stream), None]:
            if description is not None and (member is None or member.name.endswith(".json")):
                clips.append((str(description["clip"]), _stored_clip(shard, description, pictures)))
                pictures = []
            if member is not None and member.name.endswith(".json"):
                description = json.loads(shard_file.contents(stream, member))
            elif member is not None:
                pictures.append(member)
    return clips


def _stored_clip(shard: int, description: dict[str, object], pictures: list[TarMember]) -> _StoredClip:
    indices, snippets = description["frame_indices"], description.get("snippets")
    if not isinstance(indices, list):
        raise TypeError(f"frame_indices of {description['clip']!r} must be a list")
    is_array = len(pictures) == 1 and pictures[0].name.endswith(".npy")
    if not is_array and len(pictures) != len(indices):
        raise ValueError(f"{len(pictures)} of {len(indices)} frames of {description['clip']!r}")
    places = np.array([(member.start, member.size) for member in pictures])
    return _StoredClip(shard, places, is_array, len(indices), None if snippets is None else np.array(snippets))
