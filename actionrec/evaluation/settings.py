"""Settings of the comparison."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CompareSettings:
    """Section `compare`."""

    margin: float
    """How much top-1, as a fraction, a cheaper model may lose against the best one and still be advised."""

    def __post_init__(self) -> None:
        if not 0 <= self.margin < 1:
            raise ValueError(f"margin must be at least 0 and below 1; got {self.margin}")
