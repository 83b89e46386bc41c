import numpy as np
import pytest
from scipy.stats import norm, permutation_test

from actionrec.evaluation import significance_tests
from actionrec.evaluation.intervals import wilson
from actionrec.evaluation.significance_tests import better_than, holm, mcnemar, paired_tests


def cluster_difference(first, second, clusters):
    [test] = paired_tests([(first, second)], clusters)
    return test


def answers(both, only_first, only_second, neither):
    first = [True] * (both + only_first) + [False] * (only_second + neither)
    second = [True] * both + [False] * only_first + [True] * only_second + [False] * neither
    return np.array(first), np.array(second)


def test_mcnemar_is_a_binomial_test_of_the_clips_on_which_the_models_differ():
    test = mcnemar(*answers(both=50, only_first=8, only_second=2, neither=7))
    assert (test.only_first, test.only_second) == (8, 2)
    # Two-sided: 2 * (C(10,0) + C(10,1) + C(10,2)) / 2**10.
    assert test.p == pytest.approx(2 * (1 + 10 + 45) / 1024)


def test_mcnemar_ignores_clips_on_which_the_models_agree():
    few, many = mcnemar(*answers(0, 8, 2, 0)), mcnemar(*answers(900, 8, 2, 90))
    assert few.p == many.p


def test_mcnemar_does_not_depend_on_the_order_of_the_models():
    first, second = answers(10, 7, 1, 3)
    assert mcnemar(first, second).p == mcnemar(second, first).p


def test_mcnemar_of_the_same_answers_is_1():
    first, _ = answers(3, 4, 0, 2)
    assert mcnemar(first, first).p == 1.0


def test_mcnemar_of_different_clips_raises_an_error():
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


def paired(rng, *, clusters, accuracy, worse_by=0.0):
    """Answers of two models to the same clips, correlated within clusters and with each other."""
    unit = np.repeat(np.arange(clusters), rng.integers(4, 8, clusters))
    shared = rng.normal(size=clusters)[unit]

    def correct(expected):
        own = rng.normal(size=clusters)[unit]
        return (0.5 * shared + 0.5 * own + 0.7 * rng.normal(size=len(unit)) < np.sqrt(0.99) * norm.ppf(expected)).astype(float)

    return correct(accuracy), correct(accuracy - worse_by), unit


def test_cluster_test_of_a_worked_example():
    # Totals of the clusters: 3, 2, 1, -1. Of their 16 sums with changed signs, 3 are 5 or more (7, 5, 5) and 3 are -5 or less.
    first = np.array([1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0], dtype=float)
    second = np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], dtype=float)
    test = cluster_difference(first, second, np.repeat(np.arange(4), 3))
    assert test.difference == pytest.approx(5 / 12)
    assert test.p == pytest.approx(6 / 16)


@pytest.mark.parametrize(("only_first", "only_second", "both"), [(8, 2, 0), (6, 0, 300), (3, 3, 5), (9, 1, 40), (0, 7, 20)])
def test_without_siblings_the_cluster_test_is_mcnemar_s(only_first, only_second, both):
    first, second = answers(both, only_first, only_second, 3)
    test = cluster_difference(first.astype(float), second.astype(float), np.arange(len(first)))
    assert test.p == pytest.approx(mcnemar(first, second).p, abs=0.008)  # 9,999 draws
    assert test.difference == pytest.approx((only_first - only_second) / len(first))


def test_with_many_differing_clips_the_cluster_test_approximates_mcnemar_s():
    first, second = answers(200, 45, 22, 30)
    test = cluster_difference(first.astype(float), second.astype(float), np.arange(len(first)))
    assert test.p == pytest.approx(mcnemar(first, second).p, abs=0.003)


def test_the_cluster_test_is_scipy_s_permutation_test_of_the_clusters_totals():
    first, second, unit = paired(np.random.default_rng(5), clusters=11, accuracy=0.9, worse_by=0.2)
    totals = [np.bincount(unit, weights=correct) for correct in (first, second)]
    expected = permutation_test(totals, lambda a, b, axis: (a - b).sum(axis=axis), permutation_type="samples", n_resamples=np.inf)
    assert 0.001 < expected.pvalue < 1
    assert cluster_difference(first, second, unit).p == pytest.approx(expected.pvalue)


def test_a_cluster_of_equal_clips_counts_as_one_clip():
    first, second = answers(20, 8, 2, 5)
    once = cluster_difference(first.astype(float), second.astype(float), np.arange(35))
    repeated = [np.repeat(correct.astype(float), 6) for correct in (first, second)]
    many = cluster_difference(*repeated, np.repeat(np.arange(35), 6))
    assert many.p == pytest.approx(once.p)
    assert mcnemar(*(correct > 0 for correct in repeated)).p < 1e-5  # clips as independent: six times as much evidence


