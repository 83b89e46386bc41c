import numpy as np
from fabricate import BACKBONE, CONTEXT, NO_BACKBONE, first_right, trained

from actionrec.evaluation.comparison import compare
from actionrec.report.headline import headline


def advice(models, margin=0.02, backbone=NO_BACKBONE):
    return compare(models, margin, backbone).advice


def clips(right, total=4000):
    """Answers for many clips of as many sources, the wrong ones last."""
    return np.arange(total) < right


def test_a_cheaper_model_is_deployed_if_its_loss_is_shown_to_be_below_the_margin():
    models = [trained("big", clips(3600), flops=900), trained("small", clips(3590), flops=100)]
    found = advice(models)
    assert (found.deploy, found.best) == ("small", "big")
    assert found.loss < found.most < 0.02
    assert advice(models, margin=0.001).deploy == "big"
    assert advice(models, margin=0.0).deploy == "big"


def test_a_model_is_cheaper_only_if_the_total_with_the_backbone_is():
    """3.9 million parameters against 0.016: resnet50 needs a thousand times the operations of both."""
    models = [trained("gru", clips(3600), flops=251_666_432), trained("mean_pool", clips(3590), flops=32_768)]
    assert advice(models).deploy == "mean_pool"
    found = advice(models, backbone=BACKBONE)
    assert (found.deploy, found.alternative) == ("gru", None)


def test_among_models_that_cost_the_same_the_most_accurate_is_deployed():
    models = [
        trained("big", clips(3600), flops=10_000),
        trained("good", clips(3595), flops=1005),
        trained("bad", clips(3590), flops=1000),
    ]
    assert advice(models).deploy == "good"


def test_a_model_that_costs_as_much_within_a_percent_is_avoided_if_another_is_better():
    models = [trained("good", clips(90, 100), flops=1005), trained("bad", clips(60, 100), flops=1000)]
    assert set(advice(models).avoid) == {"bad"}
    assert set(advice([trained("good", clips(90, 100), flops=1020), models[1]]).avoid) == set()


def test_a_cheaper_model_that_is_only_not_shown_to_be_worse_is_not_deployed():
    found = advice([trained("big", first_right(90), flops=900), trained("small", first_right(89), flops=100)])
    assert found.deploy == "big"
    assert found.loss == found.most == 0
    assert found.alternative.name == "small"
    assert found.alternative.loss < 0.02 <= found.alternative.most
    assert found.alternative.sources > 100


def test_the_estimated_number_of_sources_is_enough():
    """Ten times as many sources with the same rates: the interval is then below the margin."""
    few = [trained("big", clips(90, 100), flops=900), trained("small", np.roll(clips(88, 100), -2), flops=100)]
    needed = advice(few, margin=0.05).alternative.sources
    times = -(-needed // 100)
    many = [
        trained("big", np.tile(clips(90, 100), times), flops=900),
        trained("small", np.tile(np.roll(clips(88, 100), -2), times), flops=100),
    ]
    assert advice(many, margin=0.05 * 1.2).deploy == "small"


def test_a_dearer_model_is_never_an_alternative():
    found = advice([trained("small", first_right(90), flops=100), trained("big", first_right(89), flops=900)])
    assert (found.deploy, found.alternative) == ("small", None)


def test_a_baseline_is_deployed_if_it_is_best():
    found = advice([trained("gru", first_right(70), flops=900), trained("mean_pool", first_right(90), flops=1, order_blind=True)])
    assert found.deploy == "mean_pool"
    assert found.avoid == {"gru": "mean_pool is significantly more accurate and costs no more"}


def test_models_no_better_than_the_majority_class_are_avoided_and_none_is_recommended():
    found = advice([trained("a", first_right(26)), trained("b", first_right(24), parameters=10)])
    assert set(found.avoid) == {"a", "b"}
    assert found.none_recommended
    assert found.smallest == "b"


def test_the_smallest_model_is_not_one_to_avoid():
    found = advice([trained("a", first_right(95), parameters=10_000_000), trained("b", first_right(25), parameters=10)])
    assert found.smallest == "a"
    assert "most frequent class" in found.avoid["b"]
    assert not found.none_recommended


def test_a_model_that_is_not_shown_to_beat_the_majority_class_is_not_the_best():
    """`lumpy` is correct on all of half the sources: more clips than `steady`, but too uncertain with ten sources."""
    clusters = np.arange(100) // 10
    lumpy = trained("lumpy", np.arange(100) < 50, clusters=clusters, flops=10)
    steady = trained("steady", np.arange(100) % 10 < 4 + clusters % 2, clusters=clusters, flops=10)
    result = compare([lumpy, steady], 0.02, NO_BACKBONE)
    assert [row.name for row in result.leaderboard] == ["lumpy", "steady"]
    assert [row.beats_majority for row in result.leaderboard] == [False, True]
    found = result.advice
    assert (found.best, found.deploy) == ("steady", "steady")
    assert not found.none_recommended
    first = headline(result, [], CONTEXT)[0]
    assert first.startswith("**Deploy steady**: 45.0 % top-1")
    assert "lumpy has 50.0 %, but is not shown to be better than the most frequent class." in first
    assert headline(result, [], CONTEXT)[2]  # the other sentences need no lead
