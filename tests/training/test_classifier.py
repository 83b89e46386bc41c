import numpy as np
import pytest
import torch
from torch import nn

from actionrec.training.classifier import Classifier, Standardise


@pytest.fixture
def features():
    """Six clips of five frames; dimensions of very different sizes, as a backbone's are."""
    random = np.random.default_rng(0)
    return (random.normal(size=(6, 5, 4)) * [1, 100, 0.01, 5] + [3, -200, 0.5, 0]).astype(np.float16)


def fitted(features, rows):
    standardise = Standardise(features.shape[2])
    standardise.fit(features, np.array(rows))
    return standardise


def apply(standardise, features):
    return standardise(torch.from_numpy(features).float()).numpy()


def test_training_frames_come_to_mean_0_and_deviation_1_in_each_dimension(features):
    frames = apply(fitted(features, range(6)), features).reshape(-1, 4)
    np.testing.assert_allclose(frames.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(frames.std(axis=0), 1, rtol=1e-4)


def test_statistics_come_from_the_training_clips_alone(features):
    spoilt = features.copy()
    spoilt[[1, 4]] = 60_000
    rows = [0, 2, 3, 5]
    assert fitted(features, rows).state_dict().keys() == {"mean", "scale"}
    for name, tensor in fitted(features, rows).state_dict().items():
        assert torch.equal(tensor, fitted(spoilt, rows).state_dict()[name])
        assert torch.equal(tensor, fitted(features[rows], range(4)).state_dict()[name])


def test_hand_computed():
    features = np.array([[[1, 10], [3, 30]], [[5, 10], [7, 30]]], np.float16)
    standardise = fitted(features, [0, 1])
    assert standardise.mean.tolist() == [4, 20]
    assert standardise.scale.tolist() == pytest.approx([1 / 5**0.5, 1 / 10])


@pytest.mark.parametrize("constant", [0.0, 0.1, -3.3, 60_000.0])
@pytest.mark.parametrize("dimensions", [[2], [0, 1, 3], [0, 1, 2, 3]], ids=["one", "most", "all"])
def test_a_dimension_that_is_constant_in_training_is_0_even_where_it_changes_later(features, dimensions, constant):
    features[:, :, dimensions] = constant
    features[5, :, dimensions] = -constant + 1  # a clip that is not trained on
    standardise = fitted(features, range(5))
    result = apply(standardise, features)
    assert np.isfinite(result).all()
    assert (result[:, :, dimensions] == 0).all()
    alive = [place for place in range(4) if place not in dimensions]
    np.testing.assert_allclose(result[:5, :, alive].reshape(25, -1).std(axis=0), 1, rtol=1e-4)


def test_a_dimension_that_hardly_changes_beside_the_others_is_not_blown_up(features):
    features[:, :, 2] = 0.5
    features[0, 0, 2] = np.nextafter(np.float16(0.5), np.float16(1))
    features[:, :, 0] *= 100
    assert apply(fitted(features, range(6)), features)[..., 2].max() == 0


def test_digits_survive_a_large_mean():
    random = np.random.default_rng(0)
    features = (2000 + random.integers(0, 2, size=(50, 20, 3))).astype(np.float16)
    frames = apply(fitted(features, range(50)), features).reshape(-1, 3)
    np.testing.assert_allclose(frames.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(frames.std(axis=0), 1, rtol=1e-4)


def test_features_pass_unchanged_before_statistics_are_taken():
    features = torch.randn(2, 3, 4)
    assert torch.equal(Standardise(4)(features), features)


def test_the_statistics_are_saved_with_the_weights_but_not_learnt():
    classifier = Classifier(4, nn.Sequential(nn.Flatten(), nn.Linear(12, 2)))
    assert {"standardise.mean", "standardise.scale"} <= set(classifier.state_dict())
    assert [name for name, _ in classifier.named_parameters()] == ["model.1.weight", "model.1.bias"]


def test_the_model_sees_standardised_features(features):
    model = nn.Sequential(nn.Flatten(), nn.Linear(20, 2))
    classifier = Classifier(4, model)
    classifier.standardise.fit(features, np.arange(6))
    clips = torch.from_numpy(features).float()
    assert torch.equal(classifier(clips), model(classifier.standardise(clips)))
