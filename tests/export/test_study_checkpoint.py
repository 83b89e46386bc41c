"""Checkpoints under the study's layout become bundles of ours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from actionrec.core.errors import DataError, WeightsError
from actionrec.export import study_checkpoint
from actionrec.models import create_model
from actionrec.training.bundle import Architecture, load_bundle, save_new_bundle

ROOT = Path(__file__).parents[2]
CLASSES = ["Diving", "Fencing", "TaiChi"]
SIZES = {name: {"hidden_dim": 6} for name in study_checkpoint.LAYER}
SIZES["bilstm"]["read"] = "last"  # as the study reads it


def checkpoint(path, name, feature_dim=8, **more):
    """Save a model's weights as the study's script does."""
    model = create_model(name, SIZES[name], feature_dim=feature_dim, class_count=len(CLASSES))
    torch.save({"model_state_dict": model.state_dict(), "epoch": 7, "val_acc": 0.97, **more}, path)
    return model.eval()


@pytest.mark.parametrize("name", study_checkpoint.LAYER)
def test_an_imported_model_gives_the_checkpoints_logits_after_a_round_trip(name, tmp_path):
    model = checkpoint(tmp_path / "best.pth", name)
    save_new_bundle(tmp_path / "bundle", study_checkpoint.read(tmp_path / "best.pth", name, CLASSES))
    bundle = load_bundle(tmp_path / "bundle")
    features = torch.randn(2, 5, 8)
    torch.testing.assert_close(bundle.network(features), model(features))
    assert bundle.architecture.class_names == CLASSES
    assert bundle.features["backbone"] == "resnet50"


def test_the_stacked_models_layers_are_counted(tmp_path):
    checkpoint(tmp_path / "best.pth", "stacked_lstm")
    assert study_checkpoint.read(tmp_path / "best.pth", "stacked_lstm", CLASSES).architecture.arguments["num_layers"] == 2


def test_a_checkpoint_of_another_model_raises_an_error(tmp_path):
    checkpoint(tmp_path / "best.pth", "gru")
    with pytest.raises(WeightsError, match=r"is not the study's lstm: it lacks lstm\.weight_ih_l0; it has fc\.bias"):
        study_checkpoint.read(tmp_path / "best.pth", "lstm", CLASSES)


def test_another_number_of_class_names_raises_an_error(tmp_path):
    checkpoint(tmp_path / "best.pth", "gru")
    with pytest.raises(WeightsError, match="got 2 class names, expected 3"):
        study_checkpoint.read(tmp_path / "best.pth", "gru", CLASSES[:2])


def test_a_bundle_replaces_nothing_that_is_there(tmp_path):
    checkpoint(tmp_path / "best.pth", "gru")
    with pytest.raises(DataError, match="already exists"):
        save_new_bundle(tmp_path, study_checkpoint.read(tmp_path / "best.pth", "gru", CLASSES))


def test_class_names_are_read_one_a_line(tmp_path):
    (tmp_path / "classes.txt").write_text("Diving\n\n Tai Chi \n", encoding="utf-8")
    assert study_checkpoint.read_classes(tmp_path / "classes.txt") == ["Diving", "Tai Chi"]
    with pytest.raises(DataError, match="no such file of class names"):
        study_checkpoint.read_classes(tmp_path / "none.txt")
    with pytest.raises(DataError, match="cannot be read as UTF-8 text"):
        study_checkpoint.read_classes(tmp_path)
    (tmp_path / "classes.txt").write_text("Diving\nDiving\n", encoding="utf-8")
    with pytest.raises(DataError, match="duplicate class names: Diving"):
        study_checkpoint.read_classes(tmp_path / "classes.txt")


def stacked(hidden=6, features=8, classes=3, layers=2):
    """A state dict as the study's stacked LSTM has it, of any sizes."""
    state = {"fc.weight": torch.zeros(classes, hidden), "fc.bias": torch.zeros(classes)}
    for layer in range(layers):
        width = features if layer == 0 else hidden
        state |= {f"lstm.weight_ih_l{layer}": torch.zeros(4 * hidden, width)}
        state |= {f"lstm.weight_hh_l{layer}": torch.zeros(4 * hidden, hidden)}
        state |= {f"lstm.bias_{kind}_l{layer}": torch.zeros(4 * hidden) for kind in ("ih", "hh")}
    return state


