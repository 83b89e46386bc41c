"""Checkpoints under the study's layout become bundles of ours."""

import pytest
import torch

from actionrec import study_checkpoint
from actionrec.bundle import load_bundle, save_new_bundle
from actionrec.errors import DataError, WeightsError
from actionrec.models import create_model

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


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    checkpoint(tmp_path / "best.pth", "gru")
    with pytest.raises(WeightsError, match=r"is no lstm of the study's: it has no lstm\.weight_ih_l0 \(it has fc\.bias"):
        study_checkpoint.read(tmp_path / "best.pth", "lstm", CLASSES)


def test_another_number_of_class_names_is_refused(tmp_path):
    checkpoint(tmp_path / "best.pth", "gru")
    with pytest.raises(WeightsError, match="tells 3 classes apart, but 2 class names are given"):
        study_checkpoint.read(tmp_path / "best.pth", "gru", CLASSES[:2])


def test_a_bundle_replaces_nothing_that_is_there(tmp_path):
    checkpoint(tmp_path / "best.pth", "gru")
    with pytest.raises(DataError, match="is there already"):
        save_new_bundle(tmp_path, study_checkpoint.read(tmp_path / "best.pth", "gru", CLASSES))


def test_class_names_are_read_one_a_line(tmp_path):
    (tmp_path / "classes.txt").write_text("Diving\n\n Tai Chi \n", encoding="utf-8")
    assert study_checkpoint.read_classes(tmp_path / "classes.txt") == ["Diving", "Tai Chi"]
    with pytest.raises(DataError, match="no such file of class names"):
        study_checkpoint.read_classes(tmp_path / "none.txt")
    with pytest.raises(DataError, match="cannot be read as UTF-8 text"):
        study_checkpoint.read_classes(tmp_path)
    (tmp_path / "classes.txt").write_text("Diving\nDiving\n", encoding="utf-8")
    with pytest.raises(DataError, match="names Diving more than once"):
        study_checkpoint.read_classes(tmp_path / "classes.txt")
