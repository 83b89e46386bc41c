from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from probes import clip, groups
from projects import edit_params

from actionrec.core.errors import ParamsError
from actionrec.data.splits import SplitSettings, divide
from actionrec.evaluation.significance_tests import paired_tests
from actionrec.inspection.split_preview import DEFAULTS, Plan, detectable, preview, read_plan

ROOT = Path(__file__).parents[2]
CLIPS = [*groups("A", *[2] * 20), *groups("B", *[3] * 20)]


@pytest.fixture
def params(project):
    (project / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    return project


def test_the_defaults_are_those_of_params_yaml(params):
    assert replace(read_plan(), is_default=True) == DEFAULTS


def test_without_params_yaml_the_defaults_apply(project):
    assert read_plan() == DEFAULTS
    assert read_plan("(x)") == replace(DEFAULTS, group_pattern="(x)", group_from="--group")


def test_the_plan_is_that_of_params_yaml(params):
    edit_params(params, {"seed": 3, "data.group": r"(\d+)", "split.protocol": "random", "split.folds": 4})
    assert read_plan() == Plan(3, SplitSettings("random", 4, 0, 0.2), r"(\d+)", "data.group")
    assert read_plan("(x)") == Plan(3, SplitSettings("random", 4, 0, 0.2), "(x)", "--group")


def test_all_folds_are_tested_if_params_yaml_says_so(params):
    assert not read_plan().all_folds
    edit_params(params, {"evaluation.folds": "all"})
    assert read_plan().all_folds
    assert read_plan("(x)").all_folds


def test_an_invalid_params_yaml_is_an_error(params):
    edit_params(params, {"split.folds": 1})
    with pytest.raises(ParamsError, match="folds must be at least 2; got 1"):
        read_plan()


@pytest.mark.parametrize("protocol", ["group", "random"])
def test_the_preview_is_the_split_of_the_stage(tmp_path, protocol):
    plan = replace(DEFAULTS, seed=5, split=SplitSettings(protocol, 4, 1, 0.25))
    known, subset_of = preview(tmp_path, CLIPS, plan), divide(CLIPS, plan.split, 5)
    assert known.problem == ""
    assert known.clips == Counter(subset_of.values())
    for subset in ("train", "val", "test"):
        assert known.sources[subset] == len({one.cluster for one in CLIPS if subset_of[one.id] == subset})
    assert known.test_clips == {
        label: sum(one.label == label and subset_of[one.id] == "test" for one in CLIPS) for label in ("A", "B")
    }


def test_with_all_folds_every_clip_is_tested(tmp_path):
    one, every = preview(tmp_path, CLIPS, DEFAULTS), preview(tmp_path, CLIPS, replace(DEFAULTS, all_folds=True))
    assert every.clips == {**one.clips, "test": len(CLIPS)}
    assert every.sources == {**one.sources, "test": 40}
    assert every.test_clips == {"A": 40, "B": 60}
    assert every.detectable < one.detectable


def test_an_official_split_takes_the_lists_of_the_data_set(tmp_path):
    clips = [clip(f"{label}/{number}.avi") for label in "AB" for number in range(4)]
    for one in clips:
        (tmp_path / one.id).parent.mkdir(exist_ok=True)
        (tmp_path / one.id).touch()
    lines = [f"{one.id},{one.label},{'test' if '0' in one.id else 'train'}" for one in clips]
    (tmp_path / "clips.csv").write_text("\n".join(["clip,label,subset", *lines]) + "\n")
    known = preview(tmp_path, clips, replace(DEFAULTS, split=SplitSettings("official", 5, 1, 0)))
    assert (known.clips, known.listed_groups) == ({"train": 6, "val": 0, "test": 2}, True)
    assert known.detectable is None


@pytest.mark.parametrize(
    ("split", "reason"),
    [
        (SplitSettings("group", 30, 0, 0), "the clips cannot be divided into 30 parts"),
        (SplitSettings("official", 5, 1, 0), "has no list"),
    ],
)
def test_a_split_that_is_impossible_is_a_problem_and_no_error(tmp_path, split, reason):
    known = preview(tmp_path, CLIPS, replace(DEFAULTS, split=split))
    assert reason in known.problem
    assert (known.clips, known.sources, known.test_clips, known.detectable) == ({}, {}, {}, None)
    assert asdict(known)["plan"]["split"]["protocol"] == split.protocol


def test_fewer_than_six_sources_can_show_nothing():
    assert detectable(np.arange(5).repeat(20)) is None
    assert detectable(np.arange(6).repeat(20)) == 1.0


def test_more_sources_show_smaller_differences_and_more_clips_of_the_same_sources_do_not():
    few, many, siblings = detectable(np.arange(20)), detectable(np.arange(80)), detectable(np.arange(20).repeat(4))
    assert few == siblings
    assert few == pytest.approx(2 * many, rel=0.1)


def test_the_detectable_difference_is_found_in_four_of_five_cases():
    """Models that disagree on 32 % of 50 sources, and differ by as much as is detectable."""
    draw = np.random.default_rng(3)
    clusters = np.arange(50)
    difference = detectable(clusters)
    found = []
    for _ in range(200):
        outcome = draw.random(50)
        first, second = outcome < (0.32 + difference) / 2, outcome > 1 - (0.32 - difference) / 2
        [test] = paired_tests([(first.astype(float), second.astype(float))], clusters)
        found.append(test.is_real)
    assert np.mean(found) == pytest.approx(0.8, abs=0.08)
