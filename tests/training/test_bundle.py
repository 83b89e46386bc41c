import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from actionrec.core.errors import DataError, WeightsError
from actionrec.io.files import sha256_of
from actionrec.models import MODELS
from actionrec.training.bundle import Architecture, Bundle, load_bundle, save_bundle
from actionrec.version import __version__

ROOT = Path(__file__).parents[2]
CLASSES = ["Pull ups, 'Über'", "Walking", "动作"]
FEATURES = {
    "backbone": "resnet18",
    "weights": "random",
    "weights_sha256": "ab",
    "precision": "fp32",
    "frames": {"count": 5, "resolution": 64, "format": "raw", "quality": 95},
}
ARGUMENTS = {
    "mean_pool": {},
    "mean_std": {},
    "middle_frame": {},
    "transformer": {"d_model": 8, "num_heads": 2, "num_layers": 1, "ff_dim": 8, "norm_first": False},
    "swin_transformer": {"dim": 8, "depths": (2, 1), "num_heads": (2, 2), "window": 4},
}


def fresh(name="gru", seed=0):
    torch.manual_seed(seed)
    architecture = Architecture(name, ARGUMENTS.get(name, {"hidden_dim": 6, "dropout": 0.3}), 4, CLASSES)
    network = architecture.create().eval()
    network.standardise.mean.normal_()
    network.standardise.scale.uniform_(1, 2)
    return Bundle(architecture, network, FEATURES)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "models" / "gru"
    save_bundle(folder, fresh())
    return folder


def test_an_older_linear_probe_with_dropout_loads(tmp_path):
    bundle = fresh("mean_pool")
    save_bundle(tmp_path / "mean_pool", bundle)
    description = json.loads((tmp_path / "mean_pool" / "model.json").read_text())
    description["arguments"] = {"dropout": 0.3}
    (tmp_path / "mean_pool" / "model.json").write_text(json.dumps(description))
    features = torch.randn(2, 9, 4)
    assert torch.equal(load_bundle(tmp_path / "mean_pool").network(features), bundle.network(features))


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_model_predicts_the_same_bits(name, tmp_path):
    bundle = fresh(name)
    save_bundle(tmp_path / name, bundle)
    loaded = load_bundle(tmp_path / name)
    features = torch.randn(2, 9, 4)
    assert torch.equal(loaded.network(features), bundle.network(features))
    assert not loaded.network.training
    assert loaded.features == FEATURES
    assert loaded.architecture.class_names == CLASSES
    assert loaded.architecture.model == name


def test_model_json_says_all_that_is_needed_to_use_the_model(folder):
    description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    digest = description.pop("sha256")
    assert len(digest) == 64
    assert description == {
        "actionrec_version": __version__,
        "model": "gru",
        "arguments": {"hidden_dim": 6, "dropout": 0.3},
        "parameters": 3 * 6 * (4 + 6 + 2) + 7 * 3,
        "feature_dim": 4,
        "class_names": CLASSES,
        "frames": {"count": 5, "resolution": 64, "format": "raw", "quality": 95},
        "clips": {"median_seconds": None},
        "features": {key: value for key, value in FEATURES.items() if key != "frames"},
        "calibration": None,
        "record_sha256": None,
    }


@pytest.mark.parametrize(
    ("calibration", "fitted", "note"),
    [
        (None, False, "not calibrated: there were no validation clips"),
        (
            {"temperature": 1.0, "temperature_fitted": False, "threshold": 0.0},
            False,
            "not calibrated: all validation clips were answered correctly",
        ),
        ({"temperature": 1.0, "temperature_fitted": True, "threshold": 0.0}, True, "calibrated on validation clips"),
        ({"temperature": 1.0, "threshold": 0.9}, False, "not calibrated: all validation clips were answered correctly"),
        ({"temperature": 1.5, "threshold": 0.9}, True, "calibrated on validation clips"),
    ],
)
def test_a_bundle_says_whether_its_temperature_was_fitted(calibration, fitted, note):
    bundle = dataclasses.replace(fresh(), calibration=calibration)
    assert (bundle.is_calibrated, bundle.calibration_note) == (fitted, note)


def test_a_bundle_from_before_the_version_and_the_resolution_loads(folder):
    description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    del description["actionrec_version"]
    description["frames"]["size"] = description["frames"].pop("resolution")
    (folder / "model.json").write_text(json.dumps(description), encoding="utf-8")
    assert load_bundle(folder).features["frames"] == {"count": 5, "resolution": 64, "format": "raw", "quality": 95}


def test_a_bundle_keeps_the_length_of_its_clips_and_older_ones_load_without(folder):
    assert load_bundle(folder).clip_seconds is None
    edit(folder, clips={"median_seconds": 3})
    assert load_bundle(folder).clip_seconds == 3
    save_bundle(folder, dataclasses.replace(fresh(), clip_seconds=3.217))
    assert load_bundle(folder).clip_seconds == 3.217
    description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    del description["clips"]
    (folder / "model.json").write_text(json.dumps(description), encoding="utf-8")
    assert load_bundle(folder).clip_seconds is None


