import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from actionrec.core.errors import DataError
from actionrec.data.clips import group_of
from actionrec.io import patterns

SLOW = [(r"(a|aa)+$", "a" * 80 + "!"), (r"((a{1,99}){1,99}){1,99}b", "a" * 200)]


@pytest.mark.parametrize(("pattern", "name"), SLOW)
def test_a_search_that_would_take_years_ends_in_one_line(pattern, name):
    begun = time.monotonic()
    with pytest.raises(DataError) as caught:
        group_of(name, pattern=pattern)
    assert time.monotonic() - begun < 10  # seconds, on a busy machine
    assert str(caught.value).startswith(f"data.group (or --group): the pattern '{pattern}' takes more than 1 s on the name '")
    assert str(caught.value).endswith("Write it without a repetition inside a repetition, such as (a+)+.")


def test_the_time_limit_holds_in_threads_which_read_clips():
    pattern, name = SLOW[0]
    with ThreadPoolExecutor(2) as pool, pytest.raises(DataError, match="takes more than 1 s"):
        list(pool.map(lambda one: group_of(one, pattern=pattern), [name, name]))


PLAIN = [
    (r"(person\d+)_", "Jump/person07_3.avi"),
    (r"([a-z]+)-\d+", "Jump/anna-03.mp4"),
    (r"(?<=/)[^_]+", "Jump/anna_03.mp4"),
    (r"(?i)CAM(?P<number>\d+)", "a/cam12.avi"),
    (r"(\w)\1", "Jump/Anna.mp4"),
    (r"^(?!x)(.)", "動作/a.avi"),
    (r"none", "a/b.avi"),
    (r"(x)?b", "a/b.avi"),
]


@pytest.mark.parametrize(("pattern", "name"), PLAIN)
def test_a_match_is_the_one_that_pythons_own_engine_finds(pattern, name):
    patterns.check(pattern)
    ours, theirs = patterns.search(pattern, name), re.search(pattern, name)
    assert (ours and (ours[0], ours.groups(), ours.re.groups)) == (theirs and (theirs[0], theirs.groups(), theirs.re.groups))
