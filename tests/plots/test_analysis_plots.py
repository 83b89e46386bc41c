import io
import warnings
from dataclasses import replace
from itertools import combinations

import matplotlib.image
import numpy as np
import pytest
from fabricate import BACKBONE, CLIP_TIMING, CONTEXT, NO_BACKBONE, trained
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from actionrec.evaluation.advice import advise
from actionrec.evaluation.analyses import Calibration, Ensemble, Missed, ModelCost, Order
from actionrec.evaluation.calibration import confidences, reliability
from actionrec.evaluation.comparison import Comparison
from actionrec.evaluation.intervals import Interval
from actionrec.evaluation.leaderboard import LeaderboardRow, Pair
from actionrec.evaluation.risk_coverage import risk_coverage
from actionrec.evaluation.significance_tests import PairedTest
from actionrec.evaluation.suspect_labels import LabelCheck
from actionrec.plots import canvas, contact_sheet, intervals, order, pareto, rows
from actionrec.plots import reliability as diagram
from actionrec.plots import risk_coverage as risk_plot

NAMES = ["bilstm", "gru", "lstm", "simple_rnn", "stacked_lstm", "swin_transformer", "transformer"]
CLOSE = (0.962, 0.956, 0.951, 0.946, 0.941, 0.924, 0.025)  # one at chance
FEW = (1.0, 1.0, 23 / 24, 23 / 24, 23 / 24, 21 / 24, 21 / 24)
PERFECT, CHANCE = (1.0,) * 7, (0.01,) * 7
AWKWARD = replace(CONTEXT, dataset="da$ta$_{\n動作 " + 15 * "long name ", weights="random", val_clips=0)


def around(top1, half):
    return Interval(max(0.0, top1 - half), min(1.0, top1 + half))


def standing(name, rank, top1, *, half=0.02, std=None):
    return LeaderboardRow(
        name=name,
        rank=rank,
        order_blind=False,
        top1=top1,
        std=std,
        fold_top1=(top1,),
        interval=around(top1, half),
        wilson=around(top1, half / 2),
        top5=1.0,
        top5_interval=Interval(0.9, 1.0),
        mean_class=top1,
        macro_f1=top1,
        val_top1=None,
        val_loss=None,
        parameters=10**6,
        flops=10**6 * rank,
        total_params=10**6,
        total_flops=10**6 * rank,
        best_epoch=1,
        epochs=1,
        majority_accuracy=0.1,
        p_majority=0.001,
        majority_low=max(0.0, top1 - half),
    )


def comparison(tops, apart=(), *, majority_accuracy=0.1, **how):
    """Models in order of rank, of which the pairs of places in `apart` differ."""
    leaderboard = tuple(
        standing(name, rank, top1, **how) for rank, (name, top1) in enumerate(zip(NAMES, tops, strict=False), start=1)
    )
    pairs = []
    for (a, one), (b, other) in combinations(enumerate(leaderboard), 2):
        p = 0.001 if (a, b) in apart else 1.0
        pairs.append(Pair(one.name, other.name, difference(one.top1 - other.top1, p), 0, 0, p))
    return Comparison(leaderboard, tuple(pairs), majority_accuracy, advise(leaderboard, pairs, 0.02, 30), NO_BACKBONE)


def difference(points=0.0, p=1.0):
    return PairedTest(points, Interval(points - 0.03, points + 0.03), p, 0.05)


ENSEMBLES = [
    Ensemble("all", tuple(NAMES), 0.97, around(0.97, 0.01), difference()),
    Ensemble("best triple", ("stacked_lstm", "swin_transformer", "transformer"), 0.965, around(0.965, 0.01), difference()),
]


def orders(tops, *, losses=(0.04, 0.02, 0.2), p=1.0):
    shuffled, backwards, still = losses
    return [
        Order(
            name,
            top1,
            {"shuffled": max(0, top1 - shuffled), "reversed": max(0, top1 - backwards), "one_frame": max(0, top1 - still)},
            difference(shuffled, p),
        )
        for name, top1 in zip(NAMES, tops, strict=False)
    ]


