"""Training on a GPU that holds all features. Without CUDA graphs, it also runs on a CPU, which these tests use."""

import dataclasses
import gc
import weakref

import numpy as np
import pytest
import torch
from fabricate import toy_set, train_settings
from torch import nn

from actionrec.models import create_model
from actionrec.training import loop, resident
from actionrec.training.classifier import Classifier
from actionrec.training.loop import Examples
from actionrec.training.resident import ResidentPrediction

FRAMES, FEATURE_DIM, CLASS_COUNT = 8, 4, 3
# float32 represents these learning rates, which are in a tensor in one way of training and not in the other.
SETTINGS = train_settings(epochs=3, batch_size=8, learning_rate=2**-7, gamma=0.5, step_size=1, warmup_epochs=0, clip_norm=1.0)
MODELS = {
    "gru": {"hidden_dim": 6, "dropout": 0.3},
    "stacked_lstm": {"hidden_dim": 6, "dropout": 0.3},
    "swin_transformer": {"dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window": 4, "dropout": 0.3},
}


@pytest.fixture(autouse=True)
def one_thread(one_seeded_thread):
    """Sums do not depend on the number of cores."""


@pytest.fixture
def examples():
    features, labels, *rows = toy_set(FRAMES, FEATURE_DIM, CLASS_COUNT, margin=0.4)
    return Examples(torch.from_numpy(features), torch.from_numpy(labels), *rows)


def trained(name, examples, settings, device="cpu"):
    loop.reproducible(3, device)
    model = Classifier(FEATURE_DIM, create_model(name, MODELS[name], feature_dim=FEATURE_DIM, class_count=CLASS_COUNT)).to(device)
    on_device = dataclasses.replace(examples, features=examples.features.to(device), labels=examples.labels.to(device))
    done = loop.fit(model, on_device, settings, 3, lambda epoch: None)
    return {key: tensor.cpu().numpy().tobytes() for key, tensor in model.state_dict().items()}, done.epochs


AUGMENTED = {"mixup": 0.4, "drop_frames": 0.2, "time_jitter": 1}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("gru", {}),
        ("gru", {"batch_size": 5}),
        ("gru", {"batch_size": 500}),
        ("gru", AUGMENTED),
        ("stacked_lstm", {"class_weights": "balanced", "clip_norm": 0.0}),
        ("swin_transformer", AUGMENTED | {"class_weights": "balanced", "weight_decay": 0.01}),
    ],
)
def test_weights_and_measurements_are_those_of_training_on_batches_that_are_read(examples, name, changes, monkeypatch):
    settings = dataclasses.replace(SETTINGS, **changes)
    wanted = trained(name, examples, settings)
    monkeypatch.setattr(loop, "can_be_captured", lambda model, device: True)
    monkeypatch.setattr(loop, "_take_steps", lambda *_: pytest.fail("read batches"))
    assert trained(name, examples, settings) == wanted
    assert len({epoch.learning_rate for epoch in wanted[1]}) == 3


def test_a_finished_training_frees_the_features_without_garbage_collection(examples, monkeypatch):
    """Else the next seed's features would not fit onto the GPU beside these."""
    monkeypatch.setattr(loop, "can_be_captured", lambda model, device: True)
    gc.disable()
    try:
        model = Classifier(FEATURE_DIM, create_model("gru", MODELS["gru"], feature_dim=FEATURE_DIM, class_count=CLASS_COUNT))
        held = dataclasses.replace(examples, features=examples.features.clone())
        features = weakref.ref(held.features)
        loop.fit(model, held, SETTINGS, 3, lambda epoch: None)
        del held
        assert features() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("count", [1, 63, 64, 128, 150])
def test_predictions_are_those_of_the_model_as_it_is_now(examples, count):
    model = Classifier(FEATURE_DIM, create_model("gru", MODELS["gru"], feature_dim=FEATURE_DIM, class_count=CLASS_COUNT))
    features = torch.randn(200, FRAMES, FEATURE_DIM, dtype=torch.float64).half()
    rows = np.random.default_rng(0).permutation(200)[:count]
    predict = ResidentPrediction(model, features, rows, loop.EVALUATION_BATCH)
    for _ in range(2):
        assert np.array_equal(predict(), loop.predict(model, features, rows))
        with torch.no_grad():
            model.model.fc.bias += 1


def test_layers_with_cudnn_s_dropout_are_not_captured():
    captured = {
        "one layer": nn.GRU(4, 4, dropout=0.0),
        "no dropout": nn.GRU(4, 4, num_layers=2),
        "dropout": nn.GRU(4, 4, num_layers=2, dropout=0.1),
    }
    gpu = torch.device("cuda")
    found = {name: resident.can_be_captured(nn.Sequential(layer), gpu) for name, layer in captured.items()}
    assert found == {"one layer": True, "no dropout": True, "dropout": False}
    assert not resident.can_be_captured(nn.Linear(4, 4), torch.device("cpu"))


@pytest.mark.gpu
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("changes", [{}, AUGMENTED, {"precision": "bf16"}])
def test_graphs_leave_the_same_bytes_as_steps_without_graphs(examples, name, changes, monkeypatch, caplog):
    settings = dataclasses.replace(SETTINGS, **changes)
    with_graphs = trained(name, examples, settings, "cuda")
    assert "Without a CUDA graph" not in caplog.text
    monkeypatch.setattr(loop, "can_be_captured", lambda model, device: False)
    assert trained(name, examples, settings, "cuda") == with_graphs
    torch.use_deterministic_algorithms(False)
