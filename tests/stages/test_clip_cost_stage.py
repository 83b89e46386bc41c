import json

import pytest
from projects import TWELVE_CLIPS, split_twelve_clips
from ruamel.yaml import YAML

from actionrec.core import paths
from actionrec.core.errors import DataError
from actionrec.data.clip_files import ClipFiles
from actionrec.evaluation.clip_cost import read_backbone_cost
from actionrec.io import files
from actionrec.video.frame_store import LEDGER, LEDGER_HEADER
from stages import clip_cost, extract_frames


@pytest.fixture
def clips(project, monkeypatch):
    return split_twelve_clips(monkeypatch)


def test_it_counts_the_backbone_of_params_yaml_and_times_a_clip(clips):
    extract_frames.main()
    clip_cost.main()
    counted = paths.CLIP_COST.read_bytes()
    record = json.loads(counted)
    assert record == {
        "backbone": "resnet18",
        "frames": 4,
        "resolution": 64,
        "parameters": 11_176_512,
        "flops": record["flops"],
        "memory_mb": record["memory_mb"],
    }
    assert record["flops"] == 4 * 2 * 148_045_824  # multiply-accumulates of ResNet-18 for a picture of 64 pixels
    assert 44.7 < record["memory_mb"] < 60
    timing = json.loads(paths.CLIP_TIMING.read_text())
    assert timing["decode_ms"] > 0
    assert timing["backbone_ms"] > 0
    assert timing["device"].startswith("cpu (")
    clip_cost.main()
    assert paths.CLIP_COST.read_bytes() == counted

    paths.PARAMS.write_text(paths.PARAMS.read_text().replace("resnet18", "mobilenet_v2"))
    clip_cost.main()
    assert json.loads(paths.CLIP_COST.read_text())["parameters"] == 2_223_872


def test_two_streams_cost_twice_as_much_in_the_same_memory(clips):
    extract_frames.main()
    clip_cost.main()
    rgb, rgb_time = (json.loads(path.read_text()) for path in (paths.CLIP_COST, paths.CLIP_TIMING))
    YAML().dump({**TWELVE_CLIPS, "features": {**TWELVE_CLIPS["features"], "streams": ["rgb", "diff"]}}, paths.PARAMS)
    clip_cost.main()
    both = json.loads(paths.CLIP_COST.read_text())
    assert both == {**rgb, "streams": ["rgb", "diff"], "flops": 2 * rgb["flops"]}
    assert set(json.loads(paths.CLIP_TIMING.read_text())) == set(rgb_time)
    assert read_backbone_cost("resnet18", ("rgb", "diff")).flops == 2 * rgb["flops"]


def ledger(*rows):
    files.write_csv(paths.FRAMES / LEDGER, LEDGER_HEADER, [[clip, 9, 9, 4, 0, "pyav", "", error] for clip, error in rows])


@pytest.mark.usefixtures("project")
def test_clips_are_spread_over_those_that_decode(tmp_path):
    paths.FRAMES.mkdir(parents=True)
    ledger(*((f"{number:02}.avi", "") for number in range(11)), ("99.avi", "the file is empty"))
    assert clip_cost.clips_to_time(ClipFiles(tmp_path)) == [tmp_path / f"{number:02}.avi" for number in (0, 2, 5, 8, 10)]
    ledger(("a.avi", ""), ("b.avi", "the file is empty"))
    assert clip_cost.clips_to_time(ClipFiles(tmp_path)) == [tmp_path / "a.avi"]
    ledger(("b.avi", "the file is empty"))
    with pytest.raises(DataError, match="all clips failed to decode"):
        clip_cost.clips_to_time(tmp_path)
