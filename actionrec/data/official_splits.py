"""Official splits: lists of training and test clips that come with a data set, or that you provide.

Lists are in the data set's folder or one folder deeper, in one of three formats:

- UCF-101: `trainlist01.txt` (`Class/clip.avi 1`) and `testlist01.txt` (`Class/clip.avi`), numbered 01 to 03.
- HMDB-51: one file per class, `<class>_test_split1.txt` (`clip.avi 1`; 1 train, 2 test, 0 neither), numbered 1 to 3.
- A column `subset` (train, val, test or empty) in `clips.csv` beside the clips; it counts as list 1.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from actionrec.core.errors import DataError
from actionrec.core.text import first_few
from actionrec.data.clip_list import INDEX, read_index
from actionrec.data.clips import SUFFIXES

logger = logging.getLogger(__name__)

_UCF = re.compile(r"(train|test)list0*(\d+)\.txt", re.IGNORECASE)
_HMDB = re.compile(r"(.+)_test_split(\d+)\.txt", re.IGNORECASE)
_HMDB_SUBSETS = {"1": "train", "2": "test", "0": ""}


def read_lists(folder: Path, number: int, clip_ids: Iterable[str]) -> dict[str, str]:
    """Read list `number` of the data set in `folder`: clip id -> train, val or test. Clips for none of them are left out.

    Names are compared without regard to case, since copies of UCF-101 differ in it; and without their suffix if no clip has it,
    since clips are often re-encoded as .mp4. Missing clips are reported.

    Raises:
        DataError: the list is missing or damaged, a clip is in two subsets, or no clips match.
    """
    numbers = list_numbers(folder)
    if number not in numbers:
        got = f"only list{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}" if numbers else "no list"
        raise DataError(
            f"split.protocol is official, but {folder} has {got}; expected list {number}: trainlist0{number}.txt and "
            f"testlist0{number}.txt as in UCF-101, <class>_test_split{number}.txt as in HMDB-51, or a column subset in "
            f"{folder / INDEX}. Put them there, or change split.fold or split.protocol in params.yaml."
        )
    clip_ids = list(clip_ids)
    subsets, missing = _match(_entries(folder, number), clip_ids)
    if missing:
        logger.warning("%s clips of official list %d are missing: %s", f"{len(missing):,}", number, first_few(missing))
    empty = sorted({"train", "test"} - set(subsets.values()))
    if empty:
        others = f"; missing: {first_few(missing)}" if missing else ""
        raise DataError(
            f"official list {number} of {folder} has no clips for {' and '.join(empty)}: it names {len(subsets)} of the "
            f"{len(clip_ids)} existing clips{others}. Check that no list is missing."
        )
    return {clip: subset for clip, subset in subsets.items() if subset}


def list_numbers(folder: Path) -> list[int]:
    """Numbers of the lists in a folder, from 1."""
    if _has_subsets(folder):
        return [1]
    matches = [_UCF.fullmatch(path.name) or _HMDB.fullmatch(path.name) for path in _text_files(folder)]
    return sorted({int(match[2]) for match in matches if match})


def differences(folder: Path, clip_ids: Sequence[str]) -> tuple[list[str], list[str]]:
    """Compare the clips with list 1, which names all of them: return missing clips and unlisted clips, both sorted."""
    matched, missing = _match(_entries(folder, 1), clip_ids)
    return missing, sorted(set(clip_ids) - matched.keys())


def _text_files(folder: Path) -> list[Path]:
    """Text files beside the class folders or one folder deeper."""
    return sorted([*folder.glob("*.txt"), *folder.glob("*/*.txt")])


def _has_subsets(folder: Path) -> bool:
    return (folder / INDEX).is_file() and any(row.subset for row in read_index(folder))


def _entries(folder: Path, number: int) -> dict[str, str]:
    """Listed clip -> train, val, test, or "" for none of them."""
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
                # Only training lists have a class number after each name.
                clip, subset = (clip if mark.isdecimal() else line.strip()), ucf[1].lower()
            else:
                clip, subset = f"{match[1]}/{clip}", _HMDB_SUBSETS.get(mark, "?")
            if subset == "?" or "/" not in clip:
                form = "<Class>/<clip>" if ucf else "<clip> <0, 1 or 2>"
                raise DataError(f"{path}, line {line_number}: got {line.strip()!r}, expected `{form}`. Fetch the lists again.")
            if entries.setdefault(clip, subset) != subset:
                raise DataError(
                    f"{path}, line {line_number}: {clip} is listed for {entries[clip] or 'nothing'} too. Fix the lists."
                )
    return entries


def _match(entries: Mapping[str, str], clip_ids: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return clip id -> subset for existing clips, and the listed clips that are missing, sorted."""
    exact = set(clip_ids)
    by_folded, by_stem = {clip.casefold(): clip for clip in clip_ids}, defaultdict(list)
    for clip in clip_ids:
        by_stem[_stem(clip)].append(clip)
    subsets, missing = {}, []
    for listed, subset in entries.items():
        if listed in exact:
            matches = [listed]
        elif folded := by_folded.get(listed.casefold()):
            matches = [folded]
        else:
            matches = by_stem.get(_stem(listed), [])
        if not matches:
            missing.append(listed)
        for clip in matches:
            subsets[clip] = subset
    return subsets, sorted(missing)


def _stem(clip: str) -> str:
    """A clip's id in lower case, without a video suffix."""
    path = PurePosixPath(clip.casefold())
    return str(path.with_suffix("") if path.suffix in SUFFIXES else path)
