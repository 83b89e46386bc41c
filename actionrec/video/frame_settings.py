"""Settings of sampled frames: how many, in snippets of which length and rate, at which size, and how they are stored."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Fit = Literal["squash", "crop"] | Sequence[int]
"""How a picture becomes a square of R x R pixels. `squash`: resized to it, whatever its shape. `crop`: its short side is resized to
8/7 of R (256 for 224), and the centre is cut out. `[height, width]`: it is resized to that, and the centre is cut out."""

MOST = 4096
"""Most frames of a clip's snippets together."""


@dataclass(frozen=True)
class Snippet:
    """Section `frames.snippet`: the consecutive frames at each sample point of a clip."""

    length: int = 1
    """Frames in a snippet (L)."""
    rate: float | None = None
    """Frames per second in a snippet; None: the clip's own rate."""

    def __post_init__(self) -> None:
        if not 1 <= self.length <= MOST:
            raise ValueError(f"length must be from 1 to {MOST}; got {self.length}")
        if self.rate is not None and not 0.01 <= self.rate <= 1000:
            raise ValueError(f"rate must be null or from 0.01 to 1000 frames per second; got {self.rate}")
        if self.rate is not None and self.length == 1:
            raise ValueError(f"rate has no effect on snippets of one frame; got {self.rate}. Set it to null, or raise length")

    @property
    def phrase(self) -> str:
        """The snippet for people.

        >>> Snippet(16, 7.5).phrase, Snippet(8).phrase
        ('16 frames at 7.5 frames per second', '8 consecutive frames')
        """
        return (
            f"{self.length} consecutive frames" if self.rate is None else f"{self.length} frames at {self.rate:g} frames per second"
        )


ONE_FRAME = Snippet()

IMPLIED: Mapping[str, Any] = {"snippet": {"length": 1, "rate": None}, "fit": "squash"}
"""What a description of frames implies where it says nothing, as older ones do."""


@dataclass(frozen=True)
class Sampling:
    """How frames are sampled from a clip, resized and stored: everything that decides their pixels."""

    count: int
    """Sample points (T), evenly spaced over a clip."""
    resolution: int
    """Width and height, pixels."""
    format: Literal["jpeg", "raw"]
    quality: int
    """JPEG quality, 1 to 100. Colours are not subsampled (4:4:4)."""
    snippet: Snippet = ONE_FRAME
    """The frames at each sample point."""
    fit: Fit = "squash"
    """How a picture becomes a square."""

    def __post_init__(self) -> None:
        for name, low, high in (("count", 1, MOST), ("resolution", 8, 4096), ("quality", 1, 100)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be from {low} to {high}; got {getattr(self, name)}")
        if self.count * self.snippet.length > MOST:
            got = f"{self.count} snippets of {self.snippet.length}"
            raise ValueError(f"count and snippet.length must give at most {MOST} frames per clip; got {got}")
        if not isinstance(self.fit, str) and not (len(self.fit) == 2 and self.resolution <= min(self.fit) <= max(self.fit) <= 8192):
            raise ValueError(
                f"fit must be squash, crop, or a height and a width from resolution ({self.resolution}) to 8192; "
                f"got {list(self.fit)}"
            )

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> "Sampling":
        """Read a description; see `sampling`."""
        values = {**IMPLIED, **description}
        fit = values["fit"] if isinstance(values["fit"], str) else tuple(values["fit"])
        return cls(**{**values, "snippet": Snippet(**values["snippet"]), "fit": fit})

    def sampling(self) -> dict[str, Any]:
        """Describe the sampling. Snippets of one frame and `squash` are left out; older descriptions imply them."""
        described = {
            "count": self.count,
            "resolution": self.resolution,
            "format": self.format,
            "quality": self.quality,
            "snippet": asdict(self.snippet),
            "fit": self.fit if isinstance(self.fit, str) else list(self.fit),
        }
        return {key: value for key, value in described.items() if key not in IMPLIED or value != IMPLIED[key]}

    @property
    def frames(self) -> int:
        """Frames of all sample points, also where snippets share them: T * L."""
        return self.count * self.snippet.length

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a clip's pictures: (T, R, R, 3), or (T, L, R, R, 3) with snippets of several frames."""
        snippet = () if self.snippet.length == 1 else (self.snippet.length,)
        return (self.count, *snippet, self.resolution, self.resolution, 3)


@dataclass(frozen=True, kw_only=True)
class FrameSettings(Sampling):
    """Section `frames`."""

    shards: int
    """Number of files that the clips are spread over."""
    max_failed: float
    """Share of clips, 0 to 1, that may fail to decode before the stage fails."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.shards <= 10_000:
            raise ValueError(f"shards must be from 1 to 10000; got {self.shards}")
        if not 0 <= self.max_failed <= 1:
            raise ValueError(f"max_failed must be from 0 to 1; got {self.max_failed}")
