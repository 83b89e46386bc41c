"""Frames of single clips out of the frame store, without decoding their neighbours."""

import hashlib
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actionrec.core.errors import REPAIR, DataError, VideoError
from actionrec.io import checksums
from actionrec.video.frame_store import decode_jpeg


def read_frames(folder: Path, clips: Iterable[str]) -> dict[str, NDArray[np.uint8]]:
    """Clip id -> frames (T, size, size, 3), RGB; clips that are not in the store are left out.

    Raises:
        DataError: a shard is damaged. Those that hold the clips are verified, and all where a clip is not found.
    """
    wanted = {hashlib.sha256(clip.encode()).hexdigest()[:16]: clip for clip in clips}
    found: dict[str, NDArray[np.uint8]] = {}
    if not wanted:
        return found
    shards = sorted(folder.glob("*.tar"))
    for path in shards:
        try:
            with tarfile.open(path, "r:") as tar:
                parts: dict[str, list[tarfile.TarInfo]] = {}
                for member in tar:
                    key = member.name.split(".", 1)[0]
                    if key in wanted and not member.name.endswith(".json"):
                        parts.setdefault(key, []).append(member)
                if parts:
                    checksums.verify(folder, [path.name])
                found |= {wanted[key]: _decode(tar, members) for key, members in parts.items()}
        except (tarfile.TarError, ValueError, EOFError, VideoError) as error:
            raise DataError(f"{path} is damaged ({error}). {REPAIR}") from None
        if len(found) == len(wanted):
            break
    else:  # a damaged shard may end early, or have another key
        names = [path.name for path in shards]
        checksums.refuse_missing(folder, ".tar", names)
        checksums.verify(folder, names)
    return found


def _decode(tar: tarfile.TarFile, members: list[tarfile.TarInfo]) -> NDArray[np.uint8]:
    pictures = []
    for member in members:
        stream = tar.extractfile(member)
        contents = stream.read() if stream else b""
        if member.name.endswith(".npy"):
            whole: NDArray[np.uint8] = np.load(io.BytesIO(contents), allow_pickle=False)
            return whole
        pictures.append(decode_jpeg(contents))
    return np.stack(pictures)