def calibrated(clips, models=7, temperature=0.5):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, clips)
    rows = []
    for name in NAMES[:models]:
        logits = rng.normal(size=(clips, 5)) + 2 * np.eye(5)[labels]
        before, after = (reliability(confidences(logits, labels, t)) for t in (1.0, temperature))
        rows.append(Calibration(name, temperature, 0.123, 0.045, before, after))
    return rows


def costs(tops, flops=(252, 671, 336, 152, 470, 84, 881), latency=(8.2, 19.6, 9.9, 9.1, 14.5, 4.1, 12.3), backbone=NO_BACKBONE):
    points = list(zip(NAMES, tops, flops, latency, strict=False))
    front = {
        name: not any((t >= top1 and f < flop) or (t > top1 and f <= flop) for _, t, f, _ in points)
        for name, top1, flop, _ in points
    }
    return [
        ModelCost(name, top1, 10**6, flop * 10**6, ms, 10.0, backbone, CLIP_TIMING, front[name]) for name, top1, flop, ms in points
    ]


def spread(tops, half=0.02):
    return {name: around(top1, half) for name, top1 in zip(NAMES, tops, strict=True)}


def clip(number, label="Rowing", said="Kayaking", votes=5):
    answers = {name: said if place < votes else "Surfing" for place, name in enumerate(NAMES)}
    return Missed(f"{label}/v_{label}_g{number:02}_c01.avi", label, answers)


def strip(frames=32, height=60, width=80):
    return np.arange(frames, dtype=np.uint8)[:, None, None, None] * np.ones((1, height, width, 3), dtype=np.uint8)


DRAW = {
    "intervals": lambda: intervals.accuracy_intervals(comparison(CLOSE[4:]), ENSEMBLES, CONTEXT),
    "order": lambda: order.order_of_frames(orders(CLOSE[4:]), 0.1, CONTEXT),
    "reliability": lambda: diagram.reliability_diagram(calibrated(24, models=2), CONTEXT),
    "pareto": lambda: pareto.accuracy_against_cost(costs(CLOSE[:3]), spread(CLOSE), CONTEXT),
    "missed": lambda: contact_sheet.missed_clips([clip(1)], {clip(1).clip: strip()}, CONTEXT),
}


class Drawn:
    """A checked picture and its figure."""

    def __init__(self, figure, pixels):
        self.figure = figure
        self.pixels = pixels
        self.texts = [text.get_text() for text in _visible(figure)]

    def says(self, *sayings):
        return all(any(what in text for text in self.texts) for what in sayings)

    def is_silent_on(self, *sayings):
        return not any(what in text for text in self.texts for what in sayings)


def _visible(figure):
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


@pytest.fixture
def check(monkeypatch):
    """Draw a picture, and check that nothing is cut off and no texts overlap."""
    drawn = []

    def png(figure):
        contents = canvas.png(figure)
        assert b"Software" not in contents
        pixels = matplotlib.image.imread(io.BytesIO(contents), format="png")
        border = np.concatenate(
            [pixels[:2].reshape(-1, 4), pixels[-2:].reshape(-1, 4), pixels[:, :2].reshape(-1, 4), pixels[:, -2:].reshape(-1, 4)]
        )
        assert (border == 1).all(), "something reaches the edge of the picture"
        renderer = FigureCanvasAgg(figure).get_renderer()
        boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in _visible(figure)]
        for text, box in boxes:
            assert (box.min >= figure.bbox.min).all(), text
            assert (box.max <= figure.bbox.max).all(), text
        for (one, box), (other, its) in combinations(boxes, 2):
            assert not box.padded(-1).overlaps(its.padded(-1)), f"{one!r} lies on {other!r}"
        drawn.append(Drawn(figure, pixels))
        return contents

    for module in (intervals, order, diagram, pareto, risk_plot, contact_sheet):
        monkeypatch.setattr(module, "png", png)

    def picture(draw, *arguments):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            draw(*arguments)
        return drawn[-1]

    return picture


@pytest.mark.parametrize("name", DRAW)
def test_a_picture_is_the_same_bytes_on_every_run(name):
    with matplotlib.rc_context({"lines.linewidth": 9, "axes.facecolor": "red", "savefig.dpi": 30}):
        changed = DRAW[name]()  # nor does the user's matplotlibrc change it
    assert DRAW[name]() == changed


