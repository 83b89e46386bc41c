"""The public Python API: `import actionrec`."""

import json
import subprocess
import sys
from pathlib import Path

import bundles
import numpy as np
import pytest
import torch
from fabricate import BASELINES
from film import write_video

import actionrec
from actionrec import api
from actionrec.core.errors import DataError, VideoError
from actionrec.inference import predictor
from actionrec.models import MODELS, model_keys
from actionrec.training.recipes import read_recipe

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return bundles.tiny_bundle(tmp_path_factory.mktemp("models") / "gru")


@pytest.fixture(scope="module")
def model(folder):
    return actionrec.load(str(folder))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return bundles.clips(tmp_path_factory.mktemp("clips"), count=1)


def arrays(count=4):
    """Features (n, T, D) and labels of clips that are easy to tell apart."""
    random = np.random.default_rng(0)
    labels = [name for name in bundles.CLASSES for _ in range(count)]
    features = random.normal(size=(len(labels), 5, 8)).astype(np.float32)
    features[:, :, :3] += 3 * np.repeat(np.eye(3), count, axis=0)[:, None]
    return features, labels


def test_import_alone_is_fast():
    code = "import sys, actionrec; actionrec.__version__; print({'torch', 'numpy', 'cv2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True)
    assert done.stdout == "set()\n"


def test_public_names_exist_and_are_documented():
    for name in actionrec.__all__:
        assert name == "__version__" or getattr(actionrec, name).__doc__
    for public in (actionrec.Model, actionrec.SequenceModel):
        undocumented = [name for name, member in vars(public).items() if name[0] != "_" and not member.__doc__]
        assert not undocumented
    with pytest.raises(AttributeError, match="module 'actionrec' has no attribute 'nonsense'"):
        actionrec.nonsense  # noqa: B018


def test_a_loaded_model_predicts_like_the_command_line(folder, model, clips):
    reference = predictor.load(folder)
    assert (model.name, model.class_names) == ("gru", bundles.CLASSES)
    for clip in clips:
        prediction = model.predict(str(clip))
        assert prediction.label == clip.parent.name
        assert prediction.probabilities.tolist() == reference.predict(clip).probabilities.tolist()
        features = model.features(clip)
        assert features.shape == (bundles.FRAMES["count"], 512)
        assert features.tolist() == reference.extractor(reference.sample(clip).frames).tolist()


def test_a_timeline_covers_the_video(model, clips):
    runs = model.timeline(str(clips[0]), window=0.2)
    assert (runs[0].start, runs[-1].end) == (0, pytest.approx(12 / 25))
    assert {run.answer for run in runs} == {"Bright"}


def test_a_timeline_has_windows_as_long_as_the_training_clips(tmp_path):
    model = actionrec.load(bundles.tiny_bundle(tmp_path / "gru", clip_seconds=0.6))
    video = write_video(tmp_path / "film.avi", bundles.pictures(0, 7, 50))  # 2 s
    (run,) = model.timeline(video)
    assert [run] == model.timeline(video, window=0.6)
    assert run.windows == 6


def test_an_explanation_is_of_the_predicted_class_or_of_the_one_asked_for(model, clips):
    assert model.explain(clips[1]).label == "Dark"
    found = model.explain(str(clips[1]), "Striped")
    assert found.label == "Striped"
    assert found.importance.shape == (bundles.FRAMES["count"],)
    with pytest.raises(ValueError, match="label: no such class; got 'Nix', expected one of Bright, Dark, Striped"):
        model.explain(clips[1], "Nix")


def test_errors_name_the_file(model, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video" * 100)
    for method in (model.predict, model.timeline, model.explain, model.features):
        with pytest.raises(VideoError, match=f"^{broken}: not a video file"):
            method(broken)
        with pytest.raises(DataError, match=f"^{tmp_path}/missing.mp4: no such file"):
            method(tmp_path / "missing.mp4")


@pytest.mark.parametrize("name", MODELS)
def test_every_model_trains_on_arrays_and_the_same_seed_gives_the_same_weights(name):
    features, labels = arrays()
    solved = name in BASELINES
    options = {**bundles.SETTINGS[name], **({} if solved else {"epochs": 3, "batch_size": 4})}
    models = [actionrec.train(features, labels, model=name, device="cpu", **options) for _ in range(2)]
    assert models[0].class_names == bundles.CLASSES
    assert len(models[0].epochs) == (1 if solved else 3)
    shares = models[0].probabilities(features)
    assert shares.shape == (12, 3)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert shares.tolist() == models[1].probabilities(features).tolist()


def test_training_learns_and_leaves_torch_as_it_was():
    features, labels = arrays()
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    threads = torch.get_num_threads()
    model = actionrec.train(features, labels, hidden_dim=16, epochs=15, batch_size=4, learning_rate=0.01, device="cpu")
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.rand(1), expected)
    assert model.predict(features) == labels
    assert 1 <= model.best_epoch <= 15


