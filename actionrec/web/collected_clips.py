"""Clips that visitors labelled and agreed to save: `<folder>/<Class>/<hash>.<suffix>`, a data set that `split` can read."""

import os
import shutil
import unicodedata
from pathlib import Path

from actionrec.core.errors import DataError
from actionrec.core.text import is_printable, quoted
from actionrec.io import files
from actionrec.video import decoder
from actionrec.web.predict_request import RequestError

LONGEST_LABEL = 60
"""Characters."""

_FORBIDDEN = frozenset('/\\:*?"<>|')  # in names of folders, here or on Windows
_HASH_LENGTH = 16  # hexadecimal digits of the contents' SHA-256


def require_folder(folder: Path) -> None:
    """Create the folder.

    Raises:
        DataError: it cannot be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"--collect {folder}: the folder cannot be created ({error.strerror}). Name another.") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"--collect {folder}: the folder is not writable. Make it writable, or name another.")


def save(folder: Path, video: Path, label: str) -> Path:
    """Copy a video into the folder of its label; a clip with the same contents and another label is replaced.

    Names have no group (see `data.clips`), so that each clip counts as a source of its own.

    Args:
        folder: of all labels.
        video: the upload; its suffix is kept.
        label: a class name, which may be a new one.

    Returns:
        The clip's path.

    Raises:
        RequestError: the label cannot be the name of a folder.
        VideoError: the file is not a video.
    """
    label = check_label(label)
    decoder.read_header(video)
    name = f"{files.sha256_of(video)[:_HASH_LENGTH]}{video.suffix or '.mp4'}"
    clip = folder / label / name
    clip.parent.mkdir(exist_ok=True)
    with files.whole_file(clip) as draft:
        shutil.copyfile(video, draft)
    for other in folder.glob(f"*/{name}"):
        if other.parent.name != label:
            other.unlink(missing_ok=True)
    return clip


def check_label(label: str) -> str:
    """A label in its composed form (NFC), without spaces around it.

    Raises:
        RequestError: it is empty or too long, or cannot be the name of a class's folder.
    """
    label = unicodedata.normalize("NFC", label).strip()
    if not label or len(label) > LONGEST_LABEL:
        raise RequestError(400, f"label must have 1 to {LONGEST_LABEL} characters; got {len(label)}.")
    if label.startswith(".") or label.endswith(".") or not all(is_printable(one) and one not in _FORBIDDEN for one in label):
        raise RequestError(400, f"label {quoted(label)} cannot be a class name. Use letters, digits, spaces, - and _.")
    return label