def test_intervals_of_a_close_field_with_one_model_at_chance(check):
    tied_but_for = {(0, 5), (1, 5), *((place, 6) for place in range(6))}
    close = comparison(CLOSE, tied_but_for, std=0.004)
    seen = check(intervals.accuracy_intervals, close, ENSEMBLES, replace(CONTEXT, seeds=3))
    assert seen.pixels.shape[1] == 12 * canvas.DPI
    assert seen.says("96.2", "± 0.4", "(94.2–98.2)")
    assert seen.says("stacked_lstm + swin_transformer + transformer", "all 7")
    # The model at chance and the majority class are far below: the axis leaves them out, and text at the edge names them.
    assert seen.says("far below, at 2.5", "always the most frequent class: 10.0")
    assert seen.figure.axes[0].get_xlim()[0] > 80


@pytest.mark.parametrize("tops", [PERFECT, CHANCE])
def test_intervals_of_models_that_all_tie(check, tops):
    seen = check(intervals.accuracy_intervals, comparison(tops, majority_accuracy=0.01), [], AWKWARD)
    assert seen.is_silent_on("±")
    assert seen.says(f"7. {NAMES[-1]}")


def test_intervals_say_which_models_tie_with_the_first(check):
    seen = check(intervals.accuracy_intervals, comparison(CLOSE[:4], {(0, 2), (1, 3)}), [], CONTEXT)
    assert (seen.texts.count("not shown to differ"), seen.texts.count("less accurate")) == (2, 1)


def test_an_axis_spans_at_least_ten_points_within_0_and_100_without_rows_far_below():
    assert rows.percent_limits([(93, 97), (91, 96), (1, 4)]) == (89, 99)
    assert rows.percent_limits([(100, 100)]) == (90, 100)
    assert rows.percent_limits([(0, 1)] * 7) == (0, 10)
    assert rows.percent_limits([(60, 100), (40, 90), (20, 29)]) == (20, 100)
    assert rows.percent_limits([(95, 96), (1, 4), (1, 4)]) == (1, 96)  # most are down there


def test_ticks_are_round_and_none_is_above_100():
    assert rows.percent_ticks(69.5, 101) == [70, 80, 90, 100]
    assert rows.percent_ticks(-0.3, 10.3) == [0, 2, 4, 6, 8, 10]


def test_order_of_frames_marks_significant_losses(check):
    some_real = [*orders(CLOSE, p=0.001)[:2], *orders(CLOSE)[2:]]
    seen = check(order.order_of_frames, some_real, 0.02, CONTEXT)
    assert sum("★" in text for text in seen.texts) == 2
    assert seen.says("4.0", "(1.0 to 7.0)", "significant (p < 0.05)")
    assert seen.says("far below, at 2.5")


@pytest.mark.parametrize("tops", [PERFECT, CHANCE])
def test_order_of_frames_without_any_loss(check, tops):
    seen = check(order.order_of_frames, orders(tops, losses=(0.0, 0.0, 0.0)), 0.01, AWKWARD)
    assert seen.says("0.0")
    assert seen.is_silent_on("★", "−0.0")


def test_equal_accuracies_of_changed_orders_do_not_hide_one_another(check):
    seen = check(order.order_of_frames, orders((0.5,), losses=(0.0, 0.0, 0.0)), 0.4, CONTEXT)
    dots = [line for line in seen.figure.axes[0].lines if line.get_marker() in ("o", "D", "s")]
    assert len({line.get_marker() for line in dots}) == 3
    assert np.diff([line.get_ydata()[0] for line in dots]) == pytest.approx([0.22, 0.22])  # rows of 0.7 inches


def test_reliability_of_few_clips_carries_a_warning(check):
    rows = calibrated(24)
    seen = check(diagram.reliability_diagram, [replace(rows[0], temperature=0.05), *rows[1:]], replace(CONTEXT, test_clips=24))
    assert seen.says("ECE 12.3 → 4.5 %, T = 0.50", "T ≤ 0.05")
    assert seen.says("so few clips")
    before, after = seen.figure.axes[1].collections  # of the first model
    assert len(before.get_offsets()) == (rows[0].before.count > 0).sum() < 15  # no dot where there are no clips
    assert len(after.get_offsets()) == (rows[0].after.count > 0).sum()
    assert np.isfinite(after.get_offsets()).all()


