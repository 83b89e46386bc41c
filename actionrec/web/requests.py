"""What may be asked of the server, and how it says no."""

from dataclasses import dataclass

from actionrec.errors import ActionrecError


class RequestError(ActionrecError):
    """A request that is refused.

    Args:
        status: of HTTP.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Limits:
    """What the server takes on."""

    megabytes: float = 200.0
    """Of an upload."""
    minutes: float = 10.0
    """Of a video."""
    waiting: int = 8
    """Requests at work or in the queue; further ones are turned away."""

    @property
    def bytes(self) -> int:
        return int(self.megabytes * 1_000_000)

    @property
    def seconds(self) -> float:
        return 60 * self.minutes

    def too_large(self) -> RequestError:
        return RequestError(413, f"the upload is larger than {self.megabytes:g} MB. Cut a piece out of it, or start with --max-mb.")

    def too_long(self, name: str) -> RequestError:
        return RequestError(413, f"{name} is longer than {self.minutes:g} minutes. Cut a piece out, or start with --max-minutes.")

    def too_busy(self) -> RequestError:
        return RequestError(503, f"{self.waiting} requests are at work or waiting already. Try again in a minute.")


@dataclass(frozen=True)
class Wish:
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
