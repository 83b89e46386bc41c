import os

import pytest

from actionrec.core.errors import ActionrecError
from actionrec.parallel.file_pool import each


@pytest.mark.parametrize("workers", ["1", "2"])
def test_results_are_in_the_order_of_the_jobs(monkeypatch, workers):
    monkeypatch.setenv("ACTIONREC_WORKERS", workers)
    assert each(abs, range(-9, 0), "Counting", chunk=1) == list(range(9, 0, -1))


def test_no_jobs_give_no_results():
    assert each(abs, [], "Counting", chunk=1) == []


def test_a_few_jobs_start_no_process(monkeypatch):
    monkeypatch.setenv("ACTIONREC_WORKERS", "2")
    assert set(each(_process, range(4), "Counting", chunk=16)) == {os.getpid()}


def _process(_):
    return os.getpid()


def test_a_killed_process_is_told_with_the_next_step(monkeypatch):
    monkeypatch.setenv("ACTIONREC_WORKERS", "2")
    with pytest.raises(ActionrecError, match=r"a worker process was killed.*ACTIONREC_WORKERS; now 2"):
        each(os._exit, [1] * 4, "Counting", chunk=1)
