import io
import warnings
from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest
from fabricate import BACKBONE, CONTEXT, first_right, trained

from actionrec.evaluation.comparison import compare
from actionrec.models import MODELS
from actionrec.plots import canvas, confusion, curves, overview

HISTORY = curves.History(2, (2.0, 1.0, 0.5), (0.2, 0.6, 0.9), (2.1, 1.2, 1.3), (0.2, 0.5, 0.4))


def pixels(png):
    assert png.startswith(b"\x89PNG")
    assert b"Software" not in png
    return matplotlib.image.imread(io.BytesIO(png), format="png")


def leaderboard(counts=(90, 88, 60, 50, 40, 30, 5)):
    models = [trained(name, first_right(count), parameters=10**6) for name, count in zip(MODELS, counts, strict=False)]
    return compare(models, 0.02, BACKBONE)


def seconds():
    return {name: 10.0 * place for place, name in enumerate(MODELS, start=1)}


def test_every_model_has_a_colour_of_its_own():
    assert set(canvas.COLOURS) == set(MODELS)
    assert len(set(canvas.COLOURS.values())) == len(MODELS)


def test_pictures_are_the_same_bytes_on_every_run():
    result = leaderboard()
    draw = [
        lambda: overview.model_comparison(result, CONTEXT, seconds()),
        lambda: curves.model_curves("gru", HISTORY, CONTEXT),
        lambda: confusion.confusion_matrix(result.leaderboard[0], np.eye(6, dtype=np.int64), CONTEXT),
    ]
    for picture in draw:
        assert picture() == picture()


def test_the_user_s_matplotlibrc_changes_nothing():
    plain = curves.model_curves("gru", HISTORY, CONTEXT)
    with matplotlib.rc_context({"lines.linewidth": 9, "axes.facecolor": "red", "savefig.dpi": 30}):
        assert curves.model_curves("gru", HISTORY, CONTEXT) == plain


@pytest.mark.parametrize("counts", [(90, 90, 90, 90, 90, 90, 90), (100, 100, 99, 99, 98, 98, 97), (0, 0, 0, 0, 0, 0, 0)])
def test_ties_perfection_and_failure_can_be_drawn(counts):
    picture = pixels(overview.model_comparison(leaderboard(counts), CONTEXT, seconds()))
    assert picture.shape[1] == 12 * canvas.DPI


@pytest.mark.parametrize("epochs", [1, 2, 60])
def test_any_number_of_epochs_can_be_drawn(epochs):
    values = tuple(np.linspace(1, 0.1, epochs))
    history = curves.History(1, values, values, values, values)
    pixels(curves.model_curves("gru", history, CONTEXT))


def test_a_diverged_training_can_be_drawn():
    nan, inf = float("nan"), float("inf")
    history = curves.History(1, (1.0, inf, nan), (0.1, 0.1, 0.1), (nan, nan, nan), (0.1, 0.1, 0.1))
    pixels(curves.model_curves("gru", history, CONTEXT))
    everything = curves.History(1, (nan,), (nan,), (nan,), (nan,))
    pixels(curves.all_models_grid(list(MODELS), dict.fromkeys(MODELS, everything), CONTEXT))


def test_the_grid_shows_all_epochs_of_every_model_and_leaves_out_models_without_a_curve(monkeypatch):
    longer = curves.History(4, *[(0.5, 0.4, 0.3, 0.2)] * 4)
    single = curves.History(1, (0.1,), (1.0,), (50.0,), (0.5,))
    monkeypatch.setattr(curves, "png", lambda figure: figure)
    names = ["mean_pool", "gru", "lstm"]
    figure = curves.all_models_grid(names, {"gru": longer, "lstm": HISTORY, "mean_pool": single}, CONTEXT)
    assert "not shown, as they have a single epoch: mean_pool" in figure.get_suptitle()
    drawn = [axes for axes in figure.axes if axes.lines]
    assert [axes.get_title() for axes in drawn] == ["2. gru", "3. lstm", "", ""]
    assert {axes.get_xlim() for axes in drawn} == {(0.5, 4.5)}
    assert drawn[0].get_ylim()[1] < 3  # the loss of 50 is not drawn
    alone = curves.all_models_grid(["mean_pool"], {"mean_pool": single}, CONTEXT)
    assert [axes.get_title() for axes in alone.axes if axes.lines] == ["1. mean_pool", ""]


@pytest.mark.parametrize("classes", [2, 8, 15, 50, 60, 61, 700])
def test_confusion_of_any_size_can_be_drawn(classes):
    counts = np.diag(np.full(classes, 9))
    counts[0, 1] = 1
    context = replace(CONTEXT, class_names=tuple(f"Class{place}" for place in range(classes)))
    height, width = pixels(confusion.confusion_matrix(leaderboard().leaderboard[0], counts, context)).shape[:2]
    assert min(height, width) > 3 * canvas.DPI
    assert max(height, width) < 22 * canvas.DPI


def test_one_error_in_thirty_can_be_seen():
    context = replace(CONTEXT, class_names=("a", "b"))
    right = confusion.confusion_matrix(leaderboard().leaderboard[0], np.array([[30, 0], [0, 30]]), context)
    wrong = confusion.confusion_matrix(leaderboard().leaderboard[0], np.array([[29, 1], [0, 30]]), context)
    assert np.abs(pixels(right) - pixels(wrong)).max() > 0.1


def test_a_class_without_test_clips_can_be_drawn():
    pixels(
        confusion.confusion_matrix(leaderboard().leaderboard[0], np.diag([5, 0, 5]), replace(CONTEXT, class_names=("a", "b", "c")))
    )


def test_awkward_names_can_be_drawn_without_a_warning():
    names = ("$a$b$", "x" * 200, "動作🤸", "\\frac{_^}", "<b>&</b>", "line\nbreak")
    context = replace(CONTEXT, class_names=names, dataset="da$ta$_{")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels(confusion.confusion_matrix(leaderboard().leaderboard[0], np.eye(6, dtype=np.int64), context))
        pixels(overview.model_comparison(leaderboard(), context, seconds()))
