"""A film strip of the frames that mattered most, where they mattered, and a curve of how much each frame did."""

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
    """Of each of `count` equal parts of a clip, the frame that mattered most; all frames where there are no more."""
    parts = np.array_split(np.arange(len(importance)), min(count, len(importance)))
    return [int(part[np.abs(importance[part]).argmax()]) for part in parts]


def overlaid(frame: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A frame (size, size, 3), RGB, with its heat (h, w) over it: the more, the less of the frame is left."""
    size = frame.shape[0]
    wide = np.clip(cv2.resize(heat, (size, size), interpolation=cv2.INTER_CUBIC), 0, 1)
    colours = colormaps["inferno"](wide)[:, :, :3] * 255
    grey = np.repeat(frame.mean(axis=2, keepdims=True), 3, axis=2)
    share = 0.15 + 0.6 * wide[:, :, None]
    return np.asarray((1 - share) * grey + share * colours, dtype=np.uint8)


def film_strip(found: Explanation, frames: NDArray[np.uint8], title: str) -> bytes:
    """Draw an explanation as a PNG.

    Args:
        frames: (T, size, size, 3), RGB, that were explained.
        title: of the whole picture.
    """
    shown = shown_frames(found.importance)
    strips = [("frame", [frames[frame] for frame in shown])]
    if found.heat is not None:
        strips.append(("where", [overlaid(frames[frame], found.heat[frame]) for frame in shown]))
    with drawing():
        figure = Figure(figsize=(1.45 * len(shown) + 0.9, 1.5 * len(strips) + 3.0), layout="constrained")
        figure.suptitle(shorten(title, 80), fontsize=13)
        grid = figure.add_gridspec(len(strips) + 1, len(shown), height_ratios=[1.4] * len(strips) + [2.2])
        for row, (name, pictures) in enumerate(strips):
            for column, (frame, picture) in enumerate(zip(shown, pictures, strict=True)):
                axes = figure.add_subplot(grid[row, column])
                axes.imshow(picture)
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
                if row == 0:
                    axes.set_title(f"frame {found.indices[frame]}", fontsize=9, color=GREY)
                if column == 0:
                    axes.set_ylabel(name, color=GREY)
        _curve(figure.add_subplot(grid[len(strips), :]), found, shown)
        return png(figure)


def _curve(axes: Axes, found: Explanation, shown: list[int]) -> None:
    """Bars of each frame's importance, those of the strip marked; attention, where there is any, as a line of its own scale."""
    steps = np.arange(len(found.importance))
    axes.bar(steps, found.importance, color=np.where(found.importance >= 0, _FOR, _AGAINST), width=0.8)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.plot(shown, np.zeros(len(shown)), "^", color="black", markersize=5, clip_on=False, zorder=3)
    axes.set_xlim(-0.6, len(steps) - 0.4)
    ticks = steps[:: max(1, len(steps) // 16)]
    axes.set_xticks(ticks, [str(found.indices[tick]) for tick in ticks])
    axes.set_xlabel("frame of the clip (▲ shown above)")
    axes.set_ylabel("fall of log-probability\nwithout the frame")
    marks = [Patch(color=_FOR, label=f"for {shorten(found.label, 30)}")]
    if (found.importance < 0).any():
        marks.append(Patch(color=_AGAINST, label="against"))
    if found.attention is not None:
        other = axes.twinx()
        (line,) = other.plot(steps, 100 * found.attention, color=_ATTENTION, linewidth=1.5, label="attention")
        other.set_ylim(bottom=0)
        other.set_ylabel("attention, %")
        other.spines["right"].set_visible(True)
        marks.append(line)  # type: ignore[arg-type]
    axes.legend(handles=marks, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=9)