def test_another_process_writes_the_same_bytes(tmp_path):
    code = (
        "import sys, pathlib; sys.path[:0] = ['tests', 'tests/training']; from test_bundle import fresh, save_bundle;"
        "save_bundle(pathlib.Path(sys.argv[1]), fresh('swin_transformer'))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "other")], check=True, cwd=ROOT)
    save_bundle(tmp_path / "here", fresh("swin_transformer"))
    for file in ("model.json", "model.safetensors"):
        assert (tmp_path / "here" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()


def test_an_old_bundle_is_replaced_whole(folder):
    (folder / "stray").write_text("")
    save_bundle(folder, fresh(seed=1))
    assert [file.name for file in folder.parent.iterdir()] == ["gru"]  # no draft
    assert sorted(file.name for file in folder.iterdir()) == ["model.json", "model.safetensors"]
    load_bundle(folder)


def test_weights_with_one_flipped_bit_are_refused(folder):
    path = folder / "model.safetensors"
    contents = bytearray(path.read_bytes())
    contents[-1] ^= 1
    path.write_bytes(contents)
    with pytest.raises(WeightsError) as caught:
        load_bundle(folder)
    assert str(caught.value) == f"{path} does not match model.json: its SHA-256 differs."


def edit(folder, **changes):
    path = folder / "model.json"
    description = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    path.write_text(json.dumps({key: value for key, value in description.items() if value != "gone"}), encoding="utf-8")


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "gone"},
        {"model": ["gru"]},
        {"arguments": {"hidden_dim": 6, "dropout": 7}},
        {"arguments": None},
        {"feature_dim": "4"},
        {"class_names": 3},
        {"sha256": "gone"},
        {"features": None},
        {"frames": "gone"},
    ],
)
def test_a_description_of_no_model_is_damaged(folder, changes):
    edit(folder, **changes)
    with pytest.raises(DataError, match="is not a valid model description") as caught:
        load_bundle(folder)
    assert str(caught.value).startswith(f"{folder}/model.json is not a valid model description")


@pytest.mark.parametrize(
    "changes", [{"model": "lstm"}, {"arguments": {"hidden_dim": 7}}, {"feature_dim": 5}, {"class_names": ["a"]}]
)
def test_a_description_of_another_model_is_refused(folder, changes):
    edit(folder, **changes)
    with pytest.raises(WeightsError, match=r"model\.safetensors does not fit: "):
        load_bundle(folder)


@pytest.mark.parametrize("file", ["model.json", "model.safetensors"])
def test_a_missing_file_says_what_makes_it(folder, file):
    (folder / file).unlink()
    with pytest.raises(DataError) as caught:
        load_bundle(folder)
    assert str(caught.value) == f"{folder / file} is missing. Run `dvc repro` to make it."


