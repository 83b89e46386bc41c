import json
import re
from dataclasses import asdict

import fabricate
import pytest
from fabricate import BACKBONE, CLIP_TIMING

from actionrec.core import paths
from actionrec.core.errors import DataError
from actionrec.evaluation.clip_cost import cheaper, read_backbone_cost, read_clip_timing

COST = {"backbone": "resnet50", "frames": 32, "resolution": 224, **asdict(BACKBONE)}


def test_costs_differ_from_one_percent_on():
    assert [cheaper(flops, 1000) for flops in (989, 990, 1000, 1010)] == [True, False, False, False]
    assert not cheaper(0, 0)


@pytest.mark.usefixtures("project")
def test_records_come_back_as_they_were_written():
    fabricate.write(paths.CLIP_COST, COST)
    fabricate.write(paths.CLIP_TIMING, asdict(CLIP_TIMING))
    assert read_backbone_cost("resnet50") == BACKBONE
    assert read_clip_timing() == CLIP_TIMING
    fabricate.write(paths.CLIP_COST, {**COST, "streams": ["rgb", "diff"]})
    assert read_backbone_cost("resnet50", ("rgb", "diff")) == BACKBONE


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({**COST, "flops": "many"}, "metrics/clip_cost.json: flops must be a whole number; got 'many'."),
        ({"backbone": "resnet50"}, "metrics/clip_cost.json: lacks parameters, flops, memory_mb."),
        (
            {**COST, "streams": ["rgb", "diff"]},
            "metrics/clip_cost.json: wrong streams; got ['rgb', 'diff'], expected ['rgb'].",
        ),
        ({**COST, "backbone": "vgg16"}, "metrics/clip_cost.json: wrong backbone; got vgg16, expected resnet50."),
    ],
)
def test_a_damaged_record_or_one_of_another_backbone_is_rejected(record, message):
    paths.CLIP_COST.parent.mkdir()
    paths.CLIP_COST.write_text(json.dumps(record))
    with pytest.raises(DataError, match=re.escape(f"{message} Run `dvc repro -f clip_cost` to recompute it.")):
        read_backbone_cost("resnet50")
