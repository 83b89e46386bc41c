"""A new file in actionrec/models and its section in params.yaml are all that a new model needs in Python."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from actionrec.models import MODELS

ROOT = Path(__file__).parents[2]

TCN = '''
"""A temporal convolutional network (arXiv 1803.01271), read at the last time step."""

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Tcn"]


class Tcn(nn.Module):
    """Features (B, T, D) -> causal convolutions over time -> last state -> dropout -> linear -> logits (B, K)."""

    def __init__(
        self, *, feature_dim: int, class_count: int, hidden_dim: int, kernel_size: int = 3, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList([
            CausalConvolution(feature_dim, hidden_dim, kernel_size, dilation=1),
            CausalConvolution(hidden_dim, hidden_dim, kernel_size, dilation=2),
        ])
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(hidden_dim, class_count)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, T, D) to logits (B, K)."""
        states = features.transpose(1, 2)  # (B, D, T)
        for layer in self.layers:
            states = layer(states)
        return self.fc(self.dropout(states[:, :, -1]))


class CausalConvolution(nn.Module):
    """x (B, C, T) -> ReLU of a convolution of each frame and those before it (B, H, T)."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.padding = dilation * (kernel_size - 1)
        self.convolution = nn.Conv1d(inputs, outputs, kernel_size, dilation=dilation)

    def forward(self, states: Tensor) -> Tensor:
        return functional.relu(self.convolution(functional.pad(states, (self.padding, 0))))
'''

USE = """
from dataclasses import replace
from pathlib import Path

import numpy as np

from actionrec.evaluation import study_results
from actionrec.features.feature_store import FeatureSet
from actionrec.inference.explanation import attention
from actionrec.models import MODELS
from actionrec.plots.canvas import COLOURS
from actionrec.training import loop, record, seed_runs
from actionrec.training.bundle import Architecture, Bundle, load_bundle, save_bundle
from actionrec.training.recipes import read_recipe
from actionrec.training.training_data import TrainingData

assert "tcn" in MODELS and list(MODELS) == sorted(MODELS)
assert len(set(COLOURS.values())) == len(MODELS)

recipe = read_recipe("tcn")
assert recipe.arguments == {"hidden_dim": 512, "kernel_size": 2, "dropout": 0.3}
labels = np.arange(24) % 2
features = np.random.default_rng(0).normal(labels[:, None, None], 0.1, (24, 5, 4)).astype(np.float16)
clips = FeatureSet([f"{number:02}.avi" for number in range(24)], features, {"backbone": "resnet50", "weights": "random"})
rows = {"train": np.arange(12), "val": np.arange(12, 18), "test": np.arange(18, 24)}
data = TrainingData(labels, ["a", "b"], np.arange(24), rows, clips)
architecture = Architecture("tcn", recipe.arguments, 4, data.class_names)
recipe = replace(recipe, train=replace(recipe.train, epochs=1))
run = seed_runs.run(data, architecture, recipe, 0, "cpu", lambda epoch: None)

predictions = seed_runs.predictions([run], run, data, 0, "cpu")
calibration = record.calibrate(predictions)
diagnostics = record.judge(run.fit, data, predictions)
assert record.metrics_of(data, [run], run, predictions, calibration, diagnostics)["test_top1"] == 1

source = {
    "backbone": "resnet50",
    "weights": "random",
    "weights_sha256": None,
    "precision": "fp32",
    "frames": {"count": 5, "resolution": 64, "format": "jpeg", "quality": 95},
}
save_bundle(Path("tcn"), Bundle(architecture, run.network, source, calibration))
bundle = load_bundle(Path("tcn"))
assert np.array_equal(loop.predict(bundle.network, features, data.reported), run.logits)
assert attention(bundle.network, features[0]) is None
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with a copy of the package and of params.yaml."""
    shutil.copytree(ROOT / "actionrec", tmp_path / "actionrec", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path


def run(code: str, folder: Path) -> str:
    """What code prints that runs in a folder, whose package comes first on sys.path."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_new_file_is_a_model_that_trains_predicts_and_loads(copy):
    (copy / "actionrec/models/tcn.py").write_text(TCN)
    params = copy / "params.yaml"
    params.write_text(params.read_text().replace("  simple_rnn: {}\n", "  simple_rnn: {}\n  tcn:\n    kernel_size: 2\n"))
    run(USE, copy)


def test_a_file_that_does_not_export_one_class_is_an_error_that_names_the_file(copy):
    names = ["Tcn", "CausalConvolution"]
    (copy / "actionrec/models/tcn.py").write_text(TCN.replace('["Tcn"]', repr(names)))
    code = "from actionrec.models import model_class\ntry:\n    model_class('tcn')\nexcept ImportError as error:\n    print(error)"
    assert run(code, copy).startswith(f"actionrec/models/tcn.py: __all__ must export one class, the model; got {names}.")


def test_models_are_found_in_a_zip_file(tmp_path):
    shutil.make_archive(str(tmp_path / "package"), "zip", ROOT, "actionrec")
    code = (
        "import sys; sys.path.insert(0, 'package.zip'); from actionrec import models;"
        "print(models.__file__, *models.MODELS, models.model_class('gru').__name__)"
    )
    printed = run(code, tmp_path).split()
    assert "package.zip" in printed[0]
    assert printed[1:] == [*MODELS, "Gru"]
