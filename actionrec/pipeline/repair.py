"""Find files that changed on disk after DVC stored them, and let DVC recompute them.

A stored file usually has three hard links: in .work, in DVC's cache and as a stage's output. DVC trusts the files in its cache
without reading them, so a damaged file survives even `dvc repro -f`. This module reads every file. The MD5 of a file in the cache
must be its name, and the MD5 of an output must be the one in dvc.lock. Damaged files are removed, and `dvc repro` runs the stages
that wrote them. The stages themselves verify the files in .work.
"""

import hashlib
import logging
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actionrec.core.errors import ActionrecError, DataError
from actionrec.core.progress import progress
from actionrec.core.text import first_few
from actionrec.io import machine
from actionrec.pipeline import dvc_process

logger = logging.getLogger(__name__)

Identity = tuple[int, int]
"""Device and inode: the same for all hard links of a file."""

_OBJECT = re.compile(r"[0-9a-f]{30}(\.dir)?")  # the name of a file in DVC's cache, below a folder of two more digits


@dataclass(frozen=True)
class Output:
    """A file that a stage wrote and dvc.lock records."""

    path: Path
    stage: str
    md5: str
    kept: bool
    """Whether DVC and `repair` must not delete it, as for the clips of a data set."""


def repair() -> None:
    """Remove damaged files from DVC's cache and from the outputs, and run the stages that wrote them.

    Raises:
        DataError: clips of a data set are damaged; they are not removed.
        ActionrecError: DVC is running here, or a stage failed.
    """
    dvc_process.remove_unreadable_lock()
    stages, clips = _remove_damaged()
    if stages:
        logger.info("running the stages that wrote them: %s", ", ".join(stages))
        status = subprocess.run([*dvc_process.DVC, "repro", *stages], env=dvc_process.environment(), check=False).returncode
        if status:
            raise ActionrecError(f"a stage failed. Fix this, then run `dvc repro {' '.join(stages)}`.")
        logger.info("repaired; run `dvc repro` to continue")
    if clips:
        raise DataError(
            f"{len(clips)} clips are damaged (and not removed): {first_few(clips)}. Copy them again from their source, then "
            "run `dvc repro`."
        )


def _remove_damaged() -> tuple[list[str], list[str]]:
    """Remove damaged files; return the stages to run, and the paths of damaged clips."""
    from dvc.exceptions import DvcException  # type: ignore[import-untyped]
    from dvc.repo import Repo  # type: ignore[import-untyped]

    try:
        with Repo() as repo, repo.lock:
            return _remove_damaged_of(repo)
    except DvcException as error:
        raise ActionrecError(f"DVC cannot be used here ({str(error).splitlines()[0]}). Fix this and rerun.") from None


def _remove_damaged_of(repo: Any) -> tuple[list[str], list[str]]:
    objects = {path: _md5_in_name(path) for path in Path(repo.cache.local.path).glob("??/*") if _OBJECT.fullmatch(path.name)}
    outputs = list(_outputs(repo))  # read before a damaged directory listing is removed
    damaged = _differing(objects, "Checking DVC's cache")
    whole, broken = ({_identity(path) for path in objects if (path in damaged) is side} for side in (False, True))
    rest = {output.path: output.md5 for output in outputs if output.path.is_file() and _identity(output.path) not in whole}
    differing = _differing(rest, "Checking outputs")
    lost = {objects[path] for path in damaged}

    stages = {output.stage for output in outputs if output.md5 in lost and not output.kept} | _unrecorded(repo)
    clips = []
    for output in outputs:
        if output.path not in differing:
            continue
        is_broken = _identity(output.path) in broken
        if output.kept:
            clips += [str(output.path)] if is_broken else []
            continue
        stages.add(output.stage)
        logger.info("%s: %s", output.path, "damaged" if is_broken else "not what dvc.lock records")
        if is_broken:
            output.path.unlink()
        else:
            os.utime(output.path)  # so that DVC reads it again
    for path in damaged:
        path.unlink()
    logger.info("DVC's cache: checked %d files, removed %d damaged ones", len(objects), len(damaged))
    return sorted(stages), clips


def _outputs(repo: Any) -> Iterator[Output]:
    """The files that dvc.lock records. Each folder's directory listing has the folder's path."""
    for out in repo.index.outs:
        if out.protocol != "local" or not out.hash_info or out.hash_info.name != "md5":
            continue
        path, stage = Path(os.path.relpath(out.fs_path)), out.stage.addressing
        yield Output(path, stage, out.hash_info.value.removesuffix(".dir"), out.persist)
        if out.hash_info.isdir and (tree := out.get_obj()):
            for names, _, info in tree:
                yield Output(path.joinpath(*names), stage, info.value, out.persist)


def _unrecorded(repo: Any) -> set[str]:
    """The stages whose cached outputs exist but are not in dvc.lock, as when a stage was run by hand."""
    outs = [out for out in repo.index.outs if out.use_cache and not out.persist and not out.hash_info]
    return {out.stage.addressing for out in outs if Path(out.fs_path).exists()}


def _differing(expected: Mapping[Path, str], what: str) -> set[Path]:
    """The files whose MD5 differs from the expected one."""
    with progress(what, len(expected), "file") as advance, ThreadPoolExecutor(machine.cores()) as pool:
        differing = set()
        for path, digest in zip(expected, pool.map(_md5, expected), strict=True):
            advance(1)
            if digest != expected[path]:
                differing.add(path)
        return differing


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _md5_in_name(path: Path) -> str:
    """The MD5 in the path of a file in DVC's cache, such as `.../files/md5/ab/cdef....dir`."""
    return f"{path.parent.name}{path.name.removesuffix('.dir')}"


def _identity(path: Path) -> Identity:
    status = path.stat()
    return status.st_dev, status.st_ino
