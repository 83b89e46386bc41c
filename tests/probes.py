"""Fabricate what inspecting files would find."""

from actionrec.data.clips import Clip, group_of
from actionrec.inspection.probe import Probe
from actionrec.video.decoder import Header

PLAIN = Header(frames=100, frames_per_second=25.0, width=320, height=240, codec="XVID")


def clip(clip_id: str, contents: str = "", size: int = 100_000) -> Clip:
    """A clip whose bytes are told by `contents`, else are its own."""
    return Clip(clip_id, clip_id.split("/")[0], group_of(clip_id), size, contents or clip_id)


def groups(label: str, *sizes: int) -> list[Clip]:
    """Clips of one class, so many in each group."""
    return [
        clip(f"{label}/v_{label}_g{group:02d}_c{number:02d}.avi") for group, size in enumerate(sizes, 1) for number in range(size)
    ]


def probe(
    clip_id: str = "A/v_A_g01_c01.avi",
    *,
    error: str = "",
    decoded: int | None = None,
    still=False,
    warning="",
    size=100_000,
    **header,
):
    """A file with a plain header but for the values given."""
    warning = header.pop("warning", "")
    return Probe(clip(clip_id, size=size), Header(**{**vars(PLAIN), **header}), error, decoded, still, warning)


def plain(count: int) -> list[Probe]:
    """Files with nothing odd, in two classes."""
    return [probe(f"{'AB'[place % 2]}/v_x_g{place // 4:02d}_c{place:03d}.avi") for place in range(count)]
