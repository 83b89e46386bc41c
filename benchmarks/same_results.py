"""Compare the results of two versions of the code, byte for byte: frames, features, model weights and predictions.

    python -m benchmarks.same_results BEFORE AFTER

BEFORE and AFTER are project folders in which the pipeline has run on the same clips, with the same parameters, on the same machine.
Exits with status 1 if a file differs or is missing on one side.
"""

import argparse
import sys
from pathlib import Path

from actionrec.io.files import sha256_of

RESULTS = {
    "frames": "data/frames/*.tar",
    "features": "data/features/*.safetensors",
    "model weights": "data/models/*/model.safetensors",
    "predictions": "data/predictions/*.npz",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    arguments = parser.parse_args()
    different = 0
    for kind, pattern in RESULTS.items():
        before, after = (digests(folder, pattern) for folder in (arguments.before, arguments.after))
        changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
        different += len(changed)
        print(f"{kind}: {len(before)} files before, {len(after)} after; {len(changed)} differ or are missing")
        for name in changed:
            print(f"  {name}")
        if not before or not after:
            sys.exit(f"no {kind} in one of the folders. Run `dvc repro` there first.")
    sys.exit(1 if different else 0)


def digests(folder: Path, pattern: str) -> dict[str, str]:
    """SHA-256 of each file by its path in the folder."""
    return {file.relative_to(folder).as_posix(): sha256_of(file) for file in sorted(folder.glob(pattern))}


if __name__ == "__main__":
    main()