@pytest.mark.parametrize("clusters", [8, 40])  # all exchanges, and a sample of them
def test_swapping_the_models_changes_only_the_sign(clusters):
    first, second, unit = paired(np.random.default_rng(0), clusters=clusters, accuracy=0.9, worse_by=0.2)
    one, other = cluster_difference(first, second, unit), cluster_difference(second, first, unit)
    assert one.difference == -other.difference > 0
    assert one.p == other.p
    assert (one.interval.low, one.interval.high) == pytest.approx((-other.interval.high, -other.interval.low))


def test_the_interval_excludes_0_exactly_when_p_is_significant():
    rng = np.random.default_rng(0)
    seen = set()
    for clusters in (6, 9, 15, 40):
        for _ in range(12):
            first, second, unit = paired(rng, clusters=clusters, accuracy=0.9, worse_by=float(rng.choice([0.0, 0.2, 0.3])))
            test = cluster_difference(first, second, unit)
            significant = test.p < 0.05
            assert significant == (not test.interval.low <= 0 <= test.interval.high)
            assert -1 <= test.interval.low <= test.difference <= test.interval.high <= 1
            seen.add(significant)
    assert seen == {True, False}


def test_the_same_answers_give_p_1_and_a_symmetric_interval():
    correct, _, unit = paired(np.random.default_rng(0), clusters=20, accuracy=0.8)
    test = cluster_difference(correct, correct, unit)
    assert (test.difference, test.p) == (0, 1)
    assert test.interval.low == pytest.approx(-test.interval.high)
    assert 0.1 < test.interval.high < 0.2  # Wilson's interval of 0 of 20 clusters ends at 0.16


def test_a_difference_that_is_the_same_in_all_clusters_has_an_interval():
    clusters = np.repeat(np.arange(10), 5)
    test = cluster_difference(np.ones(50), np.zeros(50), clusters)
    assert test.p == pytest.approx(2 / 2**10)
    assert 0 < test.interval.low < 0.8
    assert test.interval.high == 1


def test_the_interval_of_a_significant_difference_that_is_the_same_in_all_clusters_excludes_0():
    second = np.tile([0.0] * 9 + [1.0], 6)
    test = cluster_difference(np.zeros(60), second, np.repeat(np.arange(6), 10))
    assert test.p == pytest.approx(2 / 2**6)
    assert test.interval.low < -0.15 < test.difference < test.interval.high < 0


def test_with_few_differing_clusters_the_interval_is_widened():
    first, second = np.ones(150), np.ones(150)
    second[[0, 50, 100]] = 0
    test = cluster_difference(first, second, np.repeat(np.arange(30), 5))
    assert test.p == pytest.approx(2 / 2**3, abs=0.008)
    # No cluster favours the second model, 0 of 30: Wilson's upper end is 0.11.
    assert test.interval.low == pytest.approx(0.02 - wilson(0, 30).high, abs=0.01)
    assert test.interval.high > 0.06


def test_a_sampled_p_is_never_0():
    first = np.tile([1.0, 1.0, 1.0, 0.0], 40)
    test = cluster_difference(first, np.zeros(160), np.repeat(np.arange(40), 4))
    assert test.p == 1 / 10_000


def test_five_clusters_cannot_show_a_difference():
    clusters = np.repeat(np.arange(5), 100)
    test = cluster_difference(np.ones(500), np.zeros(500), clusters)
    assert test.p == pytest.approx(2 / 2**5)
    assert test.interval.low <= 0
    assert test.interval.high == 1


def test_means_over_seeds_that_cancel_out_are_not_a_difference():
    first = np.array([0.1, 0.2, 0.3] * 4)
    second = np.array([0.3, 0.2, 0.1] * 4)
    test = cluster_difference(first, second, np.repeat(np.arange(4), 3))
    assert test.difference == pytest.approx(0)
    assert test.p == 1


def three_models(clusters, rng):
    """Correct answers of three models: two alike, one much worse."""
    good, worse, unit = paired(rng, clusters=clusters, accuracy=0.9, worse_by=0.4)
    other, _, _ = paired(np.random.default_rng(1), clusters=clusters, accuracy=0.9)
    other = np.resize(other, len(unit))
    return good, other, worse, unit


def test_joint_p_values_are_at_most_holms_and_at_least_the_single_ones():
    good, other, worse, unit = three_models(12, np.random.default_rng(2))
    pairs = [(good, other), (good, worse), (other, worse)]
    joint = [test.p for test in paired_tests(pairs, unit)]
    single = [cluster_difference(*pair, unit).p for pair in pairs]
    assert all(alone <= together for alone, together in zip(single, joint, strict=True))
    assert sum(joint) <= sum(holm(single)) + 1e-9
    assert joint[1] < 0.05


