import numpy as np
import pytest

from actionrec.data.clips import Clip, cluster_ids
from actionrec.evaluation import intervals
from actionrec.evaluation.intervals import Interval, cluster_interval, wilson


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


def clustered(rng, *, clusters, accuracy, correlation, largest=7, smallest=4):
    """Correct answers (n,) and clusters (n,): each cluster has its own accuracy (beta-binomial)."""
    unit = np.repeat(np.arange(clusters), rng.integers(smallest, largest + 1, clusters))
    chances = rng.beta(accuracy * (1 / correlation - 1), (1 - accuracy) * (1 / correlation - 1), clusters)
    return (rng.random(len(unit)) < chances[unit]).astype(float), unit


@pytest.mark.parametrize("correct", [1, 5, 30, 96, 100])
def test_without_siblings_the_interval_is_wilson_s_or_slightly_wider(correct):
    interval, plain = cluster_interval((np.arange(100) < correct).astype(float), np.arange(100)), wilson(correct, 100)
    assert interval.low <= plain.low + 1e-9
    assert interval.high >= plain.high - 1e-9
    assert interval.high - interval.low < 1.25 * (plain.high - plain.low)


def test_repeated_clips_of_a_cluster_do_not_narrow_the_interval():
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


def test_all_correct_and_all_wrong_give_wilson_s_interval_of_the_clusters():
    clusters = np.repeat(np.arange(10), 5)
    ones, zeros = cluster_interval(np.ones(50), clusters), cluster_interval(np.zeros(50), clusters)
    assert (ones.low, ones.high) == pytest.approx((wilson(10, 10).low, 1))
    assert (zeros.low, zeros.high) == pytest.approx((0, wilson(0, 10).high))


def test_clusters_of_unequal_size_count_as_fewer():
    clusters = np.repeat(np.arange(10), [41] + [1] * 9)
    assert cluster_interval(np.ones(50), clusters).low < 0.3  # 2,500 / 1,690 = 1.5 clusters
    assert cluster_interval(np.ones(50), np.repeat(np.arange(10), 5)).low > 0.7


def test_one_cluster_is_one_observation():
    interval = cluster_interval(np.ones(500), np.zeros(500, dtype=int))
    assert (interval.low, interval.high) == pytest.approx((wilson(1, 1).low, 1))


def test_clusters_that_are_all_alike_do_not_give_a_narrower_interval_than_wilson_s():
    interval = cluster_interval(np.tile([1.0, 0.0], 20), np.repeat(np.arange(20), 2))
    assert interval.low < wilson(20, 40).low
    assert interval.high > wilson(20, 40).high


def test_one_wrong_clip_says_little_about_the_correlation_within_clusters():
    """Half the weight is on clusters that are entirely correct or wrong: Wilson's interval with Student's t, by its formula."""
    correct = np.ones(250)
    correct[7] = 0
    cost = (1 / 250 + 1 / 50) / 2  # the measured variance is that of independent clips
    t, p, n = 2.0095752371292397, 249 / 250, 1 / cost
    middle = (p + t**2 / (2 * n)) / (1 + t**2 / n)
    half = t / (1 + t**2 / n) * (p * (1 - p) / n + t**2 / (4 * n**2)) ** 0.5
    interval = cluster_interval(correct, np.repeat(np.arange(50), 5))
    assert interval.low == pytest.approx(middle - half, abs=1e-4)
    assert interval.low < wilson(249, 250).low - 0.02


def test_means_over_seeds_are_accepted():
    once, unit = clustered(np.random.default_rng(0), clusters=30, accuracy=0.8, correlation=0.4)
    again = (np.random.default_rng(1).random(len(unit)) < 0.8).astype(float)
    both, mean = cluster_interval(np.concatenate([once, again]), np.concatenate([unit, unit])), (once + again) / 2
    averaged = cluster_interval(mean, unit)  # two seeds are not two sets of clips, but the clusters' totals are the same
    assert (averaged.low, averaged.high) == pytest.approx((both.low, both.high), abs=0.01)


def test_one_training_run_gives_the_interval_of_its_answers():
    correct, unit = clustered(np.random.default_rng(0), clusters=30, accuracy=0.8, correlation=0.4)
    assert cluster_interval(correct[None], unit) == cluster_interval(correct, unit)


def test_training_runs_that_are_alike_add_nothing():
    correct, unit = clustered(np.random.default_rng(0), clusters=30, accuracy=0.8, correlation=0.4)
    assert cluster_interval(np.stack([correct] * 3), unit) == cluster_interval(correct, unit)


