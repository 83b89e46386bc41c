import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from actionrec.core.errors import DataError
from actionrec.data.clips import group_of
from actionrec.io import patterns

SLOW = [(r"(a|aa)+$", "a" * 80 + "!"), (r"((a{1,99}){1,99}){1,99}b", "a" * 200)]


@pytest.mark.parametrize(("pattern", "name"), SLOW)
def test_a_slow_search_is_stopped_also_in_threads(pattern, name):
    start = time.monotonic()
    with ThreadPoolExecutor(2) as pool, pytest.raises(DataError) as caught:
        list(pool.map(lambda name: group_of(name, pattern=pattern), [name, name]))
    assert time.monotonic() - start < 10  # seconds, on a busy machine
    assert str(caught.value).startswith(f"data.group (or --group): the pattern '{pattern}' takes more than 0.1 s on the name '")
    assert str(caught.value).endswith("Write it without a repetition inside a repetition, such as (a+)+.")


@pytest.fixture(autouse=True)
def short_limit(monkeypatch):
    monkeypatch.setattr(patterns, "SECONDS_A_NAME", 0.1)


PLAIN = [
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
