"""Which shard a clip belongs to, and the shard's file name."""

import hashlib


def shard_of(clip_id: str, shard_count: int) -> int:
    """The number of a clip's shard, from 0. It depends on the clip's id alone, so a new clip changes one shard."""
    return int.from_bytes(hashlib.sha256(clip_id.encode()).digest()[:8], "big") % shard_count


def shard_name(number: int) -> str:
    """File name of a shard, without its suffix."""
    return f"shard-{number:04d}"
