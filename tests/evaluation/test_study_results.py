import pytest

from actionrec.evaluation import study_results
from actionrec.models import MODELS


def test_every_model_of_the_study_is_one_of_ours():
    assert set(study_results.RESULTS) <= set(MODELS)


def test_counts_give_the_published_percentages_back():
    for result in study_results.RESULTS.values():
        assert 100 * result.correct / study_results.TEST_CLIPS == pytest.approx(result.top1_percent, abs=0.005)
    assert study_results.RESULTS["gru"].correct == 1300
    assert study_results.RESULTS["lstm"].correct == 1292


@pytest.mark.parametrize(("model", "low", "high"), [("gru", 96.2, 98.0), ("lstm", 95.5, 97.5)])
def test_intervals_are_those_of_the_counts(model, low, high):
    interval = study_results.RESULTS[model].interval
    assert (round(100 * interval.low, 1), round(100 * interval.high, 1)) == (low, high)


def test_training_of_all_models_took_what_the_study_says():
    assert sum(result.train_seconds for result in study_results.RESULTS.values()) == pytest.approx(687.6, abs=0.15)


def test_the_data_set_is_known_however_its_folder_is_spelt():
    assert all(study_results.is_its_data_set(name) for name in ("ucf50", "UCF50", "UCF-50", "ucf_50"))
    assert not study_results.is_its_data_set("ucf101")
