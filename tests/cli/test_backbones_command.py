"""`python -m actionrec backbones`, as a person runs it."""

import json

import pytest
from commands import actionrec


@pytest.fixture
def printed(tmp_path):
    def printed(*options):
        done = actionrec("backbones", *options, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return printed


def rows(text):
    return {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}


def test_the_table_shows_images_and_videos(printed):
    table = rows(printed())
    assert {"resnet50", "convnext_tiny", "r3d_18", "swin3d_b"} <= set(table)
    cells = [cell.strip() for cell in table["mvit_v2_s"].split("|")[1:-1]]
    assert cells == [
        "mvit_v2_s",
        "768",
        "16 x 224, 7.5 fps",
        "34.5",
        "64.22",
        "80.8",
        "-S features.backbone=mvit_v2_s -S features.weights=KINETICS400_V1 -S frames.count=8 -S frames.resolution=224 "
        "-S frames.fit=crop -S frames.snippet.length=16 -S frames.snippet.rate=7.5",
    ]
    assert [cell.strip() for cell in table["mobilenet_v3_small"].split("|")[1:6]] == [
        "mobilenet_v3_small",
        "1024",
        "1 x 224",
        "2.5",
        "0.06",
    ]


def test_one_kind_can_be_chosen(printed):
    assert "resnet50" not in rows(printed("--video"))
    assert "r3d_18" not in rows(printed("--image"))


def test_json_has_the_same_entries(printed):
    known = json.loads(printed("--video", "--json"))
    assert len(known) == 10
    assert known[0] == {
        "backbone": "r3d_18",
        "weights": "KINETICS400_V1",
        "feature_dim": 512,
        "is_video": True,
        "frames": {"resolution": 112, "fit": [128, 171], "length": 16, "rate": 15.0},
        "parameters": 33371472,
        "gmacs": 40.697,
        "top1_percent": 63.2,
        "options": "-S features.backbone=r3d_18 -S features.weights=KINETICS400_V1 -S frames.count=8 -S frames.resolution=112 "
        "-S 'frames.fit=[128,171]' -S frames.snippet.length=16 -S frames.snippet.rate=15",
    }


def test_kinds_exclude_each_other(tmp_path):
    assert actionrec("backbones", "--image", "--video", cwd=tmp_path).returncode == 2