NAMES_OF_99_LAYERS = {f"lstm.weight_ih_l{layer}": torch.zeros(1) for layer in range(2, 99)}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (stacked(hidden=0), "as stacked_lstm: hidden_dim must be from 1 to 16384; got 0."),
        (stacked(features=0), "as stacked_lstm: feature_dim must be from 1 to 65536; got 0."),
        (stacked(hidden=1) | {"lstm.weight_hh_l0": torch.zeros(4, 20_000)}, "hidden_dim must be from 1 to 16384; got 20000."),
        (stacked() | NAMES_OF_99_LAYERS, "as stacked_lstm: num_layers must be from 1 to 64; got 99."),
        (stacked() | {"lstm.weight_ih_l2": torch.zeros(1)}, "as stacked_lstm does not fit: lstm.weight_hh_l2 is missing;"),
        (stacked() | {"lstm.weight_hh_l0": torch.zeros(24, 9_000)}, "as stacked_lstm does not fit: "),
        (stacked() | {"lstm.weight_hh_l0": torch.zeros(6)}, "lstm.weight_hh_l0 has 1 dimensions, not the 2 of a matrix."),
        (stacked(classes=0), "got 3 class names, expected 0, as the checkpoint has."),
        (stacked() | {"lstm.bias_ih_l1": torch.full((24,), torch.nan)}, "lstm.bias_ih_l1 holds numbers that are not finite."),
    ],
)
def test_sizes_are_checked_before_a_network_is_built(tmp_path, monkeypatch, state, message):
    def build(self):
        if torch.get_default_device().type != "meta" and "not finite" not in message:
            raise AssertionError("built before the file was checked")
        return create(self)

    create = Architecture.create
    monkeypatch.setattr(Architecture, "create", build)
    torch.save({"model_state_dict": state}, tmp_path / "a.pth")
    with pytest.raises(WeightsError) as error:
        study_checkpoint.read(tmp_path / "a.pth", "stacked_lstm", CLASSES)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_import_study_reports_a_header_claiming_terabytes_in_one_line_and_little_memory(tmp_path):
    """Within 4 GB of addresses, most of which torch itself takes, and with the exit status of bad input."""
    huge = torch.zeros(1).expand(4 * 10**6, 10**6)
    torch.save({"model_state_dict": stacked() | {"lstm.weight_ih_l0": huge, "lstm.weight_hh_l0": huge}}, tmp_path / "a.pth")
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30));"
        "from actionrec.__main__ import main; main()"
    )
    names = ["--model", "stacked_lstm", "--classes", "classes.txt", "--output", "bundle"]
    done = subprocess.run(
        [sys.executable, "-c", script, "import-study", "a.pth", *names],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: a.pth: lstm.weight_ih_l0 has shape (4000000, 1000000) but stores fewer numbers; lstm.weight_hh_l0 has shape "
        "(4000000, 1000000) but stores fewer numbers. Save plain tensors of floating-point numbers.\n"
    )
    assert not (tmp_path / "bundle").exists()


def test_a_list_of_class_names_may_be_long_but_not_endless(tmp_path):
    (tmp_path / "classes.txt").write_text("\n".join(map(str, range(60_000))))
    assert len(study_checkpoint.read_classes(tmp_path / "classes.txt")) == 60_000
    with (tmp_path / "classes.txt").open("wb") as stream:
        stream.truncate(10 << 30)
    with pytest.raises(DataError, match="is not a list of class names: it has more than 10,000,000 characters"):
        study_checkpoint.read_classes(tmp_path / "classes.txt")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(DataError, match="is not a regular file; expected a text file with one class name per line"):
            study_checkpoint.read_classes(path)
