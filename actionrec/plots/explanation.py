"""Explanation of a prediction: the most important frames, their important regions, and every frame's importance."""

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from actionrec.core.text import shorten
from actionrec.inference.explanation import Explanation
from actionrec.plots.canvas import GREY, drawing, png

_SHOWN = 8  # frames of a strip
_FOR, _AGAINST, _ATTENTION = "#0072B2", "#D55E00", "#009E73"


def shown_frames(importance: NDArray[np.float64], count: int = _SHOWN) -> list[int]:
    """Split a clip into `count` equal parts, and pick the most important frame of each; short clips show all frames."""
    parts = np.array_split(np.arange(len(importance)), min(count, len(importance)))
    return [int(part[np.abs(importance[part]).argmax()]) for part in parts]


def overlaid(frame: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Overlay a frame (size, size, 3), RGB, with its heat map (h, w); hot regions cover more of the frame."""
    size = frame.shape[0]
    wide = np.clip(cv2.resize(heat, (size, size), interpolation=cv2.INTER_CUBIC), 0, 1)
    colours = colormaps["inferno"](wide)[:, :, :3] * 255
    grey = np.repeat(frame.mean(axis=2, keepdims=True), 3, axis=2)
    share = 0.15 + 0.6 * wide[:, :, None]
    return np.asarray((1 - share) * grey + share * colours, dtype=np.uint8)


def film_strip(explanation: Explanation, frames: NDArray[np.uint8], title: str) -> bytes:
    """Draw an explanation as a PNG.

    Args:
        frames: the explained frames, (T, size, size, 3), RGB.
        title: of the whole picture.
    """
    strip_frames = shown_frames(explanation.importance)
    strips = [("frame", [frames[frame] for frame in strip_frames])]
    if explanation.heat is not None:
        strips.append(("region", [overlaid(frames[frame], explanation.heat[frame]) for frame in strip_frames]))
    with drawing():
        figure = Figure(figsize=(1.45 * len(strip_frames) + 0.9, 1.5 * len(strips) + 3.0), layout="constrained")
        figure.suptitle("\n".join([shorten(title, 80), *_stream_line(explanation)]), fontsize=13)
        grid = figure.add_gridspec(len(strips) + 1, len(strip_frames), height_ratios=[1.4] * len(strips) + [2.2])
        for row, (name, pictures) in enumerate(strips):
            for column, (frame, picture) in enumerate(zip(strip_frames, pictures, strict=True)):
                axes = figure.add_subplot(grid[row, column])
                axes.imshow(picture)
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
                if row == 0:
                    axes.set_title(f"frame {explanation.indices[frame]}", fontsize=9, color=GREY)
                if column == 0:
                    axes.set_ylabel(name, color=GREY)
        _curve(figure.add_subplot(grid[len(strips), :]), explanation, strip_frames)
        return png(figure)


def _stream_line(explanation: Explanation) -> list[str]:
    """A line on the share of each stream, if there are several."""
    shares = explanation.stream_shares
    return [f"what mattered: {', '.join(f'{name} {100 * share:.0f} %' for name, share in shares.items())}"] if shares else []


def _curve(axes: Axes, explanation: Explanation, strip_frames: list[int]) -> None:
    """Draw each frame's importance as a bar, mark the frames of the strip, and draw attention as a line with its own scale."""
    steps = np.arange(len(explanation.importance))
    axes.bar(steps, explanation.importance, color=np.where(explanation.importance >= 0, _FOR, _AGAINST), width=0.8)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.plot(strip_frames, np.zeros(len(strip_frames)), "^", color="black", markersize=5, clip_on=False, zorder=3)
    axes.set_xlim(-0.6, len(steps) - 0.4)
    ticks = steps[:: max(1, len(steps) // 16)]
    axes.set_xticks(ticks, [str(explanation.indices[tick]) for tick in ticks])
    axes.set_xlabel("frame of the clip (▲ shown above)")
    axes.set_ylabel("drop in log-probability\nwithout the frame")
    marks = [Patch(color=_FOR, label=f"for {shorten(explanation.label, 30)}")]
    if (explanation.importance < 0).any():
        marks.append(Patch(color=_AGAINST, label="against"))
    if explanation.attention is not None:
        attention = axes.twinx()
        (line,) = attention.plot(steps, 100 * explanation.attention, color=_ATTENTION, linewidth=1.5, label="attention")
        attention.set_ylim(bottom=0)
        attention.set_ylabel("attention, %")
        attention.spines["right"].set_visible(True)
        marks.append(line)  # type: ignore[arg-type]
    axes.legend(handles=marks, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=9)
