import pytest
from probes import plain, probe

from actionrec.inspection.suspicion import suspicions


def found(*odd, among=60):
    """What is odd among files with nothing odd: clip -> kind -> detail."""
    kinds = {}
    for one in suspicions([*plain(among), *odd]):
        kinds.setdefault(one.clip, {})[one.kind] = one.detail
    return kinds


def test_plain_files_are_not_suspicious():
    assert found() == {}


@pytest.mark.parametrize(
    ("odd", "kind", "detail"),
    [
        ({"frames": 0}, "no frames claimed", ""),
        ({"frames": 31}, "fewer than 32 frames", "31 frames"),
        ({"frames_per_second": 0.0}, "frames per second not from 5 to 120", "none claimed"),
        ({"frames_per_second": 4.99}, "frames per second not from 5 to 120", "4.99"),
        ({"frames_per_second": 1000.0}, "frames per second not from 5 to 120", "1000"),
        ({"frames": 1001}, "over 10 times the median length", "40.0 s"),
        ({"frames": 9}, "under 1/10 of the median length", "0.36 s"),
        ({"width": 31}, "picture smaller than 32 pixels", "31x240"),
        ({"size": 2047}, "file smaller than 2,048 bytes", "2,047 bytes"),
        ({"frames": 900, "size": 9000}, "too few bytes for its frames", "10 bytes per frame"),
        ({"size": 5000, "frames": 90, "width": 1920, "height": 1080}, "too few bytes for its frames", "56 bytes per frame"),
        ({"width": 640}, "rare picture size", "640x240"),
        ({"codec": "h264"}, "rare codec", "h264"),
        ({"codec": ""}, "rare codec", "unknown"),
        ({"frames_per_second": 30.0}, "rare frame rate", "30"),
        ({"decoded": 99}, "header's frame count is wrong", "100 claimed, 99 decoded"),
        ({"decoded": 100, "still": True}, "the picture never changes", ""),
    ],
)
def test_an_odd_file_is_named_with_what_is_odd(odd, kind, detail):
    kinds = found(probe("A/odd.avi", **odd))
    assert list(kinds) == ["A/odd.avi"]
    assert kinds["A/odd.avi"][kind] == detail


@pytest.mark.parametrize(
    "usual",
    [
        {"frames": 32},
        {"frames_per_second": 25.01},  # headers differ in the last digits
        {"frames": 1000},
        {"frames": 60, "size": 3000},
        {"decoded": 100},
    ],
)
def test_a_file_on_the_usual_side_of_a_limit_is_not_suspicious(usual):
    assert found(probe("A/usual.avi", **usual)) == {}


def test_what_decodes_counts_more_than_what_the_header_claims():
    kinds = found(probe("A/cut.avi", frames=100, decoded=20))["A/cut.avi"]
    assert kinds["fewer than 32 frames"] == "20 frames"


def test_a_file_that_cannot_be_read_is_not_called_suspicious_as_well():
    assert found(probe("A/bad.avi", error="no frame can be decoded", frames=3)) == {}


def test_one_file_in_a_hundred_may_be_rare_and_two_may_not():
    assert len(found(probe("A/1.avi", codec="h264"), among=99)) == 1
    assert found(probe("A/1.avi", codec="h264"), probe("A/2.avi", codec="h264"), among=98) == {}
    assert len(found(*(probe(f"A/{number}.avi", codec="h264") for number in range(20)), among=1980)) == 20


def test_where_every_file_has_a_size_of_its_own_none_is_rare():
    assert suspicions([probe(f"A/{width}.avi", width=width) for width in range(300, 400)]) == []


def test_among_few_files_nothing_is_rare():
    assert found(probe("A/odd.avi", codec="h264"), among=8) == {}


def test_nothing_at_all_and_nothing_readable_can_be_judged():
    assert suspicions([]) == []
    assert suspicions([probe(error="the file is empty")]) == []
