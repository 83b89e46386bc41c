import json
from dataclasses import asdict, replace

import pytest
from probes import clip, plain, probe

from actionrec.inspection.probe import Probe
from actionrec.inspection.summary import summarise


def summary(*probes):
    return summarise("mine", probes, read_through=False)


def test_clips_groups_bytes_and_durations_are_summed_up():
    short, long = probe("A/v_A_g01_c01.avi", frames=50), probe("B/v_B_g01_c01.avi", frames=250)
    known = summary(short, long, probe("B/free.avi", frames=100))
    assert (known.clips, known.groups, known.clips_without_group, known.bytes) == (3, 2, 1, 300_000)
    assert (known.durations.total, known.durations.shortest) == (16.0, 2.0)
    assert (known.durations.median, known.durations.longest) == (4.0, 10.0)


def test_the_largest_class_comes_first_and_shares_add_up():
    known = summary(*(probe(f"A/{number}.avi") for number in range(2)), *(probe(f"B/v_B_g01_c{number}.avi") for number in range(6)))
    assert [(one.name, one.clips, one.groups) for one in known.classes] == [("B", 6, 1), ("A", 2, 2)]
    assert sum(one.share for one in known.classes) == pytest.approx(1)
    assert known.imbalance == 3


def test_values_are_counted_most_frequent_first():
    known = summary(
        probe("A/1.avi", codec="h264"), probe("A/2.avi", codec="XVID"), probe("B/3.avi", codec="XVID", frames_per_second=29.97003)
    )
    assert list(known.codecs.items()) == [("XVID", 2), ("h264", 1)]
    assert list(known.frame_rates) == ["25", "29.97"]


def test_the_order_of_the_files_changes_nothing():
    files = [*plain(12), probe("A/odd.avi", frames=3), probe("B/bad.avi", error="no")]
    assert summary(*files) == summary(*reversed(files))


def test_copies_within_and_across_classes_are_distinguished():
    named = {"A/1.avi": "x", "A/2.avi": "x", "A/3.avi": "y", "B/4.avi": "y", "B/5.avi": "y", "B/6.avi": "z"}
    known = summary(*(replace(probe(), clip=clip(name, contents)) for name, contents in named.items()))
    assert known.copies_within_class == (("A/1.avi", "A/2.avi"),)
    assert known.copies_across_classes == (("A/3.avi", "B/4.avi", "B/5.avi"),)


def test_empty_files_are_no_copies_of_one_another():
    empty = [Probe(clip(name, "nothing", size=0), None, "the file is empty") for name in ("A/1.avi", "B/1.avi")]
    known = summary(*empty)
    assert known.copies_across_classes == ()
    assert known.unreadable == dict.fromkeys(("A/1.avi", "B/1.avi"), "the file is empty")


def test_a_summary_without_readable_files_has_all_other_numbers():
    known = summary(*(Probe(clip(name), None, "no video") for name in ("A/1.avi", "B/1.avi")))
    assert (known.clips, known.durations, known.sizes, known.suspicious) == (2, None, {}, ())
    assert {one.median_seconds for one in known.classes} == {None}


def test_a_summary_is_json():
    files = [*plain(12), probe("A/odd.avi", frames=3, frames_per_second=0.0), probe("B/bad.avi", error="no")]
    read = json.loads(json.dumps(asdict(summary(*files)), allow_nan=False))
    assert read["unreadable"] == {"B/bad.avi": "no"}
    assert {"clip": "A/odd.avi", "kind": "fewer than 32 frames", "detail": "3 frames"} in read["suspicious"]