def replaced(folder, old, new):
    path = folder / "model.json"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arguments": {"hidden_dim": 0}}, ": hidden_dim must be from 1 to 16384; got 0"),
        ({"arguments": {"hidden_dim": "6"}}, ": arguments.hidden_dim must be a whole number; got '6'"),
        ({"arguments": {"hidden_dim": 6, "self": 1}}, ": arguments.self is unknown (known: hidden_dim, dropout)"),
        ({"model": "transformer", "arguments": {"num_layers": 100_000}}, ": num_layers must be from 1 to 64; got 100000"),
        (
            {"model": "swin_transformer", "arguments": {"depths": [2] * 1_000, "num_heads": [2] * 1_000}},
            ": depths must have at most 8 numbers; got 1,000",
        ),
        ({"feature_dim": 0}, ": feature_dim must be from 1 to 65536; got 0"),
        ({"class_names": []}, ": class_count must be from 1 to 65536; got 0"),
        ({"class_names": ["\ud800", "b"]}, ": class_names has a name that is empty or not valid Unicode"),
        ({"class_names": ["", "b"]}, ": class_names has a name that is empty or not valid Unicode"),
        ({"class_names": ["a", "a"]}, ": class_names has a name more than once"),
        ({"class_names": [1, 2, 3]}, ": class_names must be a list, each item text"),
        ({"model": "\x1b[31m" + "x" * 10**6}, r", transformer; got '\x1b[31mxxxx"),
        ({"frames": {**FEATURES["frames"], "count": 10**9}}, ": frames.count must be from 1 to 4096; got 1000000000"),
        ({"frames": {**FEATURES["frames"], "resolution": "64"}}, ": frames.resolution must be a whole number; got '64'"),
        ({"frames": {**FEATURES["frames"], "format": "png"}}, ": frames.format must be one of jpeg, raw; got 'png'"),
        ({"frames": []}, ": frames must hold keys and values; got []"),
        ({"frames": {"count": 8, "format": "raw", "quality": 95}}, ": frames.resolution is missing"),
        ({"features": {**FEATURES, "precision": "fp16"}}, ": features.precision must be one of fp32, bf16; got 'fp16'"),
        ({"features": {**FEATURES, "weights_sha256": 5}}, ": features.weights_sha256 must be text or null; got 5"),
        (
            {"features": {**FEATURES, "streams": ["flow"]}},
            ": features.streams must be a list, each item one of rgb, diff; got ['flow']",
        ),
        ({"features": {**FEATURES, "streams": []}}, ": features.streams must name at least one stream, and each only once; got []"),
        ({"clips": 3.2}, ": clips must hold keys and values; got 3.2"),
        ({"clips": {}}, ": clips.median_seconds is missing"),
        ({"clips": {"median_seconds": "3.2"}}, ": clips.median_seconds must be a number or null; got '3.2'"),
        ({"clips": {"median_seconds": -1}}, ": clips.median_seconds must be null or from 0; got -1"),
        ({"calibration": [1]}, ": calibration must hold keys and values; got [1]"),
        ({"calibration": {"temperature": 1e-300, "threshold": 0}}, ": calibration: temperature must be from 0.001 to 1,000"),
    ],
)
def test_what_a_description_claims_is_checked_before_anything_is_built(folder, monkeypatch, changes, message):
    monkeypatch.setattr(torch, "empty", lambda *sizes, **more: pytest.fail(f"took memory for {sizes}"))
    edit(folder, **changes)
    with pytest.raises(DataError) as caught:
        load_bundle(folder)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{folder}/model.json is not a valid model description")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < len(str(folder)) + 500


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"feature_dim": 4', '"feature_dim": ' + "4" * 5_000, "a number of 5,000 digits"),
        ('"dropout": 0.3', '"dropout": NaN', "the number NaN is not finite"),
        ('"dropout": 0.3', '"dropout": 1e999', "the number 1e999 is not finite"),
        ('"calibration": null', '"calibration": ' + "[" * 100_000, "nested too deeply"),
    ],
    ids=["5,000 digits", "NaN", "infinity", "deep"],
)
def test_numbers_and_depths_that_nothing_can_hold_are_refused(folder, old, new, reason):
    replaced(folder, old, new)
    with pytest.raises(DataError) as caught:
        load_bundle(folder)
    assert str(caught.value) == f"{folder}/model.json: not valid JSON ({reason}). Run `python -m actionrec repair`."


def test_a_network_of_terabytes_is_compared_with_its_file_and_never_built(folder):
    arguments = {"d_model": 16_384, "ff_dim": 65_536, "num_layers": 64, "num_heads": 8}
    edit(folder, model="transformer", arguments=arguments)
    with pytest.raises(WeightsError, match=r"model\.safetensors does not fit: model\..* is missing; .* and [\d,]+ more\.$"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(18, 4, dtype=torch.bfloat16), "has tensors of type BF16; expected F32. Run `dvc repro` to recompute it."),
        (torch.full((18, 4), torch.nan), "does not fit: model.gru.weight_ih_l0 holds numbers that are not finite."),
        (
            torch.full((18, 4), 1e300, dtype=torch.float64),
            "does not fit: model.gru.weight_ih_l0 holds numbers that are too large for float32.",
        ),
        (torch.zeros(18, 0), "does not fit: model.gru.weight_ih_l0 has shape (18, 0), expected (18, 4)."),
    ],
    ids=["bf16", "nan", "too large", "empty"],
)
def test_weights_of_another_kind_are_refused_though_their_hash_is_right(folder, tensor, message):
    file = folder / "model.safetensors"
    safetensors.torch.save_file({**fresh().network.state_dict(), "model.gru.weight_ih_l0": tensor}, file)
    edit(folder, sha256=sha256_of(file))
    with pytest.raises(WeightsError) as caught:
        load_bundle(folder)
    assert str(caught.value) == f"{file} {message}"


def claim(header):
    return len(header).to_bytes(8, "little") + header


@pytest.mark.parametrize(
    "contents",
    [
        claim(json.dumps({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}).encode()),
        claim(b'{"a":' + b"[" * 100_000),
        (10**18).to_bytes(8, "little") + b"{}",
        b"",
    ],
    ids=["claims terabytes", "deep", "long header", "empty"],
)
def test_a_damaged_header_is_one_line(folder, contents):
    (folder / "model.safetensors").write_bytes(contents)
    edit(folder, sha256=sha256_of(folder / "model.safetensors"))
    with pytest.raises(DataError, match=r"model\.safetensors is damaged \(") as caught:
        load_bundle(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", MODELS)
def test_an_outline_takes_no_memory_and_has_the_networks_names_and_shapes(name):
    architecture = fresh(name).architecture
    outline, network = architecture.outline().state_dict(), architecture.create().state_dict()
    assert {key: tensor.shape for key, tensor in outline.items()} == {key: tensor.shape for key, tensor in network.items()}
    assert all(tensor.is_meta for tensor in outline.values())
