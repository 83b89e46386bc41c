"""The frame store: sampled frames of a shard's clips in one tar file, as WebDataset reads it.

A clip's members are neighbours and share a key, a hash of the clip's id (names may hold dots and blanks, which WebDataset's keys
may not): `<key>.json` (clip, label, frame indices), then `<key>.000.jpg`, `<key>.001.jpg`, ..., or one `<key>.npy`, uint8
(T, size, size, 3), RGB.
"""

import hashlib
import io
import json
import tarfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from actionrec.core.errors import REPAIR, DataError, VideoError

if TYPE_CHECKING:
    from actionrec.video.sampling import SampledClip

DESCRIPTION = "frames.json"
LEDGER = "ledger.csv"
LEDGER_HEADER = ("clip", "header_frames", "decoded_frames", "unique_frames", "padded", "decoder", "warning", "error")


@dataclass(frozen=True)
class FrameSettings:
    """Section `frames`."""

    count: int
    """Frames a clip (T), evenly spaced over it."""
    resolution: int
    """Width and height, pixels."""
    format: Literal["jpeg", "raw"]
    quality: int
    """Of JPEG, 1 to 100; its colours are not subsampled (4:4:4)."""
    shards: int
    """Files that the clips are spread over."""
    max_failed: float
    """Share of clips that may fail to decode before the stage does."""

    def __post_init__(self) -> None:
        for name, low, high in (("count", 1, 4096), ("resolution", 8, 4096), ("quality", 1, 100), ("shards", 1, 10_000)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be from {low} to {high}; got {getattr(self, name)}")
        if not 0 <= self.max_failed <= 1:
            raise ValueError(f"max_failed is a share, from 0 to 1; got {self.max_failed}")

    def sampling(self) -> dict[str, Any]:
        """What decides the pixels of a clip, whatever shard it lies in."""
        return {key: value for key, value in asdict(self).items() if key not in ("shards", "max_failed")}


class FrameWriter:
    """Writes one shard; the same clips give the same bytes."""

    def __init__(self, path: Path, settings: FrameSettings) -> None:
        self.settings = settings
        self.tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115

    def __enter__(self) -> "FrameWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self.tar.close()

    def add(self, clip_id: str, label: str, clip: "SampledClip") -> None:
        key = hashlib.sha256(clip_id.encode()).hexdigest()[:16]
        about = {"clip": clip_id, "label": label, "frame_indices": clip.indices, "decoded_frames": clip.decoded_frames}
        self._member(f"{key}.json", json.dumps(about, ensure_ascii=False).encode())
        if self.settings.format == "raw":
            stream = io.BytesIO()
            np.save(stream, clip.frames)
            self._member(f"{key}.npy", stream.getvalue())
        else:
            for index, frame in enumerate(clip.frames):
                self._member(f"{key}.{index:03d}.jpg", encode_jpeg(frame, self.settings.quality))

    def _member(self, name: str, contents: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(contents)
        self.tar.addfile(info, io.BytesIO(contents))
        self.tar.members.clear()  # type: ignore[attr-defined]  # it would grow with every picture


def read_shard(path: Path, threads: int = 1) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield each clip of a shard: its id, and its frames (T, size, size, 3), RGB.

    Args:
        threads: that decode clips ahead of their use, two each at most.

    Raises:
        DataError: the file is cut short or is no such shard.
    """
    with _open(path) as tar:
        if threads == 1:
            for about, contents in _members(tar):
                yield about["clip"], _decode(about, contents)
            return
        with ThreadPoolExecutor(threads) as pool:
            ahead: deque[tuple[str, Future[NDArray[np.uint8]]]] = deque()
            for about, contents in _members(tar):
                ahead.append((about["clip"], pool.submit(_decode, about, contents)))
                if len(ahead) > 2 * threads:
                    clip, decoded = ahead.popleft()
                    yield clip, decoded.result()
            for clip, decoded in ahead:
                yield clip, decoded.result()


def _members(tar: tarfile.TarFile) -> Iterator[tuple[dict[str, Any], list[bytes]]]:
    """Each clip's description and its pictures as they are stored."""
    about: dict[str, Any] | None = None
    stored: list[bytes] = []
    for member in tar:
        stream = tar.extractfile(member)
        contents = stream.read() if stream else b""
        if len(contents) != member.size:
            raise tarfile.ReadError("unexpected end of data")
        if member.name.endswith(".json"):
            if about is not None:
                yield about, stored
            about, stored = json.loads(contents), []
        else:
            stored.append(contents)
        tar.members.clear()  # type: ignore[attr-defined]  # it would grow with every picture
    if about is not None:
        yield about, stored


def _decode(about: Mapping[str, Any], stored: Sequence[bytes]) -> NDArray[np.uint8]:
    """A clip's frames, of which none may be missing; one JPEG each, or all in an array."""
    if len(stored) == 1 and stored[0].startswith(np.lib.format.MAGIC_PREFIX):
        frames: Sequence[NDArray[np.uint8]] = np.load(io.BytesIO(stored[0]), allow_pickle=False)
    else:
        frames = [decode_jpeg(contents) for contents in stored]
    if len(frames) != len(about["frame_indices"]):
        raise ValueError(f"{len(frames)} of {len(about['frame_indices'])} frames of {about['clip']!r}")
    return np.stack(frames)


def count_clips(path: Path) -> int:
    """Number of clips in a shard, from its table of members alone."""
    with _open(path) as tar:
        clips = 0
        while member := tar.next():
            clips += member.name.endswith(".json")
            tar.members.clear()  # type: ignore[attr-defined]
        return clips


@contextmanager
def _open(path: Path) -> Iterator[tarfile.TarFile]:
    """Open a shard, and tell whatever is wrong with it as a DataError."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, io.SEEK_END)
            stream.seek(-min(size, 2 * tarfile.BLOCKSIZE), io.SEEK_END)
            # A file cut between two members has no end mark, which tarfile does not miss.
            if size % tarfile.RECORDSIZE or stream.read().strip(b"\0"):
                raise tarfile.ReadError("unexpected end of data")
        with tarfile.open(path, "r:") as tar:
            yield tar
    except (tarfile.TarError, ValueError, KeyError, TypeError, EOFError, VideoError) as error:
        raise DataError(f"{path} is damaged ({error}). {REPAIR}") from None


def encode_jpeg(frame: NDArray[np.uint8], quality: int) -> bytes:
    """Encode a picture (H, W, 3), RGB, without subsampling of its colours."""
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality, *sampling])
    return jpeg.tobytes()


def decode_jpeg(contents: bytes) -> NDArray[np.uint8]:
    """Decode a picture to (H, W, 3), RGB."""
    picture = cv2.imdecode(np.frombuffer(contents, dtype=np.uint8), cv2.IMREAD_COLOR) if contents else None
    if picture is None:
        raise VideoError("a stored frame is no JPEG picture")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)
