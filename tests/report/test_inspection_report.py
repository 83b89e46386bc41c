import re
from dataclasses import replace
from pathlib import Path

import pytest
from film import ODD_NAMES
from probes import clip, groups, plain, probe

from actionrec.inspection.probe import Probe
from actionrec.inspection.split_preview import DEFAULTS, preview
from actionrec.inspection.summary import summarise
from actionrec.report.inspection import CLASSES_HEADER, FILES_HEADER, LISTED, class_rows, file_rows, report


def text_of(*probes, read_through=False, plan=DEFAULTS):
    clips = [one.clip for one in probes]
    return report(summarise("mine", probes, read_through=read_through), preview(Path("mine"), clips, plan))


def of_clips(*clips):
    return [replace(probe(), clip=one) for one in clips]


def notes(text):
    return text.split("## Problems to check\n")[1].split("\n## ")[0]


def test_a_data_set_with_nothing_wrong_says_so():
    text = text_of(*of_clips(*groups("A", *[1] * 50), *groups("B", *[1] * 50)))
    assert notes(text).strip() == "None found."


def test_the_worst_comes_first():
    clips = [clip("A/1.avi", "same"), clip("B/2.avi", "same"), *(clip(f"A/{number}.avi") for number in range(10, 20))]
    text = notes(text_of(*of_clips(*clips), Probe(clip("B/bad.avi"), None, "the file is empty")))
    assert text.strip().startswith("- **THE SAME CLIP IN SEVERAL CLASSES, 1 time**")
    assert text.index("1 of 13 clips cannot be opened") < text.index("The source of 13 of 13 clips is unknown")


@pytest.mark.parametrize(("largest", "warned"), [(6, False), (7, True)])
def test_imbalance_is_reported_above_three_times_the_smallest_class(largest, warned):
    text = text_of(*of_clips(*groups("A", *[1] * largest), *groups("B", 1, 1)))
    assert ("The classes are imbalanced" in notes(text)) == warned
    assert ("`train.class_weights=balanced` gives every class the same influence" in notes(text)) == warned
    assert re.search(rf"largest class / smallest class +\| +{largest / 2:.1f} ", text)


def test_leaks_of_the_random_and_the_group_split_are_in_one_table():
    text = text_of(*of_clips(*groups("A", 10, 10), *groups("B", 10, 10)))
    assert "**A random split leaks**: with 5 random folds, about 100.0 % of the test clips" in notes(text)
    assert re.search(r"\| random +\| +100\.0 % +\| +any \|", text)
    assert re.search(r"\| group +\| +0\.0 % +\| +2 \|", text)


def test_the_leak_is_unknown_if_no_source_is_known():
    text = text_of(*of_clips(*(clip(f"{label}/{number}.avi") for label in "AB" for number in range(5))))
    assert re.search(r"\| random +\| +unknown \|", text)
    assert re.search(r"\| group +\| +unknown \|", text)


def test_a_class_of_one_group_is_named():
    text = text_of(*of_clips(*groups("A", 1, 1, 1), *groups("Lonely", 4)))
    assert "**A group split cannot test Lonely**: all clips of that class come from one source." in notes(text)


def test_where_no_group_split_is_possible_the_table_says_none():
    text = text_of(*of_clips(*groups("A", 3), *groups("B", 3)))
    assert "**No group split is possible**" in notes(text)
    assert re.search(r"\| group +\| +0\.0 % +\| +none \|", text)


def test_files_with_the_same_problem_are_counted_and_some_are_listed():
    bad = [Probe(clip(f"A/{number:03}.avi"), None, "the file is empty") for number in range(LISTED + 5)]
    short = [probe(f"B/{number:03}.avi", frames=9) for number in range(50)]
    text = text_of(*bad, *short, *plain(200))
    assert "And 5 more." in text
    assert re.search(r"\| fewer than 32 frames +\| +50 \| B/000\.avi ", text)
    assert "B/003.avi" not in text


def test_the_report_says_whether_clips_were_decoded():
    assert "Based on file headers, which can be wrong. `--decode`" in text_of(*plain(4))
    assert "Every clip was decoded completely." in text_of(*plain(4), read_through=True)


@pytest.mark.parametrize("label", ["$a|b*", "with\nline feed", "\x1b[31mred", "日本語"])
def test_odd_names_are_safe_in_tables_and_terminals(label):
    text = text_of(*of_clips(*(clip(f"{label}/{name}") for name in ODD_NAMES), clip("B/1.avi")), probe("B/2.avi", frames=1))
    assert "\x1b" not in text
    lines = [re.sub(r"\\.", "", line) for line in text.splitlines() if line.startswith("|")]
    by_table = re.findall(r"(?:^\|.*\n)+", "\n".join(re.sub(r"\\\|", "", line) for line in text.splitlines()) + "\n", re.MULTILINE)
    assert len(lines) > 20
    for table in by_table:
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_every_file_has_a_row_with_all_its_problems():
    files = [
        probe("A/1.avi"),
        probe("A/2.avi", frames=9, frames_per_second=0.0),
        Probe(clip("B/3.avi"), None, "the file is empty"),
    ]
    known = summarise("mine", files, read_through=False)
    first, second, third = (dict(zip(FILES_HEADER, row, strict=True)) for row in file_rows(files, known.suspicious))
    assert (first["seconds"], first["codec"], first["problem"]) == ("4.000", "XVID", "")
    assert second["seconds"] == ""
    assert second["problem"] == "fewer than 32 frames (9 frames); frames per second not from 5 to 120 (none claimed)"
    assert (third["frames"], third["width"], third["problem"]) == ("", "", "the file is empty")


def test_many_classes_are_cut_and_their_file_has_all():
    probes = of_clips(*(clip(f"{number:03}/{place}.avi") for number in range(100) for place in range(1 + (number < 30))))
    text = text_of(*probes)
    assert "| 019 " in text
    assert "| 020 " not in text
    assert "100 classes; 60 are left out. `classes.csv` has all classes." in text
    complete = list(class_rows(summarise("mine", probes, read_through=False)))
    assert [row[0] for row in complete] == [f"{number:03}" for number in range(100)]
    assert dict(zip(CLASSES_HEADER, complete[0], strict=True))["clips"] == 2
