"""The errors that a person can mend: bad parameters, files, data. Anything else is a defect and keeps its traceback."""

from collections.abc import Sequence

REPAIR = "Run `python -m actionrec repair`."
"""The next step where a file that a stage made is damaged; `dvc repro -f` would bring the damage back from DVC's cache."""


class ActionrecError(Exception):
    """What is wrong, where, what was wanted, and the next step, in words for the person who runs the program."""


class ParamsError(ActionrecError):
    """params.yaml has unknown, missing or ill-typed keys, or values out of range."""


class DataError(ActionrecError):
    """The data set's folder, or a file that an earlier stage made, is not what it should be."""


class VideoError(ActionrecError):
    """A clip cannot be decoded, or too many of them cannot.

    Args:
        header_frames: what the file's header claims, where it could be read.
        decoded_frames: how many frames could be read.
    """

    def __init__(self, message: str, *, header_frames: int = 0, decoded_frames: int = 0) -> None:
        super().__init__(message)
        self.header_frames = header_frames
        self.decoded_frames = decoded_frames


class WeightsError(ActionrecError):
    """A backbone's or a model's weights are missing, damaged, or made for something else."""


class TrainingError(ActionrecError):
    """Training cannot start or go on."""


def first_few(names: Sequence[str], limit: int = 5) -> str:
    """Names for a message: the first ones, and how many more there are.

    >>> first_few(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    return ", ".join(names[:limit]) + (f" and {len(names) - limit:,} more" if len(names) > limit else "")
