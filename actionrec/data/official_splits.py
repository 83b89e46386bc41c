"""Official splits: lists that say which clips are for training and which for testing, a data set's own or a person's.

Three forms are known, below the data set's folder or in a folder there:

- UCF-101's: `trainlist01.txt` (`Class/clip.avi 1`) and `testlist01.txt` (`Class/clip.avi`), 01 to 03;
- HMDB-51's: `<class>_test_split1.txt` (`clip.avi 1`: 1 train, 2 test, 0 neither), a file a class, 1 to 3; in both, blanks or
  tabs stand before the number;
- a column `subset` (train, val, test, or empty) in `clips.csv` beside the clips, which counts as list 1.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from actionrec.core.errors import DataError
from actionrec.core.text import first_few
from actionrec.data.clips import INDEX, SUFFIXES, read_index

logger = logging.getLogger(__name__)

_UCF = re.compile(r"(train|test)list0*(\d+)\.txt", re.IGNORECASE)
_HMDB = re.compile(r"(.+)_test_split(\d+)\.txt", re.IGNORECASE)
_HMDB_SUBSETS = {"1": "train", "2": "test", "0": ""}


def read_lists(folder: Path, number: int, clip_ids: Iterable[str]) -> dict[str, str]:
    """Read list `number` of the data set in `folder`: clip id -> train, val or test. Clips for neither are left out.

    Names are matched whatever their case, since copies of UCF-101 differ in it, and else without their suffix, since clips are
    often encoded again, as .mp4 in place of the list's .avi. Listed clips that are not there are reported.

    Raises:
        DataError: no such list, a damaged one, a clip on both sides, or nothing that fits the clips.
    """
    known = list_numbers(folder)
    if number not in known:
        got = f"only {_numbers(known)}" if known else "none"
        raise DataError(
            f"split.protocol is official, but {folder} has {got}, not list {number}. Wanted trainlist0{number}.txt and "
            f"testlist0{number}.txt as UCF-101's, <class>_test_split{number}.txt as HMDB-51's, or a column subset in "
            f"{folder / INDEX}. Put them there, or change split.fold or split.protocol in params.yaml."
        )
    clip_ids = list(clip_ids)
    subsets, absent = _match(_entries(folder, number), clip_ids)
    if absent:
        logger.warning("%s clips of official list %d are not there: %s", f"{len(absent):,}", number, first_few(absent))
    empty = sorted({"train", "test"} - set(subsets.values()))
    if empty:
        others = f"; missing: {first_few(absent)}" if absent else ""
        raise DataError(
            f"official list {number} of {folder} leaves no clips for {' and '.join(empty)}: it names {len(subsets)} of the "
            f"{len(clip_ids)} clips that are there{others}. Is a list missing?"
        )
    return {clip: subset for clip, subset in subsets.items() if subset}


def list_numbers(folder: Path) -> list[int]:
    """Which lists there are, from 1."""
    if _has_subsets(folder):
        return [1]
    matches = [_UCF.fullmatch(path.name) or _HMDB.fullmatch(path.name) for path in _text_files(folder)]
    return sorted({int(match[2]) for match in matches if match})


def differences(folder: Path, clip_ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Clips that list 1, which names all of them, has and the folder has not, and the other way round; both sorted."""
    entries = _entries(folder, 1)
    matched, absent = _match(entries, clip_ids)
    return absent, sorted(set(clip_ids) - matched.keys())


def _text_files(folder: Path) -> list[Path]:
    """Lists lie beside the classes or one folder deeper."""
    return sorted([*folder.glob("*.txt"), *folder.glob("*/*.txt")])


def _has_subsets(folder: Path) -> bool:
    return (folder / INDEX).is_file() and any(row.subset for row in read_index(folder))


def _entries(folder: Path, number: int) -> dict[str, str]:
    """Listed clip -> train, val, test, or "" for neither."""
    if _has_subsets(folder):
        return {row.id: row.subset for row in read_index(folder)}
    entries: dict[str, str] = {}
    for path in _text_files(folder):
        ucf, hmdb = _UCF.fullmatch(path.name), _HMDB.fullmatch(path.name)
        match = ucf or hmdb
        if match is None or int(match[2]) != number:
            continue
        for line_number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
            if not line.strip():
                continue
            clip, *last = line.strip().rsplit(None, 1)
            mark = "".join(last)
            if ucf:
                # A test list has no class numbers; a training list has one behind each name.
                clip, subset = (clip if mark.isdecimal() else line.strip()), ucf[1].lower()
            else:
                clip, subset = f"{match[1]}/{clip}", _HMDB_SUBSETS.get(mark, "?")
            if subset == "?" or "/" not in clip:
                form = "<Class>/<clip>" if ucf else "<clip> <0, 1 or 2>"
                raise DataError(f"{path}, line {line_number}: wanted `{form}`, got {line.strip()!r}. Fetch the lists again.")
            if entries.setdefault(clip, subset) != subset:
                raise DataError(
                    f"{path}, line {line_number}: {clip} is listed for {entries[clip] or 'nothing'} too. Fix the lists."
                )
    return entries


def _match(entries: Mapping[str, str], clip_ids: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Subsets of the clips that are there, and the listed clips that are not, sorted."""
    exact = set(clip_ids)
    by_folded, by_stem = {clip.casefold(): clip for clip in clip_ids}, defaultdict(list)
    for clip in clip_ids:
        by_stem[_stem(clip)].append(clip)
    subsets, absent = {}, []
    for listed, subset in entries.items():
        if listed in exact:
            found = [listed]
        elif folded := by_folded.get(listed.casefold()):
            found = [folded]
        else:
            found = by_stem.get(_stem(listed), [])
        if not found:
            absent.append(listed)
        for clip in found:
            subsets[clip] = subset
    return subsets, sorted(absent)


def _stem(clip: str) -> str:
    """A clip's id without the suffix of a video, whatever its case."""
    path = PurePosixPath(clip.casefold())
    return str(path.with_suffix("") if path.suffix in SUFFIXES else path)


def _numbers(numbers: Sequence[int]) -> str:
    return f"list{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
