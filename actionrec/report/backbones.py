"""Table of the backbones and their published weights."""

from collections.abc import Sequence

from actionrec.features.catalogue import STEPS_OF_A_VIDEO, CatalogueEntry
from actionrec.report import table

_HEADER = ("backbone", "D", "input", "parameters (M)", "GMACs", "top-1 %", "options")
_NOTES = f"""
D: features per step, which is a frame or, for a video backbone, a snippet.
input: frames x pixels of a step, and frames per second.
parameters: with the last layer, which is not used. GMACs: billions of multiplications for one step.
top-1: published accuracy on ImageNet-1K, or on Kinetics-400 for a video backbone.
options: `dvc exp run` and these options select the weights and the right frames. {STEPS_OF_A_VIDEO} snippets per clip keep the
cost of a video backbone low; frames.count changes it.
"""


def text(entries: Sequence[CatalogueEntry]) -> str:
    """The table in Markdown, and what its columns mean."""
    rows = [
        [
            entry.backbone,
            str(entry.feature_dim),
            _input(entry),
            f"{entry.parameters / 1e6:.1f}",
            f"{entry.gmacs:.2f}",
            f"{entry.top1_percent:.1f}",
            entry.overrides,
        ]
        for entry in entries
    ]
    return table(_HEADER, rows, "lrlrrrl") + "\n" + _NOTES


def _input(entry: CatalogueEntry) -> str:
    frames = entry.frames
    rate = f", {frames.rate:g} fps" if frames.rate else ""
    return f"{frames.length} x {frames.resolution}{rate}"