def test_reliability_without_a_temperature(check):
    seen = check(diagram.reliability_diagram, calibrated(2000, models=4, temperature=1.0), replace(AWKWARD, test_clips=2000))
    assert seen.says("ECE 12.3 %", "No temperature")
    assert seen.is_silent_on("T =", "before", "so few clips")


def test_cost_names_each_model_once_and_a_model_far_below_is_marked_on_the_edge(check):
    seen = check(pareto.accuracy_against_cost, costs(CLOSE), spread(CLOSE), replace(CONTEXT, seeds=3))
    assert [seen.texts.count(name) for name in NAMES[:-1]] == [1] * 6
    assert seen.texts.count(f"{NAMES[-1]}\n(2.5 %, below the axis)") == 1
    assert seen.says("of the mean of 3 seeds")
    assert seen.figure.axes[0].get_ylim()[0] > 80
    for axes in seen.figure.axes:
        [edge] = [line for line in axes.lines if line.get_marker() == 7]
        assert edge.get_ydata()[0] == axes.get_ylim()[0]


def test_the_pareto_front_is_drawn_as_rising_steps(check):
    seen = check(pareto.accuracy_against_cost, costs(CLOSE), spread(CLOSE), CONTEXT)
    operations, latency, alone = seen.figure.axes
    [steps] = [line for line in operations.lines if line.get_linestyle() == "--"]
    np.testing.assert_allclose(steps.get_xydata(), [(0.084, 92.4), (0.152, 94.6), (0.252, 96.2)])
    assert not [line for axes in (latency, alone) for line in axes.lines if line.get_linestyle() == "--"]


def test_costs_with_a_large_backbone_are_nearly_equal_and_the_title_says_so(check):
    seen = check(pareto.accuracy_against_cost, costs(CLOSE, backbone=BACKBONE), spread(CLOSE), CONTEXT)
    latency, alone = seen.figure.axes
    assert seen.says("All models cost the same within 1 % (operations with the backbone, GFLOPs: 262)")
    assert not any("Pareto front" in text for text in seen.texts)  # it is about the panel that is left out
    assert min(line.get_xdata()[0] for line in latency.lines) == pytest.approx(1004.1)  # decoding, backbone, the fastest model
    assert len(alone.lines) == 7 + 6  # the model at chance is below the axis


def test_each_model_has_its_own_marker(check):
    seen = check(pareto.accuracy_against_cost, costs(FEW), spread(FEW, half=0.3), AWKWARD)
    assert len({line.get_marker() for line in seen.figure.axes[0].lines if line.get_linestyle() == "None"}) == 7


def test_identical_costs_still_have_a_tick(check):
    same = costs(PERFECT, flops=(320,) * 7, latency=(3.2,) * 7)
    [alone] = check(pareto.accuracy_against_cost, same, spread(PERFECT), CONTEXT).figure.axes
    assert len(alone.get_xticks())


def test_ticks_of_a_narrow_range_do_not_overlap(check):
    narrow = costs(CLOSE[:6], latency=[4000 + 20 * place for place in range(6)])
    latency = check(pareto.accuracy_against_cost, narrow, spread(CLOSE), CONTEXT).figure.axes[1]
    assert [label.get_text() for label in latency.get_xticklabels()] == ["5,000"]


def test_costs_that_span_many_powers_of_ten(check):
    wide = costs(CLOSE[:6], flops=[10**place for place in range(6)], latency=[0.01 * 10**place for place in range(6)])
    seen = check(pareto.accuracy_against_cost, wide, spread(CLOSE), CONTEXT)
    assert [label.get_text() for label in seen.figure.axes[2].get_xticklabels()] == ["1", "10", "100", "1,000", "10,000", "100,000"]


