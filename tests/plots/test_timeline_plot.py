"""The picture of a timeline: colours of the band, and the legend that explains them."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from actionrec.inference.predictor import Prediction
from actionrec.inference.timeline import Moment, segments
from actionrec.plots import timeline as plots

NAMES = ["_background", "PlayingTheViolinInAnOrchestraOnStage", "$5 or $10", *(f"Class{number:02}" for number in range(3, 24))]


def film(*answers):
    """Windows of 2 s, one after the other, with these classes as their answers; None is unsure."""
    moments = []
    for place, answer in enumerate(answers):
        shares = np.full(len(NAMES), 0.01)
        shares[0 if answer is None else answer] += 0.4 if answer is None else 0.76
        moments.append(Moment(2.0 * place, 2.0 * place + 2, Prediction(NAMES, shares, 0.6)))
    return moments


def drawn(monkeypatch, moments):
    """The figure of a timeline, laid out."""
    figures = []
    monkeypatch.setattr(plots, "png", lambda figure: figures.append(figure) or figure.draw_without_rendering())
    plots.timeline(moments, segments(moments), "film.mp4")
    return figures[0]


@pytest.mark.parametrize("count", [1, 3, 10, len(plots.COLOURS), 20])
def test_the_legend_names_every_colour_of_the_band_and_has_room(monkeypatch, count):
    longest_last = [answer for answer in range(count) for _ in range(1 + answer)]
    moments = film(*longest_last, None, 0)  # `0` first and last: still one of the shortest
    figure = drawn(monkeypatch, moments)
    (legend,) = figure.legends
    named = {text.get_text(): to_hex(patch.get_facecolor()) for text, patch in zip(legend.texts, legend.get_patches(), strict=True)}
    assert len(set(named.values())) == len(named)
    coloured = min(count, len(plots.COLOURS))
    chosen = [plots.shorten(NAMES[answer], 28) for answer in range(count)][count - coloured :]
    more = {f"+ {count - coloured} more": plots.REST_COLOUR} if count > coloured else {}
    assert named == {**dict(zip(chosen, plots.COLOURS, strict=False)), **more, "not sure": plots.NONE_COLOUR}

    band = figure.axes[0]
    for segment, span in zip(segments(moments), band.patches, strict=True):
        name = "not sure" if segment.none_of_these else plots.shorten(segment.answer, 28)
        assert to_hex(span.get_facecolor()) == named.get(name, plots.REST_COLOUR)

    place = legend.get_window_extent()
    assert place.x0 >= 0
    assert place.x1 <= figure.bbox.width
    assert place.y0 >= 0
    assert place.y1 <= figure.axes[1].get_tightbbox().y0  # of the time labels


def test_a_timeline_of_certain_answers_has_no_entry_for_unsure_ones(monkeypatch):
    figure = drawn(monkeypatch, film(3, 3, 4))
    assert [text.get_text() for text in figure.legends[0].texts] == ["Class03", "Class04"]
