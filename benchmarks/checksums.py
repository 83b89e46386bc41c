"""Time to verify stored features at UCF-50's size with SHA-256 and with other checksums.

python -m benchmarks.checksums
"""

import hashlib
import tempfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from actionrec.io import checksums, machine
from benchmarks import pairs

CLIPS, FRAMES, WIDTH, SHARDS = 6681, 32, 2048, 64
_CHUNK = 2**20


def main() -> None:
    print(f"{pairs.describe_machine()}\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = CLIPS * FRAMES * WIDTH * 2 // SHARDS
        block = bytes(range(256)) * (size // 256 + 1)
        for number in range(SHARDS):
            (folder / f"shard-{number:04d}.safetensors").write_bytes(block[:size])
        files = sorted(folder.iterdir())
        checksums.write(folder, {})

        def verify() -> None:
            checksums._sha256.cache_clear()  # a process reads a file once
            checksums.verify(folder, [file.name for file in files])

        ways = {f"verify, {machine.cores()} threads": verify}
        for algorithm in ("sha256", "blake2b", "md5"):
            ways[f"{algorithm}, 1 thread"] = lambda name=algorithm: [file_hash(name, file) for file in files]
        ways["crc32, 1 thread"] = lambda: [crc32(file) for file in files]
        ways[f"crc32, {machine.cores()} threads"] = lambda: in_threads(crc32, files)
        print(f"{SHARDS} shards, {SHARDS * size / 1e9:.2f} GB, in the page cache")
        for way, seconds in pairs.interleaved(ways).items():
            print(f"{way:24} {seconds:6.2f} s {SHARDS * size / seconds / 1e9:6.2f} GB/s")


def file_hash(algorithm: str, file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def crc32(file: Path) -> int:
    total = 0
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            total = zlib.crc32(chunk, total)
    return total


def in_threads(digest: Callable[[Path], int], files: list[Path]) -> list[int]:
    with ThreadPoolExecutor(machine.cores()) as pool:
        return list(pool.map(digest, files))


if __name__ == "__main__":
    main()
