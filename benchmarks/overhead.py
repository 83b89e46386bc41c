"""Time before any work: `dvc status` and `dvc repro` with nothing to do at UCF-50's size, and the start of each stage's script and
of the command line.

    python -m benchmarks.overhead [--shards 2048]

With `--shards`, only DVC is timed, in a project with so many tar shards of clips, shards of frames and shards of features.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import pairs

CLASSES, CLIPS = 50, 6681

# What commands import at their start: `predict` and `evaluate`, `serve`, `export`.
COMMANDS = ("actionrec.inference.predictor", "actionrec.web.app", "actionrec.export.onnx_export")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, help="of a data set of tar shards")
    shards = parser.parse_args().shards
    print(f"{pairs.describe_machine()}\n")
    if not shards:
        starts()
    with tempfile.TemporaryDirectory() as name:
        dvc(Path(name) / "project", shards)


def starts() -> None:
    """Print seconds to import torch, to start each stage's script up to its --help or first line, and to start commands."""
    environment = {**os.environ, "PYTHONPATH": str(pairs.ROOT)}

    def imports(module: str) -> None:
        subprocess.run([sys.executable, "-c", f"import {module}"], env=environment, check=True)

    stages = sorted(f"stages.{path.stem}" for path in (pairs.ROOT / "stages").glob("[a-z]*.py"))
    seconds = pairs.interleaved({module: lambda module=module: imports(module) for module in ("torch", *stages, *COMMANDS)})
    for module, taken in seconds.items():
        print(f"import {module:24} {taken:6.2f} s {taken - seconds['torch']:+6.2f} s")
    help_text = [sys.executable, "-m", "actionrec", "--help"]
    ways = {"actionrec --help": lambda: subprocess.run(help_text, env=environment, check=True, capture_output=True)}
    print(f"{'actionrec --help':31} {pairs.interleaved(ways)['actionrec --help']:6.2f} s")


def dvc(folder: Path, shards: int | None) -> None:
    """Time DVC in a generated project whose stages are up to date: of UCF-50's size, 6,681 files, or with so many tar shards."""
    subprocess.run(["git", "clone", "--quiet", str(pairs.ROOT), str(folder)], check=True)
    data = folder / "data" / "raw" / "mine"
    names = [f"Class{clip % CLASSES:02d}/v_Class{clip % CLASSES:02d}_g{clip % 25 + 1:02d}_c{clip:04d}.avi" for clip in range(CLIPS)]
    for clip, name in enumerate([f"shard-{shard:05d}.tar" for shard in range(shards)] if shards else names):
        path = data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clip.to_bytes(4, "big") * 4096)

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "dvc", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"dvc {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    params = (folder / "params.yaml").read_text(encoding="utf-8")
    (folder / "params.yaml").write_text(params.replace("dataset: sample", "dataset: mine"), encoding="utf-8")
    # Fake the outputs of the stages: DVC compares files, whatever they contain.
    stand_ins(folder, shards or 64)
    run("commit", "--force")
    print()
    for arguments in (("status",), ("repro",)):
        if "changed" in (said := run(*arguments)) or "Running" in said:
            sys.exit(f"dvc {arguments[0]} has something to do:\n{said}")
    ways = {
        "import dvc": lambda: subprocess.run([sys.executable, "-c", "import dvc.cli, dvc.repo"], check=True),
        "dvc status": lambda: run("status"),
        "dvc repro, nothing to do": lambda: run("repro"),
    }
    for name, taken in pairs.interleaved(ways).items():
        print(f"{name:31} {taken:6.2f} s")


def stand_ins(folder: Path, shards: int) -> None:
    """Write a file or folder for each output in dvc.yaml that is not in Git; frames and features have so many shards."""
    from dvc.repo import Repo

    with Repo(str(folder)) as repo:
        for out in repo.index.outs:
            path = Path(out.fs_path)
            if path.exists():
                continue
            if path.suffix:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("{}\n", encoding="utf-8")
            else:
                path.mkdir(parents=True)
                for shard in range(shards if path.name in ("frames", "features") else 64):
                    (path / f"shard-{shard:04d}").write_bytes(shard.to_bytes(4, "big") * 1_000)


if __name__ == "__main__":
    main()
