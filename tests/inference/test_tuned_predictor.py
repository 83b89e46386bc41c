"""Predictions of bundles on features of a tuned backbone: where its weights are found, and which are refused."""

import dataclasses
import json
import shutil

import bundles
import numpy as np
import pytest
from tuned import TUNING, write_tuned

from actionrec.core.errors import DataError, WeightsError
from actionrec.features.backbones import FeatureSettings, create_backbone, describe
from actionrec.features.tuned_backbone import WEIGHTS, read_tuned
from actionrec.inference.predictor import load
from actionrec.training.bundle import load_bundle

SETTINGS = FeatureSettings("resnet18", "random", "fp32")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """data/models/gru, a bundle on a tuned backbone, with data/backbone beside."""
    folder = tmp_path_factory.mktemp("built") / "data"
    tuned = read_tuned(write_tuned(folder / "backbone", create_backbone(SETTINGS)))
    about = describe(SETTINGS, create_backbone(SETTINGS, tuned=tuned), tuned)
    bundles.tiny_bundle(folder / "models" / "gru", **about)
    return folder


@pytest.fixture
def data(built, tmp_path):
    return shutil.copytree(built, tmp_path / "data")


@pytest.fixture
def bundle(data):
    return data / "models" / "gru"


def test_the_weights_are_found_beside_the_models_in_the_bundle_and_where_they_are_named(data, bundle, tmp_path, monkeypatch):
    [clip] = bundles.clips(tmp_path / "clips", count=1)[:1]
    beside = load(bundle)
    assert beside.backbone.gain == TUNING.gain
    expected = beside.predict(clip).probabilities
    monkeypatch.chdir(bundle)
    from_inside = load(bundle.relative_to(bundle) / ".")
    file = (data / "backbone" / WEIGHTS).rename(tmp_path / "elsewhere.safetensors")
    named = load(bundle, backbone_file=file)
    shutil.copyfile(file, bundle / WEIGHTS)
    included = load(bundle)
    for predictor in (from_inside, named, included):
        np.testing.assert_array_equal(predictor.predict(clip).probabilities, expected)


def test_missing_weights_are_reported_with_the_places_where_they_belong(data, bundle):
    shutil.rmtree(data / "backbone")
    with pytest.raises(WeightsError) as caught:
        load(bundle)
    assert str(caught.value) == (
        f"{bundle} was trained on a tuned backbone, whose weights are missing; expected {bundle / WEIGHTS} or "
        f"{data / 'backbone' / WEIGHTS}. Copy the project's data/backbone/{WEIGHTS} into the bundle, or name it with --backbone."
    )
    with pytest.raises(WeightsError, match=r"weights are missing; expected .*none\.safetensors\. Copy"):
        load(bundle, backbone_file=data / "none.safetensors")


def test_other_weights_are_refused(data, bundle):
    shutil.rmtree(data / "backbone")
    write_tuned(data / "backbone", create_backbone(SETTINGS), factor=1.5)
    with pytest.raises(WeightsError, match=r"was trained on features of resnet18 with other weights than .*backbone\.safetensors"):
        load(bundle)


@pytest.mark.parametrize(
    ("tuning", "problem"),
    [
        (None, "features.tuning must hold keys and values"),
        ([], "features.tuning must hold keys and values"),
        ({**dataclasses.asdict(TUNING), "gain": 0}, "features.tuning.gain must be from 2^-100 to 2^100; got 0.0"),
        ({**dataclasses.asdict(TUNING), "epochs": "3"}, "features.tuning.epochs must be a whole number; got '3'"),
        (..., "features.tuning is missing"),
    ],
)
def test_a_malformed_description_of_the_tuning_is_reported_once(bundle, tuning, problem):
    description = json.loads((bundle / "model.json").read_text())
    description["features"]["tuning"] = tuning
    if tuning is ...:
        del description["features"]["tuning"]
    (bundle / "model.json").write_text(json.dumps(description))
    with pytest.raises(DataError) as caught:
        load_bundle(bundle)
    assert f"model.json is not a valid model description: {problem}. Run" in str(caught.value)
