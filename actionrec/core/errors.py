"""Errors that the user can fix: bad parameters, files, data. Any other exception is a bug and keeps its traceback."""

REPAIR = "Run `python -m actionrec repair`."
"""What to do about a damaged output of a stage. `dvc repro -f` would restore the damage from DVC's cache."""

MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""Exceptions of code that reads a record with missing entries or entries of another type."""


class ActionrecError(Exception):
    """Base class. The message tells the user what is wrong, where, what was expected, and what to do."""


class ParamsError(ActionrecError):
    """params.yaml has unknown, missing or ill-typed keys, or values out of range."""


class DataError(ActionrecError):
    """The data set's folder, or an output of an earlier stage, is missing, damaged or not as expected."""


class VideoError(ActionrecError):
    """A clip cannot be decoded, or too many of them cannot.

    Args:
        header_frames: number of frames by the file's header; 0 if it could not be read.
        decoded_frames: number of frames that were decoded.
    """

    def __init__(self, message: str, *, header_frames: int = 0, decoded_frames: int = 0) -> None:
        super().__init__(message)
        self.header_frames = header_frames
        self.decoded_frames = decoded_frames


class WeightsError(ActionrecError):
    """A backbone's or a model's weights are missing, damaged, or made for another model."""


class TrainingError(ActionrecError):
    """Training cannot start or continue."""
