import os
import signal
import time
from pathlib import Path

import pytest

from actionrec.core.errors import DataError, VideoError
from actionrec.parallel import pool


class UnpicklableError(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def work(job, advance):
    """Runs in spawned processes; writes the process ID into a file named after the job."""
    kind, folder = job
    Path(folder, kind).write_text(str(os.getpid()))
    advance(2)
    match kind:
        case "bad":
            raise DataError("bad input")
        case "video":
            raise VideoError("no frames", header_frames=7)
        case "unexpected":
            raise KeyError("missing")
        case "unpicklable":
            raise UnpicklableError(1, 2)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "crashed":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "exits":
            os._exit(3)
        case "endless":
            time.sleep(600)
    advance(3)
    return kind.upper()


def jobs(folder, *kinds):
    return [(kind, str(folder)) for kind in kinds]


def test_each_outcome_has_its_result_or_error_and_no_job_stops_another(tmp_path):
    counts = []
    kinds = ("bad", "video", "killed", "crashed", "exits", "unexpected", "unpicklable", "good", "good too")
    outcomes = {outcome.job[0]: outcome for outcome in pool.run(work, jobs(tmp_path, *kinds), 2, counts.append)}
    assert {kind: outcome.reason for kind, outcome in outcomes.items()} == {
        "bad": "bad input",
        "video": "no frames",
        "killed": "the worker process was killed (possibly out of memory)",
        "crashed": "the worker process crashed (SIGSEGV)",
        "exits": "the worker process ended with exit status 3",
        "unexpected": "KeyError: 'missing'",
        "unpicklable": "RuntimeError: UnpicklableError: 1 and 2",
        "good": "",
        "good too": "",
    }
    assert outcomes["good too"].value() == "GOOD TOO"
    assert outcomes["video"].error.header_frames == 7
    with pytest.raises(KeyError):
        outcomes["unexpected"].value()
    assert [outcomes[kind].progress for kind in ("bad", "killed", "good")] == [2, 2, 5]
    assert sorted(counts) == [2] * 9 + [3] * 2
    assert 'raise KeyError("missing")' in outcomes["unexpected"].error.__notes__[0]
    assert "raise UnpicklableError(1, 2)" in outcomes["unpicklable"].error.__notes__[0]


@pytest.mark.parametrize("how", ["closed", "interrupted"])
def test_no_process_outlives_the_run(tmp_path, how):
    outcomes = pool.run(work, jobs(tmp_path, "good", "endless", "endless"), 2, lambda count: None)
    assert next(outcomes).value() == "GOOD"
    for _ in range(100):
        if (tmp_path / "endless").exists() and (process := (tmp_path / "endless").read_text()):
            break
        time.sleep(0.1)
    if how == "closed":
        outcomes.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            outcomes.throw(KeyboardInterrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(int(process), 0)


def test_a_run_without_jobs_yields_nothing():
    assert list(pool.run(work, [], 0, lambda count: None)) == []


def test_a_process_that_is_killed_before_it_reads_its_job_fails_that_job_alone(tmp_path, monkeypatch):
    start_worker, killed = pool._start_worker, []

    def start_and_kill_the_first(work):
        worker = start_worker(work)
        if not killed:
            worker.process.kill()
            worker.process.join()
            killed.append(worker)
        return worker

    monkeypatch.setattr(pool, "_start_worker", start_and_kill_the_first)
    outcomes = list(pool.run(work, jobs(tmp_path, "good", "good too"), 2, lambda count: None))
    assert sorted(outcome.reason for outcome in outcomes) == ["", "the worker process was killed (possibly out of memory)"]
