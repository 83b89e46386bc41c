"""A person's own clips, and clips that lie elsewhere: linked to or used where they are, never copied, moved or deleted."""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from actionrec.core.errors import DataError

logger = logging.getLogger(__name__)

FOLDERS = "ACTIONREC_DATA"
"""The variable that names a folder with data sets in it, for a workspace that has none below data/raw."""

_EXPERIMENTS = (".dvc", "tmp", "exps")  # DVC runs `dvc exp run --temp` and `--queue` in a copy of the project below this folder


def link_from_elsewhere(folder: Path) -> None:
    """Link `folder` to the data set of that name that lies elsewhere, unless something is at `folder`.

    It is looked for in $ACTIONREC_DATA; then, in the copy of the project that DVC makes for an experiment, in the project itself.
    """
    if os.path.lexists(folder):
        return
    for place in _elsewhere(folder):
        if place.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.symlink_to(place.resolve())
            logger.info("%s is now a link to %s", folder, folder.readlink())
            return


def _elsewhere(folder: Path) -> Iterator[Path]:
    if named := os.environ.get(FOLDERS):
        yield Path(named).expanduser() / folder.name
    here = Path.cwd()
    for parent in here.parents:
        if parent.parts[-len(_EXPERIMENTS) :] == _EXPERIMENTS:
            yield parent.parents[len(_EXPERIMENTS) - 1] / folder


def check(folder: Path, known: Sequence[str]) -> None:
    """Make sure that a person's own data set is there.

    Args:
        known: data sets that could be fetched instead.

    Raises:
        DataError: there is no such folder.
    """
    if folder.is_dir():
        return
    if folder.is_symlink():
        leads = f"{folder} is a link to {folder.readlink()}, which is not a folder."
        raise DataError(f"{leads} Correct the link, or mount what it leads to.")
    if folder.exists():
        raise DataError(f"{folder} is a file; expected a folder with one folder for each class.")
    raise DataError(
        f"{folder} is missing, and data.dataset in params.yaml names it. Put your clips there, or link to them: "
        f"`ln -s /path/to/clips {folder}`. On a machine that keeps data sets in another folder, set {FOLDERS} to that folder. "
        f"Without the clips, `dvc pull` and then `dvc repro --allow-missing` do all that does not read them. "
        f"Data sets that can be fetched: {', '.join(known)}."
    )
