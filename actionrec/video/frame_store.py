"""Frame store: the sampled frames of all clips, in shards; each shard is a tar file that WebDataset can read.

A clip's members are neighbours in the tar file and share a key: `<key>.json` (clip, label, frame indices), then `<key>.000.jpg`,
`<key>.001.jpg`, ..., or one `<key>.npy`, uint8 (N, size, size, 3), RGB. The key is a hash of the clip's id, because WebDataset
does not allow the dots and blanks that an id may contain.

Without snippets, N = T: one frame for each sample point. Snippets may share frames, so each frame is stored once, and the JSON file
says which frames each snippet has (`snippets`, (T, L) places in the order of the stored frames), and the clip's frame rate.
"""

import hashlib
import io
import json
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from actionrec.core.errors import DataError, VideoError
from actionrec.io import checksums
from actionrec.io.tar_writer import TarWriter
from actionrec.video import shard_file
from actionrec.video.frame_settings import Sampling
from actionrec.video.shard_file import open_shard

if TYPE_CHECKING:
    from actionrec.video.sampling import SampledClip

DESCRIPTION = "frames.json"
LEDGER = "ledger.csv"
LEDGER_HEADER = ("clip", "header_frames", "decoded_frames", "unique_frames", "padded", "decoder", "warning", "error")

_ONE_HEADER_AT_A_TIME = threading.Lock()  # NumPy parses them as Python code, which fails at times in threads of Python 3.11.7

_READ_BYTES = 2**20  # at a time; a clip of 32 frames of 224 x 224 pixels has about as many

Empty = Callable[[tuple[int, ...]], NDArray[np.uint8]]
"""Makes an array of a shape for frames, with any contents."""


class FrameWriter:
    """Writes one shard. The same clips give the same bytes."""

    def __init__(self, path: Path, settings: Sampling) -> None:
        self.settings = settings
        self.tar = TarWriter(path)

    def __enter__(self) -> "FrameWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self.tar.close()

    def add(self, clip_id: str, label: str, clip: "SampledClip") -> None:
        key = _key(clip_id)
        description = {"clip": clip_id, "label": label, "frame_indices": clip.indices, "decoded_frames": clip.decoded_frames}
        if clip.snippets is not None:
            description |= {"snippets": clip.snippets.tolist(), "frame_rate": clip.frame_rate}
        self.tar.add(f"{key}.json", json.dumps(description, ensure_ascii=False).encode())
        if self.settings.format == "raw":
            stream = io.BytesIO()
            np.save(stream, clip.frames)
            self.tar.add(f"{key}.npy", stream.getvalue())
        else:
            for index, frame in enumerate(clip.frames):
                self.tar.add(f"{key}.{index:03d}.jpg", encode_jpeg(frame, self.settings.quality))


def read_frames(folder: Path, clips: Iterable[str]) -> dict[str, NDArray[np.uint8]]:
    """Read the frames of some clips from a folder of shards, without decoding other clips.

    Shards that contain the clips are compared with SHA256SUMS; if a clip is not found, all shards are.

    Returns:
        Clip id -> frames as `read_shard` yields them. Clips that are not in the store are left out.

    Raises:
        DataError: a shard is damaged, unless all clips are in others.
    """
    keys = {_key(clip) for clip in clips}
    frames: dict[str, NDArray[np.uint8]] = {}
    if not keys:
        return frames
    shards = sorted(folder.glob("*.tar"))
    damage: list[DataError] = []
    for path in shards:
        try:
            clips_in_shard = dict(read_shard(path, keys=keys))
        except DataError as error:
            damage.append(error)
            continue
        if clips_in_shard:
            checksums.verify(folder, [path.name])
            frames |= clips_in_shard
        if len(frames) == len(keys):
            return frames
    if damage:
        raise damage[0]
    names = [path.name for path in shards]  # a damaged shard may end early, or have changed keys
    checksums.refuse_missing(folder, ".tar", names)
    checksums.verify(folder, names)
    return frames


def read_shard(path: Path, threads: int = 1, keys: Collection[str] | None = None) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield each clip of a shard: its id, and its frames (T, size, size, 3), or snippets (T, L, size, size, 3), RGB.

    Args:
        threads: threads that decode ahead of the caller, up to two clips each.
        keys: read only the clips with these keys; None reads all.

    Raises:
        DataError: the file is cut off, damaged or not a shard.
    """
    for _, clip, frames in read_shards([path], threads, keys):
        yield clip, frames


def in_memory(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An array for frames in any memory."""
    return np.empty(shape, dtype=np.uint8)


