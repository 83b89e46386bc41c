import numpy as np
import pytest

from actionrec.statistics import Interval, better_than, holm, mcnemar, wilson


@pytest.mark.parametrize(("right", "low", "high"), [(1300, 96.2, 98.0), (1292, 95.5, 97.5)])
def test_wilson_of_the_study_s_counts(right, low, high):
    interval = wilson(right, 1337)
    assert (round(100 * interval.low, 1), round(100 * interval.high, 1)) == (low, high)


def test_wilson_by_its_formula():
    z, p, n = 1.959963984540054, 0.3, 10
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    interval = wilson(3, 10)
    assert interval.low == pytest.approx(middle - half)
    assert interval.high == pytest.approx(middle + half)


@pytest.mark.parametrize(("right", "total"), [(0, 1), (1, 1), (0, 24), (24, 24), (5, 8), (10**6, 10**6)])
def test_wilson_holds_the_share_and_stays_within_0_and_1(right, total):
    interval = wilson(right, total)
    assert isinstance(interval, Interval)
    assert 0 <= interval.low <= right / total <= interval.high <= 1
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
