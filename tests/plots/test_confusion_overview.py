"""The overview of a confusion matrix with many classes, and the list of confusions beside it."""

import io
import warnings
from dataclasses import replace
from itertools import combinations

import matplotlib.image
import numpy as np
import pytest
from fabricate import BACKBONE, CONTEXT, first_right, trained
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from actionrec.evaluation.comparison import compare
from actionrec.plots import canvas, confusion, confusion_overview
from actionrec.plots.confusion_overview import LEAST_PIXELS, MOST_PAIRS, pooled_shares, spread


@pytest.fixture(scope="module")
def row():
    return compare([trained(name, first_right(count)) for name, count in (("gru", 90), ("lstm", 80))], 0.02, BACKBONE).leaderboard[
        0
    ]


def context(classes):
    return replace(CONTEXT, class_names=tuple(f"class {number:03}" for number in range(classes)))


def drawn(monkeypatch, *arguments):
    """The figure and its visible texts; checks that none lies on another or is cut off."""
    figures = []
    monkeypatch.setattr(confusion_overview, "png", lambda figure: figures.append(figure) or canvas.png(figure))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = confusion.confusion_matrix(*arguments)
    pixels = matplotlib.image.imread(io.BytesIO(picture), format="png")
    assert (pixels[[0, -1]] == 1).all()
    assert (pixels[:, [0, -1]] == 1).all()
    [figure] = figures
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    with canvas.drawing():
        boxes = [(text.get_text(), Text.get_window_extent(text, renderer)) for text in texts]  # without an annotation's line
    for (one, box), (other, its) in combinations(boxes, 2):
        assert not box.padded(-1).overlaps(its.padded(-1)), f"{one!r} lies on {other!r}"
    return figure, [text.get_text() for text in texts]


def chain(classes):
    """Each class is confused with the next one: the first of them most often."""
    counts = np.diag(np.full(classes, 100))
    counts[np.arange(classes - 1), np.arange(1, classes)] = np.arange(classes - 1, 0, -1)
    return counts


def test_the_overview_replaces_the_matrix_above_its_number_of_classes(row, monkeypatch):
    monkeypatch.setattr(confusion, "confusion_overview", lambda *_: b"overview")
    assert confusion.confusion_matrix(row, chain(confusion.MOST_CLASSES + 1), context(confusion.MOST_CLASSES + 1)) == b"overview"
    assert confusion.confusion_matrix(row, chain(confusion.MOST_CLASSES), context(confusion.MOST_CLASSES)) != b"overview"


def test_the_most_frequent_confusions_are_listed_with_counts_and_shares(row, monkeypatch):
    _, texts = drawn(monkeypatch, row, chain(61), context(61))
    listed = [text for text in texts if "→" in text and ":" not in text]
    assert listed == [f"class {number:03} → class {number + 1:03}" for number in range(MOST_PAIRS)]
    assert "60 of 160, 37.5 %" in texts
    assert "41 of 141, 29.1 %" in texts
    # Their true classes are named beside the matrix, too.
    assert {text for text in texts if text.startswith("class") and "→" not in text} == {f"class {n:03}" for n in range(MOST_PAIRS)}


@pytest.mark.parametrize("classes", [61, 300, 700])
def test_every_cell_is_large_enough_to_be_seen(row, monkeypatch, classes):
    figure, texts = drawn(monkeypatch, row, chain(classes), context(classes))
    axes = next(axes for axes in figure.axes if axes.images)
    cells = len(axes.images[0].get_array())
    assert axes.get_window_extent().width / cells >= LEAST_PIXELS
    assert (f"{-(-classes // cells)} classes per cell" in " ".join(texts)) == (cells < classes)
    assert cells >= classes / 3


def test_neighbouring_classes_are_pooled_as_one():
    counts = np.arange(25).reshape(5, 5)
    shares = pooled_shares(counts, 2)
    assert shares.shape == (3, 3)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert shares[0, 1] == pytest.approx((2 + 3 + 7 + 8) / counts[:2].sum())
    assert shares[2, 2] == pytest.approx(24 / counts[4].sum())
    assert np.isnan(pooled_shares(np.diag([1, 1, 0, 0, 1]), 2)[1]).all()


@pytest.mark.parametrize("name", ["動作" * 40, "PLAYING" * 9, "$a_{b}^", "line\nbreak 🤸"], ids=["cjk", "wide", "math", "emoji"])
def test_awkward_names_and_classes_without_clips_can_be_drawn(row, monkeypatch, name):
    counts = chain(70)
    counts[50] = 0
    named = replace(CONTEXT, class_names=tuple(f"{name}{number}" for number in range(70)), dataset=50 * "da$ta$_{")
    _, texts = drawn(monkeypatch, row, counts, named)
    assert any("grey: no test clips" in text for text in texts)


def test_a_model_without_errors_can_be_drawn(row, monkeypatch):
    _, texts = drawn(monkeypatch, row, np.diag(np.full(61, 2)), context(61))
    assert "No test clip is classified wrongly." in texts


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([], []),
        ([1, 5], [1, 5]),
        ([1, 1.5, 9.5, 10], [1, 3, 8, 10]),
        ([0, 0, 0, 0, 0, 0], [0, 2, 4, 6, 8, 10]),
        ([10, 10], [8, 10]),
    ],
)
def test_places_are_moved_apart_up_to_the_end(places, expected):
    assert spread(places, 2, 10) == expected


def test_the_picture_is_the_same_bytes_on_every_run(row):
    counts = np.random.default_rng(0).poisson(1, (100, 100))
    with matplotlib.rc_context({"lines.linewidth": 9, "axes.facecolor": "red", "savefig.dpi": 30}):
        changed = confusion.confusion_matrix(row, counts, context(100))
    assert confusion.confusion_matrix(row, counts, context(100)) == changed
