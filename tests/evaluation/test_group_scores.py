import numpy as np
from fabricate import trained

from actionrec.evaluation.group_scores import GroupScore, far_below, group_scores


def test_groups_are_scored_from_the_worst_to_the_best():
    """Ten clips in a row: right are the first five, and the group of a clip is its number modulo 3."""
    test = trained("gru", np.arange(10) < 5, clusters=np.arange(10) % 3).test
    assert group_scores(test) == [
        GroupScore("0002.avi", 3, 1),  # 2, 5, 8
        GroupScore("0000.avi", 4, 2),  # 0, 3, 6, 9
        GroupScore("0001.avi", 3, 2),  # 1, 4, 7
    ]


def test_a_group_far_below_the_others_is_found():
    others = [GroupScore(f"{number}.avi", 5, 5) for number in range(8)]
    low = GroupScore("low.avi", 5, 0)
    assert far_below([low, *others]) == [low]


def test_one_error_or_a_group_as_bad_as_the_others_is_not_far_below():
    perfect = [GroupScore(f"{number}.avi", 5, 5) for number in range(8)]
    assert far_below([GroupScore("one_error.avi", 3, 2), *perfect]) == []
    assert far_below([GroupScore(f"{number}.avi", 5, 2) for number in range(9)]) == []
    assert far_below([GroupScore("alone.avi", 5, 0)]) == []


def test_by_chance_a_group_is_rarely_far_below():
    random = np.random.default_rng(0)
    sets = [[GroupScore(str(place), 6, int(right)) for place, right in enumerate(random.binomial(6, 0.8, 12))] for _ in range(300)]
    assert sum(bool(far_below(scores)) for scores in sets) < 0.05 * 300
