"""Requests for a prediction: their options, the server's limits, and the errors beyond them."""

from dataclasses import dataclass

from starlette.exceptions import HTTPException

from actionrec.core.errors import ActionrecError

LONGEST_WINDOW = 60.0
"""Seconds; its frames are held in memory."""

SHORTEST_STRIDE = 0.01
"""Seconds, less than one frame of any video; a window is at least twice as long, as the default stride is half of it."""

_BUSY = 10  # seconds; places are free again when some requests are answered


class RequestError(ActionrecError, HTTPException):
    """A refused request. It is also an HTTPException: FastAPI reports other exceptions during an upload as a damaged form.

    Args:
        status_code: the HTTP status.
        message: the error, for visitors: without the server's paths and options.
        retry_after: seconds after which the request may succeed, sent as `Retry-After`.
    """

    def __init__(self, status_code: int, message: str, *, retry_after: int | None = None) -> None:
        HTTPException.__init__(self, status_code, message, {} if retry_after is None else {"Retry-After": str(retry_after)})

    def __str__(self) -> str:
        return self.detail


@dataclass(frozen=True)
class Limits:
    """Limits of uploads, videos and requests."""

    megabytes: float = 200.0
    """Of an upload."""
    minutes: float = 10.0
    """Of a video."""
    pixels: int = 8192 * 4096
    """Of a picture: 8K video has fewer."""
    frames_per_second: int = 240
    """Of a video of the greatest length; a shorter one may have more."""
    waiting: int = 32
    """Requests that run or wait; further ones are refused."""
    interleaved: int = 4
    """Requests that run in turns; the others wait in line."""
    sending: int = 32
    """Simultaneous uploads."""
    connections: int = 512
    """Simultaneous connections."""
    silence: float = 30.0
    """Seconds in which a client must send a request's header, continue its upload, or read some of its answer."""
    bytes_per_second: float = 10_000
    """Minimum average speed of an upload after that."""

    @property
    def bytes(self) -> int:
        return int(self.megabytes * 1_000_000)

    @property
    def seconds(self) -> float:
        return 60 * self.minutes

    @property
    def frames(self) -> int:
        return int(self.seconds * self.frames_per_second)

    def too_large(self) -> RequestError:
        return RequestError(
            413,
            f"the upload is larger than {self.megabytes:g} MB. Send a shorter piece.",
        )

    def too_long(self, name: str) -> RequestError:
        return RequestError(
            413,
            f"{name} is longer than {self.minutes:g} minutes. Send a shorter piece.",
        )

    def too_many_frames(self, name: str) -> RequestError:
        return RequestError(
            413,
            f"{name} has more than {self.frames:,} frames. Send a shorter piece.",
        )

    def too_wide(self, name: str) -> RequestError:
        most = f"{self.pixels / 1e6:.0f} million pixels"
        return RequestError(413, f"{name} has frames of more than {most}, or of an unknown size. Scale it down.")

    def too_slow(self) -> RequestError:
        return RequestError(408, "the upload stalled or was too slow. Try again, or send a smaller file.")

    def too_busy(self) -> RequestError:
        return _busy(f"{self.waiting} requests are already running or waiting")

    def too_many_uploads(self) -> RequestError:
        return _busy(f"{self.sending} uploads are already in progress")


def _busy(reason: str) -> RequestError:
    return RequestError(503, f"{reason}. Try again in a few seconds.", retry_after=_BUSY)


@dataclass(frozen=True)
class PredictRequest:
    """Options of a prediction."""

    top: int = 5
    """Number of classes in the answer."""
    window: float | None = None
    """Seconds, for a timeline; None: one answer for the whole video."""
    stride: float | None = None
    """Seconds from window to window; None: half a window."""
    explain: bool = False
    """Whether to explain which frames mattered, and where in them."""
    pictures: bool = False
    """Whether to add the sampled frames, and plots."""
    preview: bool = False
    """Whether to make a preview of an uploaded video, for browsers that cannot play it."""
    all_models: bool = False
    """Whether all models answer."""
    start: float | None = None
    """Seconds: start of the piece of the video that is predicted; None: the whole video."""
    end: float | None = None
    """Seconds: end of that piece."""

    def __post_init__(self) -> None:
        if self.stride and not self.window:
            raise RequestError(400, "stride needs window, the seconds of a window.")
        if self.explain and self.window:
            raise RequestError(400, "explain and window cannot be combined. To explain a piece of a video, send its start and end.")
        if (self.start is None) != (self.end is None):
            raise RequestError(400, "start and end belong together; got only one of them.")
        if self.start is not None and self.end is not None:
            self._check_piece(self.end - self.start)
        if self.all_models and (self.window or self.explain or self.start is not None):
            raise RequestError(400, "models=all takes none of window, stride, explain, start and end. Choose one model for these.")

    def _check_piece(self, seconds: float) -> None:
        if self.window:
            raise RequestError(400, "window and start cannot be combined.")
        if not 0 < seconds <= LONGEST_WINDOW:
            raise RequestError(400, f"end must be after start, by {LONGEST_WINDOW:g} seconds at most; got {seconds:g}.")
