"""Thumbnails and previews: of clips on this machine, kept up to a number of bytes; of uploads, kept until they are fetched."""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from threading import Event

import cv2

from actionrec.core.errors import VideoError
from actionrec.io.tar_member import ClipFile
from actionrec.video import clip_reader, decoder, frame_store
from actionrec.web.predict_request import RequestError
from actionrec.web.preview import write_preview

_MOST_BYTES = 256_000_000  # of kept thumbnails and previews
_THREADS = 2  # beside the thread that predicts
_EXPIRY = 600  # seconds after which an upload's preview is deleted if nobody fetched it
_WIDTH = 240  # pixels of a thumbnail
_QUALITY = 85


class ClipMedia:
    """Makes thumbnails and previews on demand, in threads of its own. Use it in one event loop.

    Args:
        folder: where it writes; it must exist, and is the caller's to delete.
        most_bytes: the least recently used files of clips are deleted beyond it.
    """

    def __init__(self, folder: Path, most_bytes: int = _MOST_BYTES) -> None:
        self._folder, self._most_bytes = folder, most_bytes
        self._threads = ThreadPoolExecutor(_THREADS, "previews")
        self._kept: OrderedDict[Path, int] = OrderedDict()  # file -> bytes, least recently used first
        self._making: dict[Path, asyncio.Future[None]] = {}
        self._uploads: dict[str, UploadPreview] = {}

    async def thumbnail(self, clip: ClipFile) -> Path:
        """A JPEG of a clip's middle frame, 240 pixels wide.

        Raises:
            FileNotFoundError: there is no such clip.
            VideoError: it cannot be decoded.
        """
        return await self._made(clip, ".jpg", lambda target: target.write_bytes(thumbnail(clip)))

    async def preview(self, clip: ClipFile) -> Path:
        """A preview of a clip as an MP4. Raises the same errors as `thumbnail`."""
        return await self._made(clip, ".mp4", lambda target: write_preview(clip, target))

    async def _made(self, clip: ClipFile, suffix: str, make: Callable[[Path], object]) -> Path:
        """The file made from a clip; requests for the same file wait for one that is being made."""
        status = clip.stat()
        key = f"{clip}\0{status.st_mtime_ns}\0{status.st_size}"
        target = self._folder / f"{sha256(key.encode(errors='surrogateescape')).hexdigest()[:32]}{suffix}"
        if target in self._kept and target.exists():
            self._kept.move_to_end(target)
            return target
        if target not in self._making:
            self._making[target] = asyncio.ensure_future(self._make(target, make))
            self._making[target].add_done_callback(_retrieve_error)
        # Shielded, as others may wait for the same file when this request is cancelled.
        await asyncio.shield(self._making[target])
        return target

    async def _make(self, target: Path, make: Callable[[Path], object]) -> None:
        draft = target.with_name(f"{secrets.token_hex(8)}{target.suffix}")
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, make, draft)
            draft.replace(target)
            self._kept[target] = target.stat().st_size
        finally:
            draft.unlink(missing_ok=True)
            del self._making[target]
        while sum(self._kept.values()) > self._most_bytes and len(self._kept) > 1:
            self._kept.popitem(last=False)[0].unlink(missing_ok=True)

    def start_upload(self, video: Path) -> "UploadPreview":
        """Start to make a preview of an upload; call `finish_upload` before the upload is deleted."""
        preview = UploadPreview(secrets.token_urlsafe(16), self._folder)
        self._uploads[preview.token] = preview
        preview.work = asyncio.get_running_loop().run_in_executor(
            self._threads, write_preview, video, preview.target, preview.cancelled.is_set
        )
        preview.work.add_done_callback(_retrieve_error)
        return preview

    async def finish_upload(self, preview: "UploadPreview") -> None:
        """Wait until the upload is no longer read: its preview is complete, or was cancelled."""
        assert preview.work is not None
        await asyncio.wait({preview.work})
        if preview.cancelled.is_set() or preview.work.cancelled() or preview.work.exception():
            self._forget(preview.token)
        else:
            asyncio.get_running_loop().call_later(_EXPIRY, self._forget, preview.token)

    async def take_upload(self, token: str) -> bytes:
        """The preview of an upload, which is deleted.

        Raises:
            RequestError: there is no such preview, or it was fetched before.
            VideoError: the video cannot be decoded.
        """
        preview = self._uploads.get(token)
        if preview is None or preview.work is None:
            raise RequestError(404, "there is no such preview; each can be fetched once.")
        try:
            await asyncio.shield(preview.work)
            if preview.cancelled.is_set():
                raise RequestError(404, "the preview was cancelled.")
            return await asyncio.to_thread(preview.target.read_bytes)
        except FileNotFoundError:
            raise RequestError(404, "there is no such preview; each can be fetched once.") from None
        finally:
            self._forget(token)

    def _forget(self, token: str) -> None:
        if preview := self._uploads.pop(token, None):
            preview.target.unlink(missing_ok=True)

    def close(self) -> None:
        """Stop the threads."""
        for preview in self._uploads.values():
            preview.cancelled.set()
        self._threads.shutdown(wait=False, cancel_futures=True)


@dataclass
class UploadPreview:
    """The preview of an upload that is being made, or was."""

    token: str
    folder: Path
    work: asyncio.Future[None] | None = None
    cancelled: Event = field(default_factory=Event)
    """Set it to stop the work."""

    @property
    def target(self) -> Path:
        return self.folder / f"{self.token}.mp4"


def _retrieve_error(work: "asyncio.Future[None]") -> None:
    """Those who wait get the error. If they have left, asyncio would log it as never retrieved."""
    if not work.cancelled():
        work.exception()


def thumbnail(clip: ClipFile) -> bytes:
    """A clip's middle frame as a small JPEG.

    Raises:
        VideoError: it cannot be decoded.
    """
    picture = clip_reader.read_frame(clip, decoder.read_header(clip).frames // 2)
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (_WIDTH, max(1, round(height * _WIDTH / width))), interpolation=cv2.INTER_AREA)
    if not small.size:
        raise VideoError("the picture is empty")
    return frame_store.encode_jpeg(small, _QUALITY)  # type: ignore[arg-type]