def answers(name, right, confident, threshold=0.0):
    """A model's curve: `right` and `confident` are of each clip."""
    model = trained(name, right, threshold=threshold)
    logits = model.predictions.answers.logits
    logits *= np.asarray(confident, dtype=np.float32)[:, None]
    return risk_coverage(model)


def test_risk_over_coverage_marks_the_threshold_of_the_model_to_deploy(check):
    right, confident = np.arange(100) < 90, np.linspace(9, 1, 100)
    curves = [answers("gru", right, confident, threshold=0.5), answers("lstm", right[::-1], confident, threshold=0.9)]
    seen = check(risk_plot.risk_coverage_curves, curves, "gru", CONTEXT)
    thick, thin, mark = seen.figure.axes[0].lines
    assert thick.get_linewidth() > thin.get_linewidth()
    assert (thick.get_xdata()[-1], thick.get_ydata()[-1]) == (100, 10)
    point = curves[0].at_threshold
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (100 * point.coverage, 100 * point.risk)
    assert seen.says("gru, to deploy", "threshold 50 %:")


def test_risk_over_coverage_without_errors_or_a_threshold(check):
    seen = check(risk_plot.risk_coverage_curves, [answers("gru", [True] * 4, [1] * 4)], "gru", AWKWARD)
    assert seen.says("no threshold")
    assert seen.figure.axes[0].get_ylim()[1] > 5


def test_missed_clips_show_their_first_frame_their_last_and_three_between(check):
    seen = check(contact_sheet.missed_clips, [clip(1)], {clip(1).clip: strip(frames=32)}, CONTEXT)
    assert [image.get_array().mean() for image in seen.figure.axes[0].images] == [0, 8, 16, 23, 31]
    assert seen.says("Rowing ← Kayaking (5 of 7)", "Rowing/v_Rowing_g01_c01.avi")
    assert seen.says("1 of 100")


def test_missed_clips_beyond_the_twelfth_are_counted(check):
    clips = [clip(number) for number in range(14)]
    frames = {one.clip: strip() for one in clips[:11]}
    seen = check(contact_sheet.missed_clips, clips, frames, CONTEXT)
    assert seen.says("and 2 more", "14 of 100")
    assert sum("Kayaking" in text for text in seen.texts) == contact_sheet.SHOWN
    assert seen.says("no frames")  # of the twelfth
    assert seen.pixels.shape[0] < 13 * canvas.DPI


def test_missed_clips_with_awkward_names_and_shapes(check):
    names = ("$a$b$", "W" * 200, "動作" * 60, "\\frac{_^}", "<b>&</b>", "line\nbreak")
    clips = [clip(number, label=name, said=name[::-1]) for number, name in enumerate(names)]
    shapes = [(1, 90, 160), (3, 160, 90), (5, 1, 1), (32, 224, 224), (2, 240, 320), (7, 30, 900)]
    frames = {one.clip: strip(*shape) for one, shape in zip(clips, shapes, strict=True)}
    seen = check(contact_sheet.missed_clips, clips, frames, AWKWARD)
    assert seen.says("line break ← kaerb enil")


def test_suspect_labels_are_drawn_with_the_suggested_class(check):
    suspect = LabelCheck("Rowing/v_1.avi", "Rowing", "Kayaking", 0.02, 0.913, suspect=True)
    right = LabelCheck("Rowing/v_2.avi", "Rowing", "Rowing", 0.9, 0.9, suspect=False)
    seen = check(contact_sheet.suspect_labels, [suspect, right], {suspect.clip: strip()}, CONTEXT)
    assert seen.says("Rowing ← Kayaking (91.3 %)", "Rowing/v_1.avi", "Test clips whose label is probably wrong: 1 of 100")
    assert not any("v_2" in text for text in seen.texts)
    assert check(contact_sheet.suspect_labels, [right], {}, CONTEXT).says("No test clip has a suspect label.")


def test_without_missed_clips_a_small_picture_says_so(check):
    seen = check(contact_sheet.missed_clips, [], {}, replace(AWKWARD, dataset="da$ta$_{"))
    assert seen.says("At least one model classifies each test clip correctly.")
    assert seen.pixels.shape[0] < 3 * canvas.DPI
