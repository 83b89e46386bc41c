import re
from dataclasses import replace
from pathlib import Path

from probes import clip, groups, probe

from actionrec.data.clips import Clip, group_of
from actionrec.data.splits import SplitSettings
from actionrec.inspection.split_preview import DEFAULTS, SplitPreview, preview
from actionrec.inspection.summary import summarise
from actionrec.report import split_preview as texts

PREVIEW = SplitPreview(
    DEFAULTS,
    listed_groups=False,
    clips={"train": 60, "val": 16, "test": 24},
    sources={"train": 25, "val": 7, "test": 8},
    test_clips={"A": 10, "B": 9, "C": 5, "D": 0},
    detectable=0.75,
)


def known(clips, plan=DEFAULTS):
    summary = summarise("mine", [replace(probe(), clip=one) for one in clips], read_through=False)
    return summary, preview(Path("mine"), clips, plan)


def test_classes_with_fewer_than_ten_test_clips_are_named_the_smallest_first():
    [note] = texts.notes(PREVIEW)
    assert note.startswith("**Fewer than 10 test clips** in 2 of 4 classes: C (5) and B (9). ")
    assert texts.notes(replace(PREVIEW, test_clips={"A": 10, "B": 11})) == []


def test_testing_every_clip_is_advised_unless_that_is_done():
    few = replace(PREVIEW, sources={**PREVIEW.sources, "test": 5}, detectable=None)
    for note in texts.notes(few):
        assert note.endswith(", or test every clip with `evaluation.folds=all`.")
    for note in texts.notes(replace(few, plan=replace(DEFAULTS, all_folds=True))):
        assert re.search(r"Add (sources|clips)\.$", note)


def test_the_folds_of_each_number_are_named():
    text = texts.subsets(replace(PREVIEW, plan=replace(DEFAULTS, all_folds=True)))
    assert "group, all 5 folds, seed 0." in text
    assert [line.split(" | ")[0].strip("| ") for line in text.splitlines() if line.startswith("| t")] == [
        "training, fold 0",
        "test, all folds",
    ]


def test_many_small_classes_are_counted():
    [note] = texts.notes(replace(PREVIEW, test_clips={f"c{number:02d}": 3 for number in range(14)}))
    assert "in 14 of 14 classes: c00 (3), c01 (3)," in note
    assert "c09 (3) and 4 more. " in note


def test_too_few_sources_are_a_problem():
    few = replace(PREVIEW, sources={**PREVIEW.sources, "test": 5}, detectable=None, test_clips={"A": 20})
    [note] = texts.notes(few)
    assert note.startswith(
        "**No difference between models can be shown**: the test clips come from 5 sources; the tests need at least 6."
    )
    assert "usually be missed" not in texts.subsets(few)


def test_a_split_that_is_impossible_is_the_only_note():
    bad = SplitPreview(DEFAULTS, False, {}, {}, {}, None, "official list 1 of mine has no clips")
    assert texts.notes(bad) == ["**The clips cannot be divided**: official list 1 of mine has no clips"]
    assert texts.subsets(bad) == ""


def test_the_subsets_and_the_difference_that_can_be_shown_are_stated_with_the_assumption():
    text = texts.subsets(PREVIEW)
    assert text.startswith("The split under the defaults, as there is no params.yaml here: group, fold 0 of 5, seed 0. A source is")
    for name, clips, sources in (("training", 60, 25), ("validation", 16, 7), ("test", 24, 8)):
        assert re.search(rf"\| {name} +\| +{clips} \| +{sources} \|", text)
    assert (
        "With 8 test sources, a difference between two models below about 75 points will usually be missed. The test needs" in text
    )
    text = texts.subsets(replace(PREVIEW, sources={**PREVIEW.sources, "test": 50}, detectable=0.224))
    assert (
        "With 50 test sources, a difference between two models below about 22 points will usually be missed. This assumes" in text
    )
    assert "disagree on 32 % of the sources, as independent models with 80 % top-1 do" in text
    official = replace(DEFAULTS, split=SplitSettings("official", 5, 2, 0.2), is_default=False)
    assert "The split under params.yaml: official list 2, seed 0." in texts.subsets(replace(PREVIEW, plan=official))


def test_groups_from_names_are_counted_and_the_rule_is_named():
    text = texts.groups(*known([*groups("A", 2, 2, 2), *groups("B", 2, 2), clip("B/free.avi")]))
    assert text == (
        "`data.group` is not set, so groups are read from names as in UCF-101 (`_g07_c`) and HMDB-51. Found: 3 groups in 10 of 11 "
        "clips."
    )


def test_a_pattern_is_shown_with_its_origin():
    names = [f"{label}/anna-{number}.avi" for label in "AB" for number in range(3)]
    clips = [Clip(name, name[0], group_of(name, pattern="([a-z]+)-"), 1, name) for name in names]
    plan = replace(DEFAULTS, group_pattern="([a-z]+)-", group_from="--group")
    assert texts.groups(*known(clips, plan)) == (
        "Groups are read from names by `--group`: `([a-z]+)-`. Found: 1 group in 6 of 6 clips."
    )
    odd = replace(plan, group_pattern="`|\x1b")
    assert "`--group`: \\`\\|\\\\x1b. Found" in texts.groups(*known(clips, odd))


def test_where_no_group_is_found_the_text_says_how_to_set_it():
    text = texts.groups(*known([clip(f"{label}/{number}.avi") for label in "AB" for number in range(9)]))
    assert "**No group was found**: each clip counts as its own source. Set `data.group` to a regular expression" in text


def test_a_list_of_clips_takes_precedence():
    summary, plain = known([*groups("A", 2, 2), *groups("B", 2, 2)])
    assert "A group in clips.csv takes precedence." in texts.groups(summary, replace(plain, listed_groups=True))
