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


def test_the_error_for_a_worker_that_died_names_the_item_and_the_next_step(monkeypatch):
    monkeypatch.setenv("ACTIONREC_WORKERS", "2")
    with pytest.raises(ActionrecError) as error:
        each(os._exit, [7] * 4, "Reading headers", chunk=1)
    assert str(error.value) == (
        "Reading headers: the worker process ended with exit status 7 at 7. Rerun with fewer processes (ACTIONREC_WORKERS; now 2). "
        "If it dies there again, fix or remove that clip."
    )


def test_an_error_in_a_worker_is_raised_as_it_is(monkeypatch):
    monkeypatch.setenv("ACTIONREC_WORKERS", "2")
    with pytest.raises(ValueError, match="invalid literal"):
        each(int, ["1", "two", "3", "4"], "Counting", chunk=1)
