from dataclasses import replace

from grouped_clips import CLIPS, SETTINGS

from actionrec.data.fold_plan import plan_folds
from actionrec.data.splits import SplitSettings, divide


def test_one_fold_or_all_are_divided_as_single_folds(tmp_path):
    one = plan_folds(tmp_path, CLIPS, SETTINGS, 3, all_folds=False)
    assert (one.subsets, one.others, one.listed) == (divide(CLIPS, SETTINGS, 3), {}, None)
    every = plan_folds(tmp_path, CLIPS, SETTINGS, 3, all_folds=True)
    assert every.subsets == one.subsets
    assert every.others == {fold: divide(CLIPS, replace(SETTINGS, fold=fold), 3) for fold in (0, 2, 3, 4)}


def test_official_lists_are_read_from_the_folder(tmp_path):
    ids = [clip.id for clip in CLIPS]
    for number in (1, 2):
        tested = set(ids[number - 1 :: 4])
        (tmp_path / f"testlist0{number}.txt").write_text("".join(f"{clip}\n" for clip in ids if clip in tested))
        (tmp_path / f"trainlist0{number}.txt").write_text("".join(f"{clip} 1\n" for clip in ids if clip not in tested))
    plan = plan_folds(tmp_path, CLIPS, SplitSettings("official", 5, 2, 0), 0, all_folds=True)
    assert {clip for clip, subset in plan.subsets.items() if subset == "test"} == set(ids[1::4])
    assert plan.listed == plan.subsets
    assert list(plan.others) == [1]
    assert {clip for clip, subset in plan.others[1].items() if subset == "test"} == set(ids[::4])
