from dataclasses import replace

import pytest
from grouped_clips import CLIPS, SETTINGS

from actionrec.core.errors import DataError
from actionrec.data.clips import Clip
from actionrec.data.folds import divide_others, read_other_folds, write_other_folds
from actionrec.data.splits import SplitSettings, divide


def none_listed(fold):
    return None


def test_over_all_folds_every_clip_is_tested_once():
    others = divide_others(CLIPS, SETTINGS, 0, range(5), none_listed)
    assert sorted(others) == [0, 2, 3, 4]
    every = [divide(CLIPS, SETTINGS, 0), *others.values()]
    tested = [clip for subsets in every for clip, subset in subsets.items() if subset == "test"]
    assert sorted(tested) == sorted(clip.id for clip in CLIPS)


def test_a_fold_is_divided_as_if_it_were_the_only_one():
    others = divide_others(CLIPS, SETTINGS, 7, range(5), none_listed)
    for fold, subsets in others.items():
        assert subsets == divide(CLIPS, replace(SETTINGS, fold=fold), 7)


def test_official_lists_are_asked_for_by_number():
    ids = [clip.id for clip in CLIPS]
    lists = {
        number: {clip: "test" if place % 3 == number - 1 else "train" for place, clip in enumerate(ids)} for number in (1, 2, 3)
    }
    others = divide_others(CLIPS, SplitSettings("official", 5, 2, 0), 0, [1, 2, 3], lists.__getitem__)
    assert others == {1: lists[1], 3: lists[3]}


def test_a_fold_that_cannot_be_divided_is_named():
    single = [Clip("Sit/v_g00_c1.avi", "Sit", "g00", 1, "sit"), Clip("Sit/v_g01_c1.avi", "Sit", "g01", 1, "sit2")]
    lists = {1: {clip.id: "train" for clip in single}, 2: {clip.id: "test" for clip in single}}
    with pytest.raises(DataError, match=r"^fold 2, which evaluation.folds=all needs: no training clips for Sit"):
        divide_others(single, SplitSettings("official", 5, 1, 0), 0, [1, 2], lists.__getitem__)


def test_the_file_gives_back_what_was_written_and_may_be_empty(tmp_path):
    others = divide_others(CLIPS, SETTINGS, 0, range(5), none_listed)
    write_other_folds(tmp_path / "folds.csv", others)
    assert read_other_folds(tmp_path / "folds.csv") == others
    write_other_folds(tmp_path / "none.csv", {})
    assert (tmp_path / "none.csv").read_text().splitlines() == ["fold,clip,subset"]
    assert read_other_folds(tmp_path / "none.csv") == {}


@pytest.mark.parametrize("row", ["x,a.avi,train", "1,a.avi,tset"])
def test_a_damaged_row_is_shown(tmp_path, row):
    (tmp_path / "folds.csv").write_text(f"fold,clip,subset\n{row}\n")
    with pytest.raises(DataError, match=f"got the row {row}, expected a fold's number, a clip, and train, val, test. Run"):
        read_other_folds(tmp_path / "folds.csv")
