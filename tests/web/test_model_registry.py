"""Models that are served: shared backbones, and bundles that do not fit."""

import json
import shutil
from pathlib import Path

import bundles
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from actionrec.core.errors import ActionrecError, DataError
from actionrec.io.files import sha256_of
from actionrec.web import model_registry
from actionrec.web.model_registry import ModelRegistry
from actionrec.web.predict_request import RequestError


def describe(folder, **changes):
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def damage_hash(folder):
    state = load_file(folder / "model.safetensors")
    save_file({name: array + np.float32(0.01) for name, array in state.items()}, folder / "model.safetensors")
    return "model.safetensors does not match model.json: its SHA-256 differs."


def damage_backbone(folder):
    known = json.loads((folder / "model.json").read_text())
    describe(folder, features={**known["features"], "weights_sha256": "0" * 64})
    return "was trained on features of resnet18 with other weights than random"


def damage_description(folder):
    (folder / "model.json").write_text("{")
    return "model.json: not valid JSON"


DAMAGES = {"hash": damage_hash, "backbone": damage_backbone, "description": damage_description}


def test_damaged_bundles_are_refused_and_the_others_are_served(models, clips, tmp_path, caplog):
    folders = {name: shutil.copytree(models[0], tmp_path / name) for name in DAMAGES}
    reasons = {name: DAMAGES[name](folder) for name, folder in folders.items()}
    registry = ModelRegistry([*folders.values(), models[1]])
    refusals = {}
    for name, reason in reasons.items():
        caplog.clear()
        for _ in range(2):
            with pytest.raises(RequestError) as refused:
                registry.predictor(name)
        assert refused.value.status_code == 500
        assert str(refused.value) == f"{name} cannot be used: its files are damaged. Choose another model."
        assert len(caplog.records) == 1  # not one for each request
        assert reason in caplog.text
        refusals[name] = str(refused.value)
    assert {one["model"]: one["error"] for one in registry.describe()} == {**refusals, "simple_rnn": None}

    registry.prepare()
    assert registry.names[0] == "simple_rnn"  # a model that works is the default
    assert registry.predictor().predict(next(clips.glob("Dark/*"))).label == "Dark"


def test_a_repaired_bundle_is_served(models, tmp_path):
    bad = shutil.copytree(models[0], tmp_path / "bad")
    (bad / "model.safetensors").unlink()
    registry = ModelRegistry([bad])
    with pytest.raises(ActionrecError, match=r"model\.safetensors"):
        registry.prepare()
    shutil.copyfile(models[0] / "model.safetensors", bad / "model.safetensors")
    assert sha256_of(bad / "model.safetensors") == json.loads((bad / "model.json").read_text())["sha256"]
    assert registry.predictor("bad").name == "bad"
    assert registry.describe()[0]["error"] is None


def test_a_model_says_how_long_the_windows_of_a_timeline_should_be(tmp_path):
    folders = [
        bundles.tiny_bundle(tmp_path / "known", clip_seconds=2.345),
        bundles.tiny_bundle(tmp_path / "unknown"),
        bundles.tiny_bundle(tmp_path / "snippets", backbone="r3d_18", frames=bundles.VIDEO, clip_seconds=0.1),
        bundles.tiny_bundle(tmp_path / "damaged"),
    ]
    describe(folders[3], clips="2 s")
    registry = ModelRegistry(folders)
    assert [one.get("window_seconds") for one in registry.describe()] == [2.3, 4.0, 0.5, None]
    assert [registry.predictor(name).default_window for name in registry.names[:3]] == [2.3, 4.0, 0.5]


def test_a_model_says_whether_it_was_calibrated(tmp_path):
    unfitted = {"temperature": 1.0, "temperature_fitted": False, "threshold": 0.0}
    folders = [bundles.tiny_bundle(tmp_path / name, calibration=one) for name, one in (("a", bundles.CALIBRATION), ("b", unfitted))]
    assert [(one["calibrated"], one["calibration_note"]) for one in ModelRegistry(folders).describe()] == [
        (True, "calibrated on validation clips"),
        (False, "not calibrated: all validation clips were answered correctly"),
    ]


def test_models_of_one_backbone_share_it(models):
    registry = ModelRegistry(models)
    first, second = registry.predictor("gru"), registry.predictor("simple_rnn")
    assert first.backbone is second.backbone
    assert first.extractor is second.extractor


def test_names_must_tell_models_apart(models, tmp_path):
    same = shutil.copytree(models[0], tmp_path / "gru")
    with pytest.raises(DataError, match="models must have different names"):
        ModelRegistry([models[0], same])
    with pytest.raises(DataError, match="nix: no such model"):
        ModelRegistry([tmp_path / "nix"])


def test_trained_models_come_with_the_best_first(project):
    with pytest.raises(DataError, match="data/models has no trained model"):
        model_registry.trained()
    for name in ("a", "b", "c"):
        (project / "data/models" / name).mkdir(parents=True)
        (project / "data/models" / name / "model.json").write_text("{}")
    assert [folder.name for folder in model_registry.trained()] == ["a", "b", "c"]
    (project / "metrics").mkdir()
    (project / "metrics/compare.json").write_text(json.dumps({"models": {"b": {"rank": 2}, "c": {"rank": 1}}}))
    assert [folder.name for folder in model_registry.trained()] == ["c", "b", "a"]


def test_a_projects_model_has_its_figures_however_it_is_reached(project):
    bundles.tiny_bundle(project / "data/models/gru")
    (project / "metrics").mkdir()
    (project / "metrics/compare.json").write_text(json.dumps({"models": {"gru": {"rank": 1, "top1": 0.75}}}))
    (project / "link").symlink_to(project / "data/models/gru")
    for path in ("data/models/gru", project / "data/models/gru", "./data/../data/models/gru", "link"):
        (model,) = ModelRegistry([Path(path)]).describe()
        assert (model["model"], model["top1"]) == ("gru", 0.75), path
    other = shutil.copytree(project / "data/models/gru", project / "elsewhere/gru")
    assert "top1" not in ModelRegistry([other]).describe()[0]


def test_models_on_other_streams_share_the_backbone_and_not_the_extractor(tmp_path):
    folders = [
        bundles.tiny_bundle(tmp_path / "rgb"),
        bundles.tiny_bundle(tmp_path / "diff", streams=("diff",)),
        bundles.tiny_bundle(tmp_path / "other", streams=("diff",)),
    ]
    registry = ModelRegistry(folders)
    rgb, diff, other = (registry.predictor(name) for name in registry.names)
    assert rgb.backbone is diff.backbone
    assert rgb.extractor is not diff.extractor
    assert diff.extractor is other.extractor
    assert [one["streams"] for one in registry.describe()] == [["rgb"], ["diff"], ["diff"]]
