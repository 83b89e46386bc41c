"""Suspicious files: clips that can be opened but have unusual properties."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from actionrec.inspection.probe import Probe
from actionrec.video.decoder import Header

SHORTEST = 32  # frames; shorter clips are sampled with repeated frames
SLOWEST, FASTEST = 5, 120  # frames per second
APART = 10  # times longer or shorter than the median
SMALLEST_PICTURE = 32  # pixels
SMALLEST_FILE = 2048  # bytes
FEWEST_BYTES = 32  # per frame; a container uses about as many for its index alone
THIN = 50  # times fewer bytes per frame and pixel than the median; real footage stays within 10
RARE = 0.01  # share of the files
FEWEST_FILES = 10  # with fewer files, nothing is reported as rare


@dataclass(frozen=True)
class Suspicion:
    """An unusual property of one file."""

    clip: str
    kind: str
    """Name of the rule."""
    detail: str
    """The unusual value, or empty."""


def suspicions(probes: Sequence[Probe]) -> list[Suspicion]:
    """Find suspicious files, ordered by rule, then by clip. Files that cannot be opened or decoded are left out."""
    readable = [probe for probe in probes if probe.header and not probe.error]
    return [Suspicion(probe.clip.id, kind, detail) for kind, rule in _RULES for probe, detail in rule(readable)]


_Matches = Iterator[tuple[Probe, str]]


def _no_frames(probes: Sequence[Probe]) -> _Matches:
    yield from ((probe, "") for probe in probes if not probe.frames)


def _short(probes: Sequence[Probe]) -> _Matches:
    yield from ((probe, f"{probe.frames} frame{'s' * (probe.frames > 1)}") for probe in probes if 0 < probe.frames < SHORTEST)


def _miscounted(probes: Sequence[Probe]) -> _Matches:
    for probe, header in _headers(probes):
        if probe.decoded_frames is not None and probe.decoded_frames != header.frames:
            yield probe, f"{header.frames:,} claimed, {probe.decoded_frames:,} decoded"


def _still(probes: Sequence[Probe]) -> _Matches:
    yield from ((probe, "") for probe in probes if probe.still)


def _damaged(probes: Sequence[Probe]) -> _Matches:
    yield from ((probe, probe.warning) for probe in probes if probe.warning)


def _hdr(probes: Sequence[Probe]) -> _Matches:
    yield from ((probe, header.hdr) for probe, header in _headers(probes) if header.hdr)


def _odd_rate(probes: Sequence[Probe]) -> _Matches:
    for probe, header in _headers(probes):
        if not SLOWEST <= header.frames_per_second <= FASTEST:
            yield probe, f"{header.frames_per_second:.4g}" if header.frames_per_second else "none claimed"


def _long(probes: Sequence[Probe]) -> _Matches:
    timed = [(probe, probe.seconds) for probe in probes if probe.seconds]
    limit = APART * median(seconds for _, seconds in timed) if timed else 0
    yield from ((probe, f"{seconds:,.1f} s") for probe, seconds in timed if seconds > limit)


def _brief(probes: Sequence[Probe]) -> _Matches:
    timed = [(probe, probe.seconds) for probe in probes if probe.seconds]
    limit = median(seconds for _, seconds in timed) / APART if timed else 0
    yield from ((probe, f"{seconds:.2f} s") for probe, seconds in timed if seconds < limit)


def _tiny_picture(probes: Sequence[Probe]) -> _Matches:
    yield from (
        (probe, size_of(header)) for probe, header in _headers(probes) if min(header.width, header.height) < SMALLEST_PICTURE
    )


def _tiny_file(probes: Sequence[Probe]) -> _Matches:
    yield from ((probe, f"{probe.clip.bytes:,} bytes") for probe in probes if probe.clip.bytes < SMALLEST_FILE)


def _thin(probes: Sequence[Probe]) -> _Matches:
    dense = [
        (probe, probe.clip.bytes / probe.frames, probe.clip.bytes / (probe.frames * header.width * header.height))
        for probe, header in _headers(probes)
        if probe.frames and header.width and header.height
    ]
    limit = median(per_pixel for _, _, per_pixel in dense) / THIN if dense else 0
    for probe, per_frame, per_pixel in dense:
        if per_frame < FEWEST_BYTES or per_pixel < limit:
            yield probe, f"{per_frame:,.0f} bytes per frame"


def _rare(value_of: Callable[[Header], str]) -> Callable[[Sequence[Probe]], _Matches]:
    """Create a rule for rare values. These, with all that are as rare or rarer, are in at most 1 % of the files, or in one."""

    def rule(probes: Sequence[Probe]) -> _Matches:
        if len(probes) < FEWEST_FILES:
            return
        counts = Counter(value_of(header) for _, header in _headers(probes))
        as_rare = {limit: sum(count for count in counts.values() if count <= limit) for limit in set(counts.values())}
        for probe, header in _headers(probes):
            if as_rare[counts[value_of(header)]] <= max(1, RARE * len(probes)):
                yield probe, value_of(header)

    return rule


def _headers(probes: Sequence[Probe]) -> Iterator[tuple[Probe, Header]]:
    yield from ((probe, probe.header) for probe in probes if probe.header)


def size_of(header: Header) -> str:
    return f"{header.width}x{header.height}"


def codec_of(header: Header) -> str:
    return header.codec or "unknown"


def rate_of(header: Header) -> str:
    """Frames per second, rounded: 30 for 29.97 and 30.0005. Without rounding, each clip of a phone may have its own rate."""
    return f"{header.frames_per_second:.0f}"


_RULES: tuple[tuple[str, Callable[[Sequence[Probe]], _Matches]], ...] = (
    ("no frames claimed", _no_frames),
    ("header's frame count is wrong", _miscounted),
    ("damaged", _damaged),
    ("HDR video, converted as if it were SDR", _hdr),
    ("the picture never changes", _still),
    (f"fewer than {SHORTEST} frames", _short),
    (f"frames per second not from {SLOWEST} to {FASTEST}", _odd_rate),
    (f"over {APART} times the median length", _long),
    (f"under 1/{APART} of the median length", _brief),
    (f"picture smaller than {SMALLEST_PICTURE} pixels", _tiny_picture),
    (f"file smaller than {SMALLEST_FILE:,} bytes", _tiny_file),
    ("too few bytes for its frames", _thin),
    ("rare picture size", _rare(size_of)),
    ("rare codec", _rare(codec_of)),
    ("rare frame rate", _rare(rate_of)),
)
