"""Fonts and colours of all plots, and PNG bytes that do not change from run to run."""

import io
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from typing import Any

from matplotlib import font_manager, style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from actionrec.core.text import shorten
from actionrec.models import MODELS

DPI = 120

# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/), which people with any colour vision can tell apart; its yellow is left
# out, as it is faint on white.
_CHOSEN = {
    "simple_rnn": "#E69F00",
    "lstm": "#56B4E9",
    "gru": "#009E73",
    "bilstm": "#0072B2",
    "stacked_lstm": "#D55E00",
    "transformer": "#CC79A7",
    "swin_transformer": "#000000",
    "gru_attention": "#661100",  # of the palette below: Okabe and Ito's has no more
}
_FURTHER = ("#882255", "#999933", "#332288", "#AA4499")  # from Paul Tol's muted palette, for models without a chosen colour
COLOURS = _CHOSEN | dict(zip((name for name in MODELS if name not in _CHOSEN), cycle(_FURTHER), strict=False))
"""One colour per model, the same in every picture."""
GREY = "#666666"

# For scripts that DejaVu lacks; used if installed.
FALLBACK_FONTS = ("Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "Noto Sans Devanagari", "Noto Sans Thai")


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with the project's settings, whatever the user's matplotlibrc says."""
    installed = set(font_manager.get_font_names())
    settings: dict[str, Any] = {
        "font.family": ["DejaVu Sans", *(font for font in FALLBACK_FONTS if font in installed)],
        "font.size": 10,
        "text.parse_math": False,  # a class may be named "$5 or $10"
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 11,
        "figure.dpi": DPI,
        "savefig.dpi": DPI,
    }
    with style.context(["default", settings]), warnings.catch_warnings():
        # A character that no installed font has is drawn as an empty box; a warning for each would fill the log.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        yield


def fit(name: str, limit: int) -> str:
    """Shorten a name to the width of `limit` Latin letters; East Asian characters are twice as wide."""
    wide = sum(unicodedata.east_asian_width(sign) in "WF" for sign in name)
    return shorten(name, max(2, limit * len(name) // (len(name) + wide)))


def write_fitted(axes: Axes, place: tuple[float, float], width: float, most: int, text: Callable[[int], str], **look: Any) -> None:
    """Write the longest version of a text that fits the width.

    Args:
        width: inches.
        most: letters to start from; reduced until the text fits, as letters differ in width.
        text: makes the text for a number of letters.
    """
    renderer = FigureCanvasAgg(axes.get_figure(root=True)).get_renderer()
    written, letters = axes.text(*place, text(most), va="bottom", **look), most
    while letters > 4 and (taken := written.get_window_extent(renderer).width) > width * DPI:
        letters = max(4, min(letters - 1, int(letters * width * DPI / taken)))
        written.set_text(text(letters))


def png(figure: Figure, *, tight: bool = False) -> bytes:
    """Render a figure; `tight` fits the picture to its contents.

    The "Software" entry is left out, since it names matplotlib's version.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None}, bbox_inches="tight" if tight else None, pad_inches=0.15)
    return buffer.getvalue()
