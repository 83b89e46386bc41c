import numpy as np
import pytest
from scipy.stats import norm, permutation_test

from actionrec.data.clips import Clip, cluster_ids
from actionrec.evaluation import intervals_and_tests
from actionrec.evaluation.intervals_and_tests import (
    Interval,
    better_than,
    cluster_difference,
    cluster_interval,
    holm,
    mcnemar,
    wilson,
)


@pytest.mark.parametrize(("correct", "low", "high"), [(1300, 96.2, 98.0), (1292, 95.5, 97.5)])
def test_wilson_of_the_study_s_counts(correct, low, high):
    interval = wilson(correct, 1337)
    assert (round(100 * interval.low, 1), round(100 * interval.high, 1)) == (low, high)


def test_wilson_by_its_formula():
    z, p, n = 1.959963984540054, 0.3, 10
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    interval = wilson(3, 10)
    assert interval.low == pytest.approx(middle - half)
    assert interval.high == pytest.approx(middle + half)


@pytest.mark.parametrize(("correct", "total"), [(0, 1), (1, 1), (0, 24), (24, 24), (5, 8), (10**6, 10**6)])
def test_wilson_holds_the_share_and_stays_within_0_and_1(correct, total):
    interval = wilson(correct, total)
    assert isinstance(interval, Interval)
    assert 0 <= interval.low <= correct / total <= interval.high <= 1
    assert interval.low < interval.high


def test_wilson_needs_clips():
    with pytest.raises(ValueError, match="n"):
        wilson(0, 0)


def answers(both, only_first, only_second, neither):
    first = [True] * (both + only_first) + [False] * (only_second + neither)
    second = [True] * both + [False] * only_first + [True] * only_second + [False] * neither
    return np.array(first), np.array(second)


def test_mcnemar_is_a_fair_coin_over_the_clips_on_which_they_differ():
    test = mcnemar(*answers(both=50, only_first=8, only_second=2, neither=7))
    assert (test.only_first, test.only_second) == (8, 2)
    # Two-sided: 2 * (C(10,0) + C(10,1) + C(10,2)) / 2**10.
    assert test.p == pytest.approx(2 * (1 + 10 + 45) / 1024)


def test_mcnemar_ignores_the_clips_on_which_they_agree():
    few, many = mcnemar(*answers(0, 8, 2, 0)), mcnemar(*answers(900, 8, 2, 90))
    assert few.p == many.p


def test_mcnemar_does_not_depend_on_the_order_of_the_models():
    first, second = answers(10, 7, 1, 3)
    assert mcnemar(first, second).p == mcnemar(second, first).p


def test_mcnemar_of_the_same_answers_is_1():
    first, _ = answers(3, 4, 0, 2)
    assert mcnemar(first, first).p == 1.0


def test_mcnemar_refuses_different_clips():
    with pytest.raises(ValueError, match=r"same clips: \(3,\) against \(2,\)"):
        mcnemar(np.ones(3, dtype=bool), np.ones(2, dtype=bool))


def test_better_than_counts_the_upper_tail():
    assert better_than(3, 3, 0.5) == pytest.approx(1 / 8)
    assert better_than(2, 3, 0.5) == pytest.approx(4 / 8)
    assert better_than(0, 3, 0.5) == pytest.approx(1)
    assert better_than(3, 3, 1.0) == pytest.approx(1)


def test_holm_by_a_worked_example():
    # Sorted: 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1 (raised to the one before).
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_keeps_order_and_stays_within_1():
    p_values = (np.random.default_rng(0).random(21) / 10).tolist()
    corrected = holm(p_values)
    in_order = [corrected[place] for place in np.argsort(p_values)]
    assert in_order == sorted(in_order)
    assert all(raw <= new <= 1 for raw, new in zip(p_values, corrected, strict=True))
    assert min(corrected) == 21 * min(p_values)


def test_holm_of_none_and_of_one():
    assert holm([]) == []
    assert holm([0.2]) == [0.2]