def read_shards(
    paths: Iterable[Path], threads: int = 1, keys: Collection[str] | None = None, empty: Empty = in_memory
) -> Iterator[tuple[Path, str, NDArray[np.uint8]]]:
    """Yield the clips of one shard after another: the shard's path, and what `read_shard` yields.

    The threads do not stop at a shard's end, but decode clips of the next one.

    Args:
        empty: makes the arrays that clips are decoded into; the threads call it.

    Raises:
        DataError: see `read_shard`; the clips before the damage have been yielded.
    """
    if threads == 1:
        for path in paths:
            with open_shard(path, _READ_BYTES if keys is None else 0) as shard:
                for description, contents in _clips(shard, keys):
                    yield path, description["clip"], _decode(path, description, contents, empty)
        return
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[tuple[Path, str, Future[NDArray[np.uint8]]]] = deque()
        for decoding in _decodings(paths, keys, empty, pool):
            ahead.append(decoding)
            if len(ahead) > 2 * threads:
                path, clip, frames = ahead.popleft()
                yield path, clip, frames.result()
        for path, clip, frames in ahead:
            yield path, clip, frames.result()


def _decodings(
    paths: Iterable[Path], keys: Collection[str] | None, empty: Empty, pool: ThreadPoolExecutor
) -> Iterator[tuple[Path, str, Future[NDArray[np.uint8]]]]:
    """Start to decode each clip. Damage found by reading is the result of the last one, so that those before it are not lost."""
    for path in paths:
        try:
            with open_shard(path, _READ_BYTES if keys is None else 0) as shard:
                for description, contents in _clips(shard, keys):
                    yield path, description["clip"], pool.submit(_decode, path, description, contents, empty)
        except DataError as error:
            damaged: Future[NDArray[np.uint8]] = Future()
            damaged.set_exception(error)
            yield path, "", damaged
            return


def _key(clip_id: str) -> str:
    return hashlib.sha256(clip_id.encode()).hexdigest()[:16]


def _clips(shard: BinaryIO, keys: Collection[str] | None) -> Iterator[tuple[dict[str, Any], list[bytes]]]:
    """Yield each clip's description, and the contents of its other members."""
    description: dict[str, Any] | None = None
    contents: list[bytes] = []
    for member in shard_file.members(shard):
        if keys is not None and member.name.split(".", 1)[0] not in keys:
            continue
        if member.name.endswith(".json"):
            if description is not None:
                yield description, contents
            description, contents = json.loads(shard_file.contents(shard, member)), []
        else:
            contents.append(shard_file.contents(shard, member))
    if description is not None:
        yield description, contents


def _decode(path: Path, description: Mapping[str, Any], contents: Sequence[bytes], empty: Empty) -> NDArray[np.uint8]:
    """Decode a clip's frames from one JPEG each, or from one array. All must be there, else the shard is damaged."""
    with shard_file.naming_damage(path):
        if "snippets" not in description:
            return _decoded(description, contents, empty)
        places = np.array(description["snippets"])
        stored = _decoded(description, contents, in_memory)
        frames = empty((*places.shape, *stored.shape[1:]))
        for frame, place in zip(frames.reshape(-1, *stored.shape[1:]), places.ravel(), strict=True):
            frame[:] = stored[place]
        return frames


def _decoded(description: Mapping[str, Any], contents: Sequence[bytes], empty: Empty) -> NDArray[np.uint8]:
    """The stored frames (N, H, W, 3)."""
    if len(contents) == 1 and contents[0].startswith(np.lib.format.MAGIC_PREFIX):
        stored = decode_array(contents[0])
        frames = empty(stored.shape)
        np.copyto(frames, stored)
    else:
        frames = decode_jpegs(contents, empty)
    if len(frames) != len(description["frame_indices"]):
        raise ValueError(f"{len(frames)} of {len(description['frame_indices'])} frames of {description['clip']!r}")
    return frames


def count_clips(path: Path) -> int:
    """Count the clips of a shard, from the names of its members alone."""
    with open_shard(path) as shard:
        return sum(member.name.endswith(".json") for member in shard_file.members(shard))


def encode_jpeg(frame: NDArray[np.uint8], quality: int) -> bytes:
    """Encode a picture (H, W, 3), RGB, without colour subsampling."""
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality, *sampling])
    return jpeg.tobytes()


def decode_array(contents: bytes) -> NDArray[np.uint8]:
    """Read the frames (N, H, W, 3) that NumPy stored.

    Raises:
        ValueError, EOFError: they are damaged.
    """
    with _ONE_HEADER_AT_A_TIME:
        return np.asarray(np.load(io.BytesIO(contents), allow_pickle=False))


def decode_jpegs(contents: Sequence[bytes], empty: Empty = in_memory) -> NDArray[np.uint8]:
    """Decode pictures of one size to (N, H, W, 3), RGB.

    Raises:
        VideoError: one is not a JPEG picture.
        ValueError: their sizes differ.
    """
    frames: NDArray[np.uint8] | None = None
    for place, jpeg in enumerate(contents):
        picture = cv2.imdecode(np.frombuffer(jpeg, dtype=np.uint8), cv2.IMREAD_COLOR) if jpeg else None
        if picture is None:
            raise VideoError("a stored frame is not a JPEG picture")
        if frames is None:
            frames = empty((len(contents), *picture.shape))
        if picture.shape != frames.shape[1:]:
            raise ValueError(f"pictures of different sizes: {picture.shape[:2]} and {frames.shape[1:3]}")
        cv2.cvtColor(picture, cv2.COLOR_BGR2RGB, dst=frames[place])
    return empty((0, 0, 0, 3)) if frames is None else frames
