"""Time before any work: `dvc status` and `dvc repro` with nothing to do at UCF-50's size, and the start of each stage's script and
of the command line.

    python -m benchmarks.overhead
"""

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
    print(f"{pairs.describe_machine()}\n")
    starts()
    with tempfile.TemporaryDirectory() as name:
        dvc(Path(name) / "project")


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


def dvc(folder: Path) -> None:
    """Time DVC in a generated project of UCF-50's size, 6,681 files, whose stages are up to date."""
    subprocess.run(["git", "clone", "--quiet", str(pairs.ROOT), str(folder)], check=True)
    data = folder / "data" / "raw" / "mine"
    for clip in range(CLIPS):
        path = data / f"Class{clip % CLASSES:02d}" / f"v_Class{clip % CLASSES:02d}_g{clip % 25 + 1:02d}_c{clip:04d}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clip.to_bytes(4, "big") * 4096)

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "dvc", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"dvc {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    (folder / "data" / "dvc.yaml").unlink()
    params = (folder / "params.yaml").read_text(encoding="utf-8")
    (folder / "params.yaml").write_text(params.replace("dataset: sample", "dataset: mine"), encoding="utf-8")
    # Fake the outputs of the stages: DVC compares files, whatever they contain.
    stand_ins(folder)
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


def stand_ins(folder: Path) -> None:
    """Write a file or folder for each output in dvc.yaml that is not in Git."""
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
                for shard in range(64):
                    (path / f"shard-{shard:04d}").write_bytes(shard.to_bytes(1, "big") * 100_000)


if __name__ == "__main__":
    main()