def clustered(rng, *, clusters, accuracy, correlation, largest=7, smallest=4):
    """Right answers (n,) and units (n,): each unit has a chance of its own (beta-binomial)."""
    unit = np.repeat(np.arange(clusters), rng.integers(smallest, largest + 1, clusters))
    chances = rng.beta(accuracy * (1 / correlation - 1), (1 - accuracy) * (1 / correlation - 1), clusters)
    return (rng.random(len(unit)) < chances[unit]).astype(float), unit


@pytest.mark.parametrize("correct", [1, 5, 30, 96, 100])
def test_on_clips_without_siblings_the_interval_is_wilson_s_or_a_little_wider(correct):
    interval, plain = cluster_interval((np.arange(100) < correct).astype(float), np.arange(100)), wilson(correct, 100)
    assert interval.low <= plain.low + 1e-9
    assert interval.high >= plain.high - 1e-9
    assert interval.high - interval.low < 1.25 * (plain.high - plain.low)


def test_clips_that_repeat_their_unit_add_nothing():
    once = (np.random.default_rng(0).random(40) < 0.8).astype(float)
    few, many = cluster_interval(once, np.arange(40)), cluster_interval(np.repeat(once, 9), np.repeat(np.arange(40), 9))
    assert (many.low, many.high) == pytest.approx((few.low, few.high))
    plain = wilson(int(9 * once.sum()), 360)
    assert many.high - many.low > 2 * (plain.high - plain.low)


@pytest.mark.parametrize("accuracy", [0.5, 0.9, 0.99])
def test_the_interval_holds_the_share_and_stays_within_0_and_1(accuracy):
    rng = np.random.default_rng(0)
    for clusters in (2, 3, 5, 30):
        for _ in range(5):
            correct, unit = clustered(rng, clusters=clusters, accuracy=accuracy, correlation=0.5, smallest=1)
            interval = cluster_interval(correct, unit)
            assert 0 <= interval.low <= correct.mean() <= interval.high <= 1
            assert interval.low < interval.high


def test_all_right_and_all_wrong_are_as_sure_as_the_units_allow():
    clusters = np.repeat(np.arange(10), 5)
    ones, zeros = cluster_interval(np.ones(50), clusters), cluster_interval(np.zeros(50), clusters)
    assert (ones.low, ones.high) == pytest.approx((wilson(10, 10).low, 1))
    assert (zeros.low, zeros.high) == pytest.approx((0, wilson(0, 10).high))


def test_units_of_unequal_size_count_for_fewer():
    clusters = np.repeat(np.arange(10), [41] + [1] * 9)
    assert cluster_interval(np.ones(50), clusters).low < 0.3  # 2,500 / 1,690 = 1.5 units
    assert cluster_interval(np.ones(50), np.repeat(np.arange(10), 5)).low > 0.7


def test_one_unit_is_one_observation():
    interval = cluster_interval(np.ones(500), np.zeros(500, dtype=int))
    assert (interval.low, interval.high) == pytest.approx((wilson(1, 1).low, 1))


def test_units_that_are_all_alike_do_not_make_a_share_certain():
    interval = cluster_interval(np.tile([1.0, 0.0], 20), np.repeat(np.arange(20), 2))
    assert interval.low < wilson(20, 40).low
    assert interval.high > wilson(20, 40).high


def test_one_wrong_clip_shows_little_of_how_clips_go_together():
    """Half the weight is then on units that are wholly right or wrong: Wilson's interval with Student's t, by its formula."""
    correct = np.ones(250)
    correct[7] = 0
    cost = (1 / 250 + 1 / 50) / 2  # the clips' own variance is no more than of independent ones
    t, p, n = 2.0095752371292397, 249 / 250, 1 / cost
    middle = (p + t**2 / (2 * n)) / (1 + t**2 / n)
    half = t / (1 + t**2 / n) * (p * (1 - p) / n + t**2 / (4 * n**2)) ** 0.5
    interval = cluster_interval(correct, np.repeat(np.arange(50), 5))
    assert interval.low == pytest.approx(middle - half, abs=1e-4)
    assert interval.low < wilson(249, 250).low - 0.02


