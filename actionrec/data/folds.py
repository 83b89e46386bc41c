"""Other folds: the splits beside data/split.csv that `evaluation.folds=all` trains and tests on too, in data/other_folds.csv."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from actionrec.core.errors import DataError
from actionrec.data.clips import Clip
from actionrec.data.splits import SUBSETS, SplitSettings, divide
from actionrec.io.files import read_csv, write_csv

HEADER = ("fold", "clip", "subset")


@dataclass(frozen=True)
class EvaluationSettings:
    """Section `evaluation`."""

    folds: Literal["one", "all"]
    """`one`: models are trained and tested on `split.fold`. `all`: on every fold, so that every clip is tested."""


def divide_others(
    clips: Sequence[Clip],
    settings: SplitSettings,
    seed: int,
    folds: Sequence[int],
    listed: Callable[[int], Mapping[str, str] | None],
) -> dict[int, dict[str, str]]:
    """Divide the clips as in every fold but `settings.fold`.

    Args:
        folds: the numbers of all folds; under protocol `official`, of all lists.
        listed: returns a fold's official list; see `divide`.

    Returns:
        Fold -> clip id -> train, val or test.

    Raises:
        DataError: see `divide`; names the fold.
    """
    others = {}
    for fold in folds:
        if fold != settings.fold:
            try:
                others[fold] = divide(clips, replace(settings, fold=fold), seed, listed(fold))
            except DataError as error:
                raise DataError(f"fold {fold}, which evaluation.folds=all needs: {error}") from None
    return others


def write_other_folds(path: Path, others: Mapping[int, Mapping[str, str]]) -> None:
    """Write the other folds; none give a table without rows."""
    write_csv(path, HEADER, [(str(fold), *row) for fold, subsets in sorted(others.items()) for row in sorted(subsets.items())])


def read_other_folds(path: Path) -> dict[int, dict[str, str]]:
    """Read data/other_folds.csv: fold -> clip id -> train, val or test.

    Raises:
        DataError: the file is missing or damaged.
    """
    others: dict[int, dict[str, str]] = {}
    for row in read_csv(path, HEADER):
        if not row["fold"].isdecimal() or row["subset"] not in SUBSETS:
            got = f"{row['fold']},{row['clip']},{row['subset']}"
            raise DataError(
                f"{path}: got the row {got}, expected a fold's number, a clip, and {', '.join(SUBSETS)}. Run `dvc repro`."
            )
        others.setdefault(int(row["fold"]), {})[row["clip"]] = row["subset"]
    return others
