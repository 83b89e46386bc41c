"""Temporary projects: a copy of this one, small parameters, and commands run in it."""

import copy
import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from film import numbered_picture, write_video
from ruamel.yaml import YAML

from actionrec.core import paths
from stages import finetune, split

ROOT = Path(__file__).parents[1]

# Small enough for a run in a minute; nothing here is about accuracy.
TINY = {
    "data": {"dataset": "tiny"},
    "frames": {"count": 6, "resolution": 64, "shards": 4},
    "features": {"backbone": "resnet18", "precision": "fp32"},
    "train": {"epochs": 2},
    "model": {"hidden_dim": 16},
    "models": {
        "transformer": {"d_model": 16, "num_heads": 2, "num_layers": 1, "ff_dim": 32},
        "swin_transformer": {"dim": 16, "depths": [2, 2], "num_heads": [2, 2], "window": 2},
    },
}

# Parameters for single stages.
PARAMS = {
    "seed": 0,
    "data": {"dataset": "mine", "group": None},
    "split": {"protocol": "group", "folds": 3, "fold": 0, "validation": 0.2},
    "frames": {
        "count": 4,
        "snippet": {"length": 1, "rate": None},
        "resolution": 64,
        "fit": "squash",
        "format": "jpeg",
        "quality": 95,
        "shards": 8,
        "max_failed": 0.02,
    },
    "features": {"backbone": "resnet18", "weights": "random", "precision": "fp32", "streams": ["rgb"]},
    "finetune": {
        "epochs": 0,
        "stages": 1,
        "segments": 8,
        "batch_size": 8,
        "learning_rate": 0.0001,
        "weight_decay": 0.0001,
        "dropout": 0.5,
        "crop": 0.5,
        "flip": True,
        "flip_pairs": [],
        "colour": 0.2,
        "precision": "bf16",
    },
    "evaluation": {"folds": "one"},
}

TWELVE_CLIPS = {**PARAMS, "frames": {**PARAMS["frames"], "shards": 4, "format": "raw"}}


def split_twelve_clips(monkeypatch):
    """Write 12 clips of three classes and params.yaml in the current folder, run `split`, and `finetune`, which tunes nothing.

    Returns the clips' folder.
    """
    for name, value in {"ACTIONREC_WORKERS": "1", "ACTIONREC_DEVICE": "cpu", "ACTIONREC_RUNTIME": "torch"}.items():
        monkeypatch.setenv(name, value)
    folder = paths.RAW / "mine"
    for first, label in enumerate(("Jump", "Run", "Sit")):
        for group in range(1, 5):
            pictures = [numbered_picture(100 * first + number) for number in range(group + 2)]
            write_video(folder / label / f"v_{label}_g{group:02d}_c01.avi", pictures)
    YAML().dump(TWELVE_CLIPS, paths.PARAMS)
    split.main()
    finetune.main()
    return folder


def run(*command: str, cwd: Path, fails: bool = False, **settings: str) -> str:
    """Run a program and return what it prints; it must succeed, or fail if `fails`."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", **settings}
    done = subprocess.run(command, cwd=cwd, env=environment, text=True, capture_output=True, check=False)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


def built_once(folder: Path, name: str, build: Callable[[Path], None]) -> Path:
    """A folder that one test process builds and every other one copies: pipelines take minutes.

    Args:
        folder: the base folder of this process's temporary folders.
        build: fills the new folder that it is given.
    """
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    original, copy = shared / f"built-{name}", folder / f"copy-{name}"
    if not copy.exists():
        with (shared / f"built-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (original / "done").exists():
                shutil.rmtree(original, ignore_errors=True)
                original.mkdir()
                build(original)
                (original / "done").touch()
        subprocess.run(["cp", "-a", original, copy], check=True)  # hard links stay hard links
    return copy


def edit_params(project: Path, changes: dict[str, object]) -> None:
    """Change values by their path, such as {"model.hidden_dim": 8}, and keep the file's form."""
    yaml, file = YAML(), project / "params.yaml"
    document = yaml.load(file)
    for path, value in changes.items():
        *sections, key = path.split(".")
        section = document
        for name in sections:
            section = section[name]
        assert key in section, path
        section[key] = value
    yaml.dump(document, file)


def load_once(load):
    """`params.load`, or a function like it, that parses each text once."""
    known = {}

    def cached(path=paths.PARAMS):
        text = Path(path).read_text()
        if text not in known:
            known[text] = load(path)
        return copy.deepcopy(known[text])

    return cached


def flat(tree: dict[str, object], prefix: str = "") -> dict[str, object]:
    return {
        path: value
        for key, inner in tree.items()
        for path, value in (flat(inner, f"{prefix}{key}.") if isinstance(inner, dict) else {prefix + key: inner}).items()
    }


def clone(target: Path) -> None:
    """Copy the project as Git would have it after a commit of what lies here."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=ROOT).split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    (target / "dvc.lock").unlink(missing_ok=True)
    run("git", "init", "-q", "-b", "main", cwd=target)
    run("git", "config", "user.name", "Test", cwd=target)
    run("git", "config", "user.email", "test@example.invalid", cwd=target)
    commit(target)


def commit(project: Path) -> None:
    run("git", "add", "--all", cwd=project)
    run("git", "commit", "-q", "--allow-empty", "-m", "state", cwd=project)


def ran(printed: str) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", printed))


def bytes_of(*folders):
    return {str(path): path.read_bytes() for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()}