def test_a_mean_over_seeds_is_a_share_like_any_other():
    once, unit = clustered(np.random.default_rng(0), clusters=30, accuracy=0.8, correlation=0.4)
    again = (np.random.default_rng(1).random(len(unit)) < 0.8).astype(float)
    both, mean = cluster_interval(np.concatenate([once, again]), np.concatenate([unit, unit])), (once + again) / 2
    averaged = cluster_interval(mean, unit)  # two seeds are not two sets of clips, but the units' totals are the same
    assert (averaged.low, averaged.high) == pytest.approx((both.low, both.high), abs=0.01)


def test_the_interval_depends_on_the_seed_alone_and_not_on_the_order_of_clips():
    correct, unit = clustered(np.random.default_rng(0), clusters=25, accuracy=0.7, correlation=0.4)
    order = np.random.default_rng(1).permutation(len(unit))
    assert cluster_interval(correct, unit, seed=3) == cluster_interval(correct[order], unit[order], seed=3)
    assert cluster_interval(correct, unit, seed=3) != cluster_interval(correct, unit, seed=4)


@pytest.mark.parametrize(
    ("correct", "clusters", "message"),
    [
        (np.ones(3), np.zeros(2, dtype=int), r"\(3,\) and \(2,\)"),
        (np.ones(0), np.zeros(0, dtype=int), "at least one clip"),
        (np.array([1.0, 2.0]), np.zeros(2, dtype=int), "from 0 to 1; got 1.0 to 2.0"),
        (np.array([1.0, np.nan]), np.zeros(2, dtype=int), "from 0 to 1"),
    ],
)
def test_shares_and_units_are_checked(correct, clusters, message):
    with pytest.raises(ValueError, match=message):
        cluster_interval(correct, clusters)
    with pytest.raises(ValueError, match=message):
        cluster_difference(correct, correct, clusters)


def coverage(clusters, accuracy, correlation, repeats, **sizes):
    rng = np.random.default_rng(0)
    intervals = [
        cluster_interval(*clustered(rng, clusters=clusters, accuracy=accuracy, correlation=correlation, **sizes))
        for _ in range(repeats)
    ]
    return np.mean([interval.low <= accuracy <= interval.high for interval in intervals])


def test_the_interval_covers_the_truth_where_wilson_s_does_not(monkeypatch):
    monkeypatch.setattr(intervals_and_tests, "RESAMPLES", 199)
    rng = np.random.default_rng(0)
    hit = {"cluster": 0, "wilson": 0}
    for _ in range(150):
        correct, unit = clustered(rng, clusters=25, accuracy=0.8, correlation=0.6)
        for name, interval in (("cluster", cluster_interval(correct, unit)), ("wilson", wilson(int(correct.sum()), len(correct)))):
            hit[name] += interval.low <= 0.8 <= interval.high
    assert hit["wilson"] < 0.8 * 150
    assert hit["cluster"] >= 0.92 * 150


def test_intervals_over_persons_cover_where_intervals_over_classes_and_persons_do_not(monkeypatch):
    """25 persons of correlated clips in 5 classes, accuracy 0.8: 97 and 75 % of many more draws."""
    monkeypatch.setattr(intervals_and_tests, "RESAMPLES", 199)
    clips = [
        Clip(f"{label}/{person}-{n}", label, person, 1, "") for person in map(str, range(25)) for label in "abcde" for n in (1, 2)
    ]
    person, pair = cluster_ids(clips), np.unique([f"{clip.label} {clip.group}" for clip in clips], return_inverse=True)[1]
    rng, correlation = np.random.default_rng(0), 0.6
    covered = {"person": 0, "class and person": 0}
    for _ in range(100):
        chances = rng.beta(0.8 * (1 / correlation - 1), 0.2 * (1 / correlation - 1), 25)
        correct = (rng.random(len(clips)) < chances[person]).astype(float)
        for name, clusters in (("person", person), ("class and person", pair)):
            interval = cluster_interval(correct, clusters)
            covered[name] += interval.low <= 0.8 <= interval.high
    assert covered["person"] >= 90
    assert covered["class and person"] <= 85