def test_the_interval_of_several_runs_includes_their_variance():
    """Independent clips, so that the runs' variance decides: 5 runs with 70 to 90 %, t with 4 degrees of freedom."""
    clips = 2000
    correct = np.stack([(np.arange(clips) * 7 % clips < share * clips).astype(float) for share in (0.7, 0.75, 0.8, 0.85, 0.9)])
    interval, mean_only = cluster_interval(correct, np.arange(clips)), cluster_interval(correct.mean(axis=0), np.arange(clips))
    expected = 2.7764 * np.std([0.7, 0.75, 0.8, 0.85, 0.9], ddof=1) / 5**0.5
    assert (interval.high - interval.low) / 2 == pytest.approx(expected, rel=0.1)
    assert interval.low < mean_only.low - 0.05
    assert interval.high > mean_only.high + 0.05


@pytest.mark.slow
@pytest.mark.parametrize("runs", [3, 5])
def test_the_interval_of_several_runs_covers_a_recipe_s_accuracy(monkeypatch, runs):
    """200 sources; accuracies of runs vary by 5 points around 0.8."""
    monkeypatch.setattr(intervals, "RESAMPLES", 199)
    rng, both, alone = np.random.default_rng(0), [], []
    for _ in range(200):
        shares, unit = np.clip(rng.normal(0.8, 0.05, runs), 0, 1), np.repeat(np.arange(200), 5)
        correct = (rng.random((runs, 1000)) < shares[:, None]).astype(float)
        for hits, answers in ((both, correct), (alone, correct.mean(axis=0))):
            interval = cluster_interval(answers, unit)
            hits.append(interval.low <= 0.8 <= interval.high)
    assert np.mean(both) >= 0.92
    assert np.mean(alone) <= 0.85


def test_the_interval_depends_on_the_seed_and_not_on_the_order_of_clips():
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
def test_invalid_shares_and_clusters_raise_an_error(correct, clusters, message):
    with pytest.raises(ValueError, match=message):
        cluster_interval(correct, clusters)


def coverage(clusters, accuracy, correlation, repeats, **sizes):
    rng = np.random.default_rng(0)
    intervals = [
        cluster_interval(*clustered(rng, clusters=clusters, accuracy=accuracy, correlation=correlation, **sizes))
        for _ in range(repeats)
    ]
    return np.mean([interval.low <= accuracy <= interval.high for interval in intervals])


def test_the_interval_covers_the_truth_where_wilson_s_does_not(monkeypatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 199)
    rng = np.random.default_rng(0)
    covering = {"cluster": 0, "wilson": 0}
    for _ in range(150):
        correct, unit = clustered(rng, clusters=25, accuracy=0.8, correlation=0.6)
        for name, interval in (("cluster", cluster_interval(correct, unit)), ("wilson", wilson(int(correct.sum()), len(correct)))):
            covering[name] += interval.low <= 0.8 <= interval.high
    assert covering["wilson"] < 0.8 * 150
    assert covering["cluster"] >= 0.92 * 150


def test_intervals_over_persons_cover_where_intervals_over_classes_and_persons_do_not(monkeypatch):
    """25 persons of correlated clips in 5 classes, accuracy 0.8."""
    monkeypatch.setattr(intervals, "RESAMPLES", 199)
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
    monkeypatch.setattr(intervals, "RESAMPLES", 499)
    assert coverage(clusters, accuracy, 0.6, 300, **sizes) >= 0.92  # 95 % minus 2.4 standard errors


def test_many_clusters_are_drawn_by_kind_with_the_same_distribution(monkeypatch):
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 4, 300).astype(np.float64)
    sums = rng.integers(0, 1 + sizes).astype(np.float64)
    one_by_one = intervals.bootstrap_shares(sums, sizes, np.random.default_rng(0))
    monkeypatch.setattr(intervals, "MOST_DRAWN_ONE_BY_ONE", 299)
    by_kind = intervals.bootstrap_shares(sums, sizes, np.random.default_rng(1))
    assert by_kind.shape == one_by_one.shape == (intervals.RESAMPLES,)
    assert by_kind.mean() == pytest.approx(one_by_one.mean(), abs=0.002)
    assert by_kind.std() == pytest.approx(one_by_one.std(), rel=0.03)
    places = [0.01, 0.025, 0.5, 0.975, 0.99]
    assert np.quantile(by_kind, places) == pytest.approx(np.quantile(one_by_one, places), abs=0.1 * one_by_one.std())


@pytest.mark.parametrize("columns", [1, 50_000, 130_000, 10**9])
def test_resamples_are_drawn_in_blocks_of_bounded_size(columns):
    drawn = intervals.batches(1_999, columns)
    assert sum(drawn) == 1_999
    assert max(drawn) <= intervals.BATCH
    assert max(drawn) == 1 or max(drawn) * columns <= 25_000_000
