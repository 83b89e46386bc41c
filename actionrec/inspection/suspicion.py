"""Files that open, yet are worth a look: each with what is odd about it."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from actionrec.inspection.probe import Probe
from actionrec.video.decoder import Header

SHORTEST = 32  # frames; a shorter clip repeats some of those that the models see
SLOWEST, FASTEST = 5, 120  # frames a second
APART = 10  # times longer or shorter than the median
SMALLEST_PICTURE = 32  # pixels
SMALLEST_FILE = 2048  # bytes
FEWEST_BYTES = 32  # a frame: hardly more than containers spend on their index
THIN = 50  # times fewer bytes a frame and pixel than the median; real footage stays within 10
RARE = 0.01  # of the files
FEWEST_FILES = 10  # for anything to be rare


@dataclass(frozen=True)
class Suspicion:
    """What is odd about one file."""

    clip: str
    kind: str
    """The rule, the same words for all files that it meets."""
    detail: str
    """What was found."""


def suspicions(probes: Sequence[Probe]) -> list[Suspicion]:
    """Find what is odd, by rule, then by clip. Files that do not open or decode are no part of it."""
    sound = [one for one in probes if one.header and not one.error]
    return [Suspicion(one.clip.id, kind, detail) for kind, rule in _RULES for one, detail in rule(sound)]


_Found = Iterator[tuple[Probe, str]]


def _no_frames(probes: Sequence[Probe]) -> _Found:
    yield from ((one, "") for one in probes if not one.frames)


def _short(probes: Sequence[Probe]) -> _Found:
    yield from ((one, f"{one.frames} frame{'s' * (one.frames > 1)}") for one in probes if 0 < one.frames < SHORTEST)


def _miscounted(probes: Sequence[Probe]) -> _Found:
    for one, header in _headers(probes):
        if one.decoded_frames is not None and one.decoded_frames != header.frames:
            yield one, f"{header.frames:,} claimed, {one.decoded_frames:,} decoded"


def _still(probes: Sequence[Probe]) -> _Found:
    yield from ((one, "") for one in probes if one.still)


def _damaged(probes: Sequence[Probe]) -> _Found:
    yield from ((one, one.warning) for one in probes if one.warning)


def _hdr(probes: Sequence[Probe]) -> _Found:
    yield from ((one, header.hdr) for one, header in _headers(probes) if header.hdr)


def _odd_rate(probes: Sequence[Probe]) -> _Found:
    for one, header in _headers(probes):
        if not SLOWEST <= header.frames_per_second <= FASTEST:
            yield one, f"{header.frames_per_second:.4g}" if header.frames_per_second else "none claimed"


def _long(probes: Sequence[Probe]) -> _Found:
    timed = [(one, one.seconds) for one in probes if one.seconds]
    limit = APART * median(seconds for _, seconds in timed) if timed else 0
    yield from ((one, f"{seconds:,.1f} s") for one, seconds in timed if seconds > limit)


def _brief(probes: Sequence[Probe]) -> _Found:
    timed = [(one, one.seconds) for one in probes if one.seconds]
    limit = median(seconds for _, seconds in timed) / APART if timed else 0
    yield from ((one, f"{seconds:.2f} s") for one, seconds in timed if seconds < limit)


def _tiny_picture(probes: Sequence[Probe]) -> _Found:
    yield from ((one, size_of(header)) for one, header in _headers(probes) if min(header.width, header.height) < SMALLEST_PICTURE)


def _tiny_file(probes: Sequence[Probe]) -> _Found:
    yield from ((one, f"{one.clip.bytes:,} bytes") for one in probes if one.clip.bytes < SMALLEST_FILE)


def _thin(probes: Sequence[Probe]) -> _Found:
    dense = [
        (one, one.clip.bytes / one.frames, one.clip.bytes / (one.frames * header.width * header.height))
        for one, header in _headers(probes)
        if one.frames and header.width and header.height
    ]
    limit = median(a_pixel for _, _, a_pixel in dense) / THIN if dense else 0
    for one, a_frame, a_pixel in dense:
        if a_frame < FEWEST_BYTES or a_pixel < limit:
            yield one, f"{a_frame:,.0f} bytes a frame"


def _rare(value_of: Callable[[Header], str]) -> Callable[[Sequence[Probe]], _Found]:
    """Values which, with all that are as rare or rarer, are those of at most one file in a hundred, or of one file."""

    def rule(probes: Sequence[Probe]) -> _Found:
        if len(probes) < FEWEST_FILES:
            return
        counts = Counter(value_of(header) for _, header in _headers(probes))
        as_rare = {limit: sum(count for count in counts.values() if count <= limit) for limit in set(counts.values())}
        for one, header in _headers(probes):
            if as_rare[counts[value_of(header)]] <= max(1, RARE * len(probes)):
                yield one, value_of(header)

    return rule


def _headers(probes: Sequence[Probe]) -> Iterator[tuple[Probe, Header]]:
    yield from ((one, one.header) for one in probes if one.header)


def size_of(header: Header) -> str:
    return f"{header.width}x{header.height}"


def codec_of(header: Header) -> str:
    return header.codec or "unknown"


def rate_of(header: Header) -> str:
    """Frames a second, as headers of one kind of clip agree on it: 30 for 29.97 and 30.0005.

    Where they do not, phones' clips would each have a rate of its own.
    """
    return f"{header.frames_per_second:.0f}"


_RULES: tuple[tuple[str, Callable[[Sequence[Probe]], _Found]], ...] = (
    ("no frames claimed", _no_frames),
    ("header's frame count is wrong", _miscounted),
    ("damaged", _damaged),
    ("HDR video, converted as if it were SDR", _hdr),
    ("the picture never changes", _still),
    (f"fewer than {SHORTEST} frames", _short),
    (f"frames a second not from {SLOWEST} to {FASTEST}", _odd_rate),
    (f"over {APART} times the median length", _long),
    (f"under 1/{APART} of the median length", _brief),
    (f"picture smaller than {SMALLEST_PICTURE} pixels", _tiny_picture),
    (f"file smaller than {SMALLEST_FILE:,} bytes", _tiny_file),
    ("too few bytes for its frames", _thin),
    ("rare picture size", _rare(size_of)),
    ("rare codec", _rare(codec_of)),
    ("rare frame rate", _rare(rate_of)),
)