@pytest.mark.slow
@pytest.mark.parametrize(("clusters", "accuracy"), [(10, 0.5), (10, 0.9), (25, 0.9), (50, 0.97)])
@pytest.mark.parametrize("sizes", [{}, {"smallest": 1, "largest": 15}], ids=["alike", "unequal"])
def test_the_interval_covers_the_truth(monkeypatch, clusters, accuracy, sizes):
    monkeypatch.setattr(intervals_and_tests, "RESAMPLES", 499)
    assert coverage(clusters, accuracy, 0.6, 300, **sizes) >= 0.92  # 95 % less 2.4 standard errors


def paired(rng, *, clusters, accuracy, worse_by=0.0):
    """Two models on the same clips, alike within units and with each other."""
    unit = np.repeat(np.arange(clusters), rng.integers(4, 8, clusters))
    shared = rng.normal(size=clusters)[unit]

    def correct(wanted):
        own = rng.normal(size=clusters)[unit]
        return (0.5 * shared + 0.5 * own + 0.7 * rng.normal(size=len(unit)) < np.sqrt(0.99) * norm.ppf(wanted)).astype(float)

    return correct(accuracy), correct(accuracy - worse_by), unit


def test_the_cluster_test_by_hand():
    # Totals of the units: 3, 2, 1, -1. Of their 16 sums with changed signs, 3 are 5 or more (7, 5, 5) and 3 are -5 or less.
    first = np.array([1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0], dtype=float)
    second = np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], dtype=float)
    test = cluster_difference(first, second, np.repeat(np.arange(4), 3))
    assert test.difference == pytest.approx(5 / 12)
    assert test.p == pytest.approx(6 / 16)


@pytest.mark.parametrize(("only_first", "only_second", "both"), [(8, 2, 0), (6, 0, 300), (3, 3, 5), (9, 1, 40), (0, 7, 20)])
def test_of_clips_without_siblings_the_cluster_test_is_mcnemar_s(only_first, only_second, both):
    first, second = answers(both, only_first, only_second, 3)
    test = cluster_difference(first.astype(float), second.astype(float), np.arange(len(first)))
    assert test.p == pytest.approx(mcnemar(first, second).p)
    assert test.difference == pytest.approx((only_first - only_second) / len(first))


def test_many_differing_clips_give_mcnemar_s_p_but_for_the_sampling():
    first, second = answers(200, 45, 22, 30)
    test = cluster_difference(first.astype(float), second.astype(float), np.arange(len(first)))
    assert test.p == pytest.approx(mcnemar(first, second).p, abs=0.003)


def test_the_cluster_test_is_scipy_s_permutation_test_of_the_units_totals():
    first, second, unit = paired(np.random.default_rng(5), clusters=11, accuracy=0.9, worse_by=0.2)
    totals = [np.bincount(unit, weights=correct) for correct in (first, second)]
    expected = permutation_test(totals, lambda a, b, axis: (a - b).sum(axis=axis), permutation_type="samples", n_resamples=np.inf)
    assert 0.001 < expected.pvalue < 1
    assert cluster_difference(first, second, unit).p == pytest.approx(expected.pvalue)


def test_whole_units_that_differ_are_no_more_than_as_many_clips():
    first, second = answers(20, 8, 2, 5)
    once = cluster_difference(first.astype(float), second.astype(float), np.arange(35))
    repeated = [np.repeat(correct.astype(float), 6) for correct in (first, second)]
    many = cluster_difference(*repeated, np.repeat(np.arange(35), 6))
    assert many.p == pytest.approx(once.p)
    assert mcnemar(*(correct > 0 for correct in repeated)).p < 1e-5  # clips as independent: six times as much evidence


@pytest.mark.parametrize("clusters", [8, 40])  # all exchanges, and a sample of them
def test_the_order_of_the_models_turns_the_sign_and_nothing_else(clusters):
    first, second, unit = paired(np.random.default_rng(0), clusters=clusters, accuracy=0.9, worse_by=0.2)
    one, other = cluster_difference(first, second, unit), cluster_difference(second, first, unit)
    assert one.difference == -other.difference > 0
    assert one.p == other.p
    assert (one.interval.low, one.interval.high) == pytest.approx((-other.interval.high, -other.interval.low))