def test_joint_p_values_by_enumeration():
    """All 2 ** 6 signs by hand: the largest statistic of both comparisons, then that of the weaker one alone."""
    totals = np.array([[3, 1], [2, -1], [2, 1], [1, 0], [4, 1], [1, 0]])
    sizes = 6
    first = np.zeros((6, sizes))
    sides = []
    for column in range(2):
        a, b = first.copy(), first.copy()
        for cluster, total in enumerate(totals[:, column]):
            (a if total > 0 else b)[cluster, : abs(total)] = 1
        sides.append((a.ravel(), b.ravel()))
    signs = 1 - 2 * ((np.arange(64)[:, None] >> np.arange(6)) & 1)
    drawn = np.abs(signs @ totals) / np.sqrt((totals**2).sum(axis=0))
    observed = np.abs(totals.sum(axis=0)) / np.sqrt((totals**2).sum(axis=0))
    strong = (drawn.max(axis=1) >= observed[0] - 1e-9).mean()
    weak = max(strong, (drawn[:, 1] >= observed[1] - 1e-9).mean())
    tests = paired_tests(sides, np.repeat(np.arange(6), sizes))
    assert [test.p for test in tests] == pytest.approx([strong, weak])


def test_intervals_of_a_table_are_wider_than_single_ones():
    good, other, worse, unit = three_models(40, np.random.default_rng(3))
    joint = paired_tests([(good, worse), (other, worse), (good, other)], unit)[0].interval
    single = cluster_difference(good, worse, unit).interval
    assert joint.low < single.low
    assert joint.high > single.high


def test_runs_that_disagree_make_a_difference_less_certain():
    rng = np.random.default_rng(0)
    unit = np.repeat(np.arange(30), 4)
    mean = (rng.random((1, 120)) < 0.9).astype(float)
    alike = np.repeat(mean, 3, axis=0)
    lucky = np.stack([np.ones(120), mean[0], np.minimum(mean[0], rng.random(120) < 0.6)])
    baseline = (rng.random((3, 120)) < 0.7).astype(float)
    sure = cluster_difference(alike, baseline, unit)
    unsure = cluster_difference(lucky, baseline, unit)
    assert sure.p < 0.02
    assert unsure.interval.high - unsure.interval.low > 1.5 * (sure.interval.high - sure.interval.low)


def test_the_detectable_difference_shrinks_with_the_square_root_of_the_clusters():
    few, _, unit = paired(np.random.default_rng(0), clusters=25, accuracy=0.8)
    other, _, _ = paired(np.random.default_rng(9), clusters=25, accuracy=0.8)
    other = np.resize(other, len(few))
    small = cluster_difference(few, other, unit).detectable
    four = cluster_difference(
        np.tile(few, 4), np.tile(other, 4), np.concatenate([unit + 25 * part for part in range(4)])
    ).detectable
    assert four == pytest.approx(small / 2, rel=0.05)


def test_no_pairs_give_no_tests():
    assert paired_tests([], np.arange(3)) == []


def rejections(repeats, **drawn):
    rng = np.random.default_rng(0)
    return np.mean([cluster_difference(*paired(rng, **drawn)).p <= 0.05 for _ in range(repeats)])


@pytest.mark.parametrize("runs", [1, 3])
def test_the_number_of_draws_is_that_of_the_tests_not_of_the_intervals(monkeypatch, runs):
    """A difference that no draw reaches has the smallest p that this many draws can give."""
    monkeypatch.setattr(significance_tests, "RESAMPLES", 49)
    better, clusters = np.ones((runs, 120)), np.repeat(np.arange(40), 3)
    assert cluster_difference(better, 0 * better, clusters).p == pytest.approx(1 / 50)


def test_equal_models_rarely_differ_significantly_and_different_models_usually_do(monkeypatch):
    monkeypatch.setattr(significance_tests, "RESAMPLES", 999)
    assert rejections(200, clusters=25, accuracy=0.9) <= 0.08
    assert rejections(60, clusters=40, accuracy=0.9, worse_by=0.3) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("accuracy", [0.6, 0.9])
@pytest.mark.parametrize("clusters", [10, 15, 50])
def test_equal_models_differ_significantly_in_at_most_5_percent(monkeypatch, clusters, accuracy):
    monkeypatch.setattr(significance_tests, "RESAMPLES", 999)
    assert rejections(500, clusters=clusters, accuracy=accuracy) <= 0.07  # 5 % and two standard errors


def test_if_few_clusters_differ_seeds_that_disagree_widen_the_interval():
    """The models differ on 4 of 30 clusters: by as much in each run, or by nothing in one and twice as much in the other."""
    unit, worse = np.repeat(np.arange(30), 4), np.ones((2, 120))
    worse[:, :16:2] = 0
    disagreeing = np.ones((2, 120))
    disagreeing[0, :16] = 0
    good = np.ones((2, 120))
    [alike], [unlike] = paired_tests([(good, worse)], unit), paired_tests([(good, disagreeing)], unit)
    assert alike.difference == unlike.difference == pytest.approx(8 / 120)
    assert unlike.interval.high - unlike.interval.low > alike.interval.high - alike.interval.low
