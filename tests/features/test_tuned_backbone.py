"""The tuned backbone's folder, and backbones with its weights."""

import dataclasses
import json

import pytest
import torch
from damaged import flip
from tuned import TUNING, write_tuned

from actionrec.core.errors import DataError, WeightsError
from actionrec.features.backbones import FeatureSettings, create_backbone, describe
from actionrec.features.state_dicts import state_sha256
from actionrec.features.tuned_backbone import (
    DESCRIPTION,
    WEIGHTS,
    TunedBackbone,
    read_tuned,
    refuse_tuned,
    tuning_of,
    write_untuned,
)
from actionrec.io import files

SETTINGS = FeatureSettings("shufflenet_v2_x0_5", "random", "fp32", ("rgb", "diff"))


@pytest.fixture(scope="module")
def plain():
    return create_backbone(SETTINGS)


@pytest.fixture
def folder(tmp_path, plain):
    """A tuned backbone: the seeded one with other weights in its last stage."""
    return write_tuned(tmp_path / "backbone", plain)


def test_what_was_written_is_read(folder):
    read = read_tuned(folder)
    assert read == TunedBackbone(folder / WEIGHTS, files.sha256_of(folder / WEIGHTS), TUNING)


def test_a_backbone_that_is_not_tuned_is_always_the_same(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_untuned(tmp_path / name)
        assert [path.name for path in (tmp_path / name).iterdir()] == [DESCRIPTION]
        assert read_tuned(tmp_path / name) is None
    assert (tmp_path / "one" / DESCRIPTION).read_bytes() == (tmp_path / "two" / DESCRIPTION).read_bytes()


def test_the_backbone_has_exactly_the_tuned_weights_and_gain(folder, plain):
    tuned = read_tuned(folder)
    built = create_backbone(SETTINGS, tuned=tuned)
    changed = {
        name for name, tensor in built.network.state_dict().items() if not torch.equal(tensor, plain.network.state_dict()[name])
    }
    assert changed == {"conv5.0.weight"}
    assert built.gain == TUNING.gain
    assert not any(weight.requires_grad for weight in built.parameters())
    assert not built.training
    shown = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    torch.testing.assert_close(built(shown), built.network(built.normalised(shown)).flatten(1) * TUNING.gain)


def test_the_description_says_how_it_was_tuned(folder, plain):
    tuned = read_tuned(folder)
    built = create_backbone(SETTINGS, tuned=tuned)
    about, frozen = describe(SETTINGS, built, tuned), describe(SETTINGS, plain)
    assert about == {
        **frozen,
        "weights": "tuned",
        "weights_sha256": state_sha256(built.network),
        "tuning": dataclasses.asdict(TUNING),
    }
    assert about["weights_sha256"] != frozen["weights_sha256"]
    assert tuning_of(json.loads(json.dumps(about)), []) == TUNING
    assert tuning_of(frozen, []) is None


def test_weights_of_another_network_are_refused(folder):
    with pytest.raises(WeightsError, match=r"backbone\.safetensors for resnet18"):
        create_backbone(FeatureSettings("resnet18", "random", "fp32"), tuned=read_tuned(folder))


def test_a_missing_folder_or_file_says_what_to_run(folder, tmp_path):
    with pytest.raises(DataError, match=r"nowhere/backbone\.json is missing\. Run `dvc repro` to make it\."):
        read_tuned(tmp_path / "nowhere")
    (folder / WEIGHTS).unlink()
    with pytest.raises(DataError, match=r"is not a tuned backbone \(.+ is missing\)\. Run `dvc repro -f finetune`\.$"):
        read_tuned(folder)


@pytest.mark.parametrize("name", [WEIGHTS, DESCRIPTION])
def test_a_flipped_byte_is_reported(folder, name):
    flip(folder / name, (folder / name).read_bytes().index(b"2" if name == DESCRIPTION else b"conv5"), keep_time=True)
    with pytest.raises(DataError, match=rf"do not match SHA256SUMS: {name}\."):
        read_tuned(folder)


@pytest.mark.parametrize("description", [[], 7, {}, {"tuned": True}, {"tuned": True, "tuning": {}}, {"tuning": [1]}])
def test_an_invalid_description_is_reported(folder, description):
    files.write_json(folder / DESCRIPTION, description)
    with pytest.raises(DataError, match=r"is not a tuned backbone \(.+\)\. Run `dvc repro -f finetune`\.$"):
        read_tuned(folder)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"gain": 0.0}, "f.tuning.gain must be from 2^-100 to 2^100; got 0.0"),
        ({"gain": "1"}, "f.tuning.gain must be a number; got '1'"),
        ({"stages": 1.5}, "f.tuning.stages must be a whole number; got 1.5"),
        ({"fold": None}, "f.tuning.fold must be a whole number; got None"),
        ({"more": 1}, "f.tuning.more is unknown"),
    ],
)
def test_entries_that_are_not_valid_are_named(change, problem):
    problems = []
    assert tuning_of({"tuning": {**dataclasses.asdict(TUNING), **change}}, problems, "f.") is None
    assert len(problems) == 1
    assert problems[0].startswith(problem)


def test_features_of_a_tuned_backbone_are_refused_with_the_reason():
    refuse_tuned({"weights": "random"}, "Why.")
    with pytest.raises(DataError) as caught:
        refuse_tuned({"weights": "tuned", "tuning": {}}, "It has seen them.")
    assert str(caught.value) == (
        "data/features are of a tuned backbone. It has seen them. Set finetune.epochs to 0 and run `dvc repro resnet_features`."
    )


def test_the_phrase_counts_stages_and_epochs():
    assert TUNING.phrase == "last 2 stages tuned for 3 epochs on the training clips of fold 1"
    one = dataclasses.replace(TUNING, stages=1, epochs=1)
    assert one.phrase == "last stage tuned for 1 epoch on the training clips of fold 1"