def test_the_interval_leaves_out_0_just_where_p_is_significant():
    rng = np.random.default_rng(0)
    seen = set()
    for clusters in (6, 9, 15, 40):
        for _ in range(12):
            first, second, unit = paired(rng, clusters=clusters, accuracy=0.9, worse_by=float(rng.choice([0.0, 0.2, 0.3])))
            test = cluster_difference(first, second, unit)
            significant = test.p <= 0.05
            assert significant == (not test.interval.low <= 0 <= test.interval.high)
            assert -1 <= test.interval.low <= test.difference <= test.interval.high <= 1
            seen.add(significant)
    assert seen == {True, False}


def test_no_difference_anywhere():
    correct, unit = clustered(np.random.default_rng(0), clusters=20, accuracy=0.8, correlation=0.5)
    test = cluster_difference(correct, correct, unit)
    assert (test.difference, test.p) == (0, 1)
    assert test.interval.low == pytest.approx(-test.interval.high)
    assert 0.1 < test.interval.high < 0.2  # as 0 of 20 units allow: Wilson's 0.16


def test_a_difference_that_is_the_same_in_all_units_is_not_certain():
    clusters = np.repeat(np.arange(10), 5)
    test = cluster_difference(np.ones(50), np.zeros(50), clusters)
    assert test.p == pytest.approx(2 / 2**10)
    assert 0 < test.interval.low < 0.8
    assert test.interval.high == 1


def test_a_small_difference_that_is_the_same_in_all_units_stays_on_its_side_of_0():
    second = np.tile([0.0] * 9 + [1.0], 6)
    test = cluster_difference(np.zeros(60), second, np.repeat(np.arange(6), 10))
    assert test.p == pytest.approx(2 / 2**6)
    assert test.interval.low < -0.15 < test.difference < test.interval.high < 0


def test_a_few_units_that_differ_say_little_of_the_others():
    first, second = np.ones(150), np.ones(150)
    second[[0, 50, 100]] = 0
    test = cluster_difference(first, second, np.repeat(np.arange(30), 5))
    assert test.p == pytest.approx(2 / 2**3)
    # That no unit speaks for the second model is 0 of 30: Wilson's upper end is 0.11.
    assert test.interval.low == pytest.approx(0.02 - wilson(0, 30).high, abs=0.01)
    assert test.interval.high > 0.06


def test_a_sampled_p_is_never_0():
    first = np.tile([1.0, 1.0, 1.0, 0.0], 40)
    test = cluster_difference(first, np.zeros(160), np.repeat(np.arange(40), 4))
    assert test.p == 2 / 10_000


def test_five_units_can_show_no_difference():
    clusters = np.repeat(np.arange(5), 100)
    test = cluster_difference(np.ones(500), np.zeros(500), clusters)
    assert test.p == pytest.approx(2 / 2**5)
    assert (test.interval.low, test.interval.high) == (-1, 1)


def test_means_over_seeds_that_cancel_are_no_difference():
    first = np.array([0.1, 0.2, 0.3] * 4)
    second = np.array([0.3, 0.2, 0.1] * 4)
    test = cluster_difference(first, second, np.repeat(np.arange(4), 3))
    assert test.difference == pytest.approx(0)
    assert test.p == 1


def rejections(repeats, **drawn):
    rng = np.random.default_rng(0)
    return np.mean([cluster_difference(*paired(rng, **drawn)).p <= 0.05 for _ in range(repeats)])


def test_equal_models_are_seldom_told_apart_and_different_ones_often(monkeypatch):
    monkeypatch.setattr(intervals_and_tests, "RESAMPLES", 999)
    assert rejections(200, clusters=25, accuracy=0.9) <= 0.08
    assert rejections(60, clusters=40, accuracy=0.9, worse_by=0.3) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("accuracy", [0.6, 0.9])
@pytest.mark.parametrize("clusters", [10, 15, 50])
def test_equal_models_are_told_apart_in_no_more_than_5_percent(monkeypatch, clusters, accuracy):
    monkeypatch.setattr(intervals_and_tests, "RESAMPLES", 999)
    assert rejections(500, clusters=clusters, accuracy=accuracy) <= 0.07  # 5 % and two standard errors
