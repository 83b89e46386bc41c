import os
import signal
import time
from pathlib import Path

import pytest

from actionrec.core.errors import DataError
from actionrec.parallel import worker_pool


def work(job, advance):
    """Done in spawned processes; each notes who did it."""
    kind, folder = job
    Path(folder, kind).write_text(str(os.getpid()))
    advance(2)
    match kind:
        case "bad":
            raise DataError("bad input")
        case "defect":
            raise KeyError("missing")
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "endless":
            time.sleep(600)
    advance(3)


def jobs(folder, *kinds):
    return [(kind, str(folder)) for kind in kinds]


def test_a_job_that_fails_or_kills_its_process_is_told_and_the_others_go_on(tmp_path, capfd):
    told = []
    kinds = ("bad", "killed", "defect", "good", "good too")
    ended = {job[0]: why for job, why in worker_pool.each(work, jobs(tmp_path, *kinds), 2, told.append)}
    assert set(ended) == set(kinds)
    assert ended["bad"] == "bad input"
    assert "killed (exit status -9)" in ended["killed"]
    assert ended["defect"] == "KeyError: 'missing'"
    assert ended["good"] == ended["good too"] == ""
    assert sorted(told) == [2] * 5 + [3] * 2
    assert capfd.readouterr().err.count("Traceback") == 1  # of the defect alone


@pytest.mark.parametrize("how", ["closed", "interrupted"])
def test_no_process_outlives_the_work(tmp_path, how):
    ended = worker_pool.each(work, jobs(tmp_path, "good", "endless", "endless"), 2, lambda count: None)
    assert next(ended) == (("good", str(tmp_path)), "")
    for _ in range(100):
        if (tmp_path / "endless").exists() and (process := (tmp_path / "endless").read_text()):
            break
        time.sleep(0.1)
    if how == "closed":
        ended.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            ended.throw(KeyboardInterrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(int(process), 0)


def test_without_jobs_nothing_is_started(tmp_path):
    assert list(worker_pool.each(work, [], 4, lambda count: None)) == []


def test_a_process_that_is_killed_before_it_reads_its_job_costs_that_job_alone(tmp_path, monkeypatch):
    hire, killed = worker_pool._hire, []

    def hire_and_kill_the_first(work):
        connection, process = hire(work)
        if not killed:
            process.kill()
            process.join()
            killed.append(process)
        return connection, process

    monkeypatch.setattr(worker_pool, "_hire", hire_and_kill_the_first)
    ended = {job[0]: why for job, why in worker_pool.each(work, jobs(tmp_path, "good", "good too"), 2, lambda count: None)}
    assert sorted(why == "" for why in ended.values()) == [False, True]
    assert any("killed (exit status -9)" in why for why in ended.values())
