"""What may be asked of the server, and how it says no."""

from dataclasses import dataclass

from starlette.exceptions import HTTPException

from actionrec.core.errors import ActionrecError

LONGEST_WINDOW = 60.0
"""Seconds; its frames are held in memory."""

SHORTEST_STRIDE = 0.01
"""Seconds, a fraction of what any film's frame takes; a window is at least two of them, since its half is the usual stride."""


class RequestError(ActionrecError, HTTPException):
    """A request that is refused. It is an HTTPException, too: FastAPI takes any other that breaks off an upload for a damaged form.

    Args:
        status_code: of HTTP.
    """

    def __init__(self, status_code: int, message: str) -> None:
        HTTPException.__init__(self, status_code, message)

    def __str__(self) -> str:
        return self.detail


@dataclass(frozen=True)
class Limits:
    """What the server takes on."""

    megabytes: float = 200.0
    """Of an upload."""
    minutes: float = 10.0
    """Of a video."""
    pixels: int = 8192 * 4096
    """Of a picture: 8K video has fewer."""
    frames_per_second: int = 240
    """Of a video as long as may be; a shorter one may have more."""
    waiting: int = 8
    """Requests at work or in the queue; further ones are turned away."""
    sending: int = 32
    """Uploads on their way at the same time."""
    silence: float = 30.0
    """Seconds that a sender may pause, and has to begin."""
    bytes_per_second: float = 10_000
    """What he must send on average after that."""

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
        return RequestError(413, f"the upload is larger than {self.megabytes:g} MB. Cut a piece out of it, or start with --max-mb.")

    def too_long(self, name: str) -> RequestError:
        return RequestError(413, f"{name} is longer than {self.minutes:g} minutes. Cut a piece out, or start with --max-minutes.")

    def too_many_frames(self, name: str) -> RequestError:
        return RequestError(413, f"{name} has more than {self.frames:,} frames. Cut a piece out, or start with --max-minutes.")

    def too_wide(self, name: str) -> RequestError:
        most = f"{self.pixels / 1e6:.0f} million pixels"
        return RequestError(413, f"{name} has pictures of more than {most}, or none that can be read. Scale it down.")

    def too_slow(self) -> RequestError:
        return RequestError(408, "the upload stood still, or was too slow. Try again, or send a smaller file.")

    def too_busy(self) -> RequestError:
        return RequestError(503, f"{self.waiting} requests are at work or waiting already. Try again in a minute.")

    def too_many_uploads(self) -> RequestError:
        return RequestError(503, f"{self.sending} uploads are on their way already. Try again in a minute.")


@dataclass(frozen=True)
class PredictRequest:
    """What is to be told of a video."""

    top: int = 5
    """Classes."""
    window: float | None = None
    """Seconds, for a timeline; without, one answer for the whole video."""
    stride: float | None = None
    """Seconds; without, half a window."""
    explain: bool = False
    """With which frames mattered, and where in them."""
    pictures: bool = False
    """With the sampled frames, and a plot of a timeline."""

    def __post_init__(self) -> None:
        if self.stride and not self.window:
            raise RequestError(400, "stride needs window: an answer for each window of so many seconds.")
        if self.explain and self.window:
            raise RequestError(
                400, "explain is about a whole clip, not about a timeline. Cut the piece out of the film, and explain that."
            )
