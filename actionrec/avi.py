"""How many frames an AVI file's index lists: what its header should have said."""

from pathlib import Path

import numpy as np

_LARGEST = 1 << 28  # bytes of an index, 16 for a frame: a longer one is not read
_ENTRY = np.dtype([("chunk", "S4"), ("flags", "<u4"), ("offset", "<u4"), ("bytes", "<u4")])


def indexed_frames(path: Path) -> int:
    """Count the packets of video in the index (`idx1`), without the empty ones; 0 where there is no index or it is not plain.

    Headers count what the camera or the encoder meant to write: frames that were dropped, or two that share a packet, as Xvid's
    packed B-frames do. The index lists what is there. It is believed no more than the header is, but it is wrong far less often.
    """
    with path.open("rb") as file:
        start = file.read(12)
        if start[:4] != b"RIFF" or start[8:] != b"AVI ":
            return 0
        while len(header := file.read(8)) == 8:
            length = int.from_bytes(header[4:], "little")
            if header[:4] == b"idx1":
                return _frames(file.read(length)) if length <= _LARGEST else 0
            file.seek(length + length % 2, 1)
    return 0


def _frames(index: bytes) -> int:
    entries = np.frombuffer(index, _ENTRY, count=len(index) // _ENTRY.itemsize)
    names = entries["chunk"][entries["bytes"] > 0]
    chunks, counts = np.unique(names, return_counts=True)
    video = [int(count) for chunk, count in zip(chunks, counts, strict=True) if chunk[2:] in (b"dc", b"db")]
    return video[0] if len(video) == 1 else 0
