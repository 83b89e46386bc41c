"""Section `finetune` of params.yaml."""

import subprocess
import sys
from pathlib import Path

import pytest
from small_tuning import settings

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("epochs", -1, "at least 0"),
        ("stages", 0, "at least 1"),
        ("segments", 0, "at least 1"),
        ("batch_size", 0, "at least 1"),
        ("learning_rate", 0.0, "above 0"),
        ("learning_rate", float("nan"), "above 0"),
        ("weight_decay", -0.1, "at least 0"),
        ("weight_decay", float("nan"), "at least 0"),
        ("dropout", -0.1, "from 0 to 0.99"),
        ("dropout", 1.0, "from 0 to 0.99"),
        ("crop", 0.0, "from 0.01 to 1"),
        ("crop", 1.1, "from 0.01 to 1"),
        ("crop", float("nan"), "from 0.01 to 1"),
        ("colour", -0.1, "from 0 to 1"),
        ("colour", 1.1, "from 0 to 1"),
    ],
)
def test_values_out_of_range_are_rejected(key, value, expected):
    with pytest.raises(ValueError, match=rf"^{key} must be {expected}; got {value}$"):
        settings(**{key: value})


@pytest.mark.parametrize(
    "limits",
    [
        {
            "epochs": 0,
            "stages": 1,
            "segments": 1,
            "batch_size": 1,
            "weight_decay": 0.0,
            "dropout": 0.0,
            "crop": 0.01,
            "colour": 0.0,
        },
        {"dropout": 0.99, "crop": 1.0, "colour": 1.0},
    ],
)
def test_the_limits_themselves_are_valid(limits):
    made = settings(**limits)
    assert all(getattr(made, key) == value for key, value in limits.items())


@pytest.mark.parametrize("pairs", [[["a"]], [["a", "b", "c"]], [["a", "a"]], [["a", "b"], ["b", "c"]], [[]]])
def test_pairs_have_two_classes_and_each_class_is_in_one(pairs):
    with pytest.raises(ValueError, match=r"^flip_pairs must be pairs of class names, each name once; got ") as caught:
        settings(flip=True, flip_pairs=pairs)
    assert str(pairs) in str(caught.value)


def test_pairs_need_a_mirror():
    assert settings(flip=True, flip_pairs=(("a", "b"), ("c", "d"))).flip_pairs
    with pytest.raises(ValueError, match=r"^flip_pairs has no effect without flip; set flip to true, or flip_pairs to "):
        settings(flip=False, flip_pairs=[["a", "b"]])


def test_the_settings_load_no_torch():
    code = "import sys, actionrec.finetuning.settings; print('torch' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True).stdout
    assert printed == "False\n"