def test_a_model_trained_on_features_is_saved_and_predicts_videos(model, clips, tmp_path):
    features = np.stack([model.features(clip) for clip in clips for _ in range(2)])
    labels = [clip.parent.name for clip in clips for _ in range(2)]
    trained = actionrec.train(features, labels, validation=[0, 2, 4], hidden_dim=16, epochs=20, device="cpu")
    trained.save(tmp_path / "mine", model.features_source)
    assert json.loads((tmp_path / "mine/model.json").read_text())["actionrec_version"] == actionrec.__version__
    saved = actionrec.load(tmp_path / "mine", device="cpu")
    for clip, shares in zip(clips, trained.probabilities(features[::2]), strict=True):
        np.testing.assert_allclose(saved.predict(clip).probabilities, shares, atol=1e-6)
    with pytest.raises(DataError, match="mine already exists"):
        trained.save(tmp_path / "mine", model.features_source)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": "nix"}, ValueError, "model: no such model; got 'nix', expected one of bilstm, gru, "),
        ({"epoch": 3}, TypeError, "gru: no such options: epoch; expected some of epochs, "),
        ({"model": "mean_pool", "epochs": 3}, TypeError, "mean_pool: no such options: epochs; expected some of weight_decay, "),
        ({"epochs": 0}, ValueError, "epochs must be at least 1; got 0"),
        ({"hidden_dim": 0}, ValueError, "hidden_dim must be from 1 to 16384; got 0"),
        ({"features": np.zeros((3, 4))}, ValueError, r"features: wrong shape; got \(3, 4\), expected \(clips, frames, features\)"),
        ({"labels": ["a"]}, ValueError, "labels: need one per clip; got 1, expected 12"),
        ({"validation": 1.5}, ValueError, "validation: share out of range; got 1.5"),
        ({"validation": []}, ValueError, r"validation: rows must be from 0 to 11, at least one; got \[\]"),
        ({"validation": [12]}, ValueError, "validation: rows must be from 0 to 11"),
        ({"validation": [0, 1, 2, 3]}, ValueError, "validation: each class needs a training clip"),
    ],
)
def test_bad_input_is_refused(changes, error, message):
    features, labels = arrays()
    arguments = {"features": features, "labels": labels, "device": "cpu", **changes}
    with pytest.raises(error, match=message):
        actionrec.train(**arguments)


def test_a_validation_share_takes_some_clips_of_each_class():
    places = np.repeat([0, 1, 2], [10, 2, 1])
    held_out = api._validation_rows(places, 0.3, seed=0)
    assert np.bincount(places[held_out]).tolist() == [3, 1]  # the only clip of a class is for training
    assert held_out.tolist() != api._validation_rows(places, 0.3, seed=1).tolist()


@pytest.mark.parametrize("name", ["gru", "bilstm", "transformer", "swin_transformer"])
def test_the_defaults_are_those_of_params_yaml(name):
    recipe = read_recipe(name, ROOT / "params.yaml")
    defaults_of_api = api._recipe(name, {}, 0)
    settings, arguments = defaults_of_api.train, defaults_of_api.arguments
    assert (list(settings.seeds), list(recipe.train.seeds)) == ([0], [0])
    assert {**vars(settings), "seeds": None} == {**vars(recipe.train), "seeds": None}
    defaults = {key: parameter.default for key, parameter in model_keys(name).items()}

    def plain(values):
        return {key: list(value) if isinstance(value, tuple) else value for key, value in {**defaults, **values}.items()}

    assert plain(arguments) == plain(recipe.arguments)
