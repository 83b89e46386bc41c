"""Your own clips, and data sets kept in another folder: used or linked to where they are, never copied, moved or deleted."""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from actionrec.core.errors import DataError

logger = logging.getLogger(__name__)

FOLDERS = "ACTIONREC_DATA"
"""Environment variable: a folder of data sets, for data sets that are not below data/raw."""

_EXPERIMENTS = (".dvc", "tmp", "exps")  # `dvc exp run --temp` and `--queue` run in a copy of the project below this folder


def link_from_elsewhere(folder: Path) -> None:
    """If nothing is at `folder`, link it to the data set of the same name in another folder, if there is one.

    The other folders are $ACTIONREC_DATA and, in the copy of the project that DVC makes for an experiment, the project itself.
    """
    if os.path.lexists(folder):
        return
    for candidate in _elsewhere(folder):
        if candidate.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.symlink_to(candidate.resolve())
            logger.info("%s is now a symlink to %s", folder, folder.readlink())
            return


def _elsewhere(folder: Path) -> Iterator[Path]:
    if data_folder := os.environ.get(FOLDERS):
        yield Path(data_folder).expanduser() / folder.name
    for parent in Path.cwd().parents:
        if parent.parts[-len(_EXPERIMENTS) :] == _EXPERIMENTS:
            yield parent.parents[len(_EXPERIMENTS) - 1] / folder


def require(folder: Path, fetchable: Sequence[str]) -> None:
    """Make sure that a data set of the user's own is at `folder`.

    Args:
        fetchable: data sets that could be fetched instead, for the error message.

    Raises:
        DataError: there is no such folder.
    """
    link_from_elsewhere(folder)
    if folder.is_dir():
        return
    if folder.is_symlink():
        raise DataError(
            f"{folder} is a symlink to {folder.readlink()}, which is not a folder. Correct the symlink, or mount its target."
        )
    if folder.exists():
        raise DataError(f"{folder} is a file; expected a folder with one folder per class. Move the file away.")
    raise DataError(
        f"{folder} (data.dataset in params.yaml) is missing. Put your clips there, or link to them: "
        f"`ln -s /path/to/clips {folder}`. If your data sets are in another folder, set {FOLDERS} to that folder. "
        f"Without the clips, `dvc pull` and then `dvc repro --allow-missing` run the stages that do not read them. "
        f"Data sets that can be fetched: {', '.join(fetchable)}."
    )
