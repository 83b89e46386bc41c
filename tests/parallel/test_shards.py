"""The functions that worker processes run are at the top level, since spawned processes import them by name."""

import hashlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event

import pytest
from damaged import flip
from processes import ends

from actionrec.core import paths
from actionrec.core.errors import ActionrecError, VideoError
from actionrec.parallel import engines, shard_store, shards
from actionrec.parallel.shard_store import ShardJob
from actionrec.parallel.shards import complete, link_into

ROOT = Path(__file__).parents[2]


def write_upper(job, draft, advance):
    """Write the job's text in capitals, and note each call in its journal."""
    text, journal = job
    note(journal, text)
    (draft / "upper.txt").write_text(text.upper(), encoding="utf-8")
    (draft / "process.txt").write_text(str(os.getpid()), encoding="utf-8")
    advance(len(text))


def note(journal, text):
    with open(journal, "a", encoding="utf-8") as stream:  # noqa: PTH123
        stream.write(f"{text}\n")


def fail_at_c(job, draft, advance):
    (draft / "half.txt").write_text("half", encoding="utf-8")
    if job[0].startswith("c"):
        raise VideoError("c cannot be decoded", header_frames=7)
    write_upper(job, draft, advance)


def end_at_c(how, job, draft, advance):
    """End this process with a signal at the second clip of c, unless there is a file named `spared`."""
    if job[0].startswith("c") and not Path("spared").exists():
        (draft / "half.txt").write_text("half", encoding="utf-8")
        while read_journal(Path(job[1]))["aaaa"] == 0:  # the other process has finished something
            time.sleep(0.01)
        time.sleep(0.3)
        advance(1)
        os.kill(os.getpid(), how)
    write_upper(job, draft, advance)


def wait_for_ever(job, draft, advance):
    """Note this process in the journal, and never end."""
    (draft / "half.txt").write_text("half", encoding="utf-8")
    note(job[1], os.getpid())
    time.sleep(600)


def tasks(project, *texts):
    return [ShardJob(text, f"key-{text}", len(text), (text, str(project / "journal.txt"))) for text in texts]


def read_journal(path):
    return Counter(path.read_text(encoding="utf-8").split()) if path.exists() else Counter()


def calls(project):
    """How often each shard was computed."""
    return read_journal(project / "journal.txt")


def run(project, *texts, compute=write_upper, workers=1):
    return complete("stage", tasks(project, *texts), compute, what="Working", workers=workers)


def contents(folders):
    return {name: (folder / "upper.txt").read_text(encoding="utf-8") for name, folder in folders.items()}


WORKERS = pytest.mark.parametrize("workers", [1, 2])


@WORKERS
def test_missing_shards_are_computed_in_the_right_process_and_finished_ones_are_reused(project, workers, caplog):
    caplog.set_level(logging.INFO)
    folders = run(project, "a", "bb", workers=workers)
    assert contents(folders) == {"a": "A", "bb": "BB"}
    assert all(((folder / "process.txt").read_text() == str(os.getpid())) == (workers == 1) for folder in folders.values())
    assert caplog.messages == []
    assert run(project, "a", "bb", "ccc", "d", workers=workers).keys() == {"a", "bb", "ccc", "d"}
    assert calls(project) == {"a": 1, "bb": 1, "ccc": 1, "d": 1}
    assert caplog.messages == ["Working: 3 clips are reused from an earlier run"]


def test_a_run_without_missing_shards_starts_no_process(project, monkeypatch):
    run(project, "a", "b")
    monkeypatch.setattr(engines.local, "make_all", None)
    assert run(project, "a", "b", workers=2).keys() == {"a", "b"}
    assert run(project, workers=2) == {}


def in_capitals(texts, journal, advance, *, fail_at=None, cannot_write=None):
    """Compute shards as one stream."""
    for text in texts:
        if text == fail_at:
            raise VideoError(f"{text} cannot be decoded")
        note(journal, text)
        advance(len(text))

        def write(draft, text=text):
            if text == cannot_write:
                raise OSError("no room")
            (draft / "upper.txt").write_text(text.upper(), encoding="utf-8")

        yield write


def run_stream(project, *texts, workers=1, compute=write_upper, **failing):
    def compute_all(jobs, advance):
        return in_capitals([text for text, _ in jobs], project / "journal.txt", advance, **failing)

    return complete("stage", tasks(project, *texts), compute, what="Working", workers=workers, compute_all=compute_all)


def test_in_one_process_shards_are_computed_as_a_stream(project):
    folders = run_stream(project, "a", "bb", compute=None)
    assert contents(folders) == {"a": "A", "bb": "BB"}
    assert all(map(shard_store.is_whole, folders.values()))
    assert contents(run_stream(project, "a", "bb", "ccc", compute=None)) == {"a": "A", "bb": "BB", "ccc": "CCC"}
    assert calls(project) == {"a": 1, "bb": 1, "ccc": 1}
    assert run_stream(project, compute=None) == {}


def test_several_processes_do_not_use_the_stream(project):
    folders = run_stream(project, "a", "bb", workers=2, fail_at="a")
    assert contents(folders) == {"a": "A", "bb": "BB"}


@pytest.mark.parametrize(("failing", "kept"), [({"fail_at": "bb"}, ["ccc"]), ({"cannot_write": "bb"}, ["a", "ccc"])])
def test_an_error_in_the_stream_is_raised_and_the_other_computed_shards_are_kept(project, failing, kept):
    with pytest.raises((VideoError, OSError), match=r"bb cannot be decoded|no room"):
        run_stream(project, "a", "bb", "ccc", **failing)  # the largest comes first
    assert sorted(path.name for path in Path(paths.WORK / "stage").iterdir()) == [f"key-{text}" for text in kept]


def test_a_shard_is_written_while_the_next_one_is_computed(project):
    began = Event()

    def compute_all(jobs, advance):
        yield lambda draft: began.set()
        assert began.wait(timeout=10)
        yield lambda draft: None

    complete("stage", tasks(project, "a", "b"), None, what="Working", workers=1, compute_all=compute_all)


DAMAGES = {
    "flipped byte": lambda folder: flip(folder / "upper.txt", 1),
    "file cut off": lambda folder: (folder / "upper.txt").write_text("A"),
    "file removed": lambda folder: (folder / "upper.txt").unlink(),
    "checksums removed": lambda folder: (folder / "sha256.json").unlink(),
    "checksums empty": lambda folder: (folder / "sha256.json").write_bytes(b""),
    "no checksums": lambda folder: (folder / "sha256.json").write_text("{}"),
    "folder emptied": lambda folder: [file.unlink() for file in folder.iterdir()],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_shard_is_reported_and_recomputed_and_no_other(project, caplog, damage):
    folders = run(project, "aaa", "bbb")
    damage(folders["aaa"])
    assert contents(run(project, "aaa", "bbb")) == {"aaa": "AAA", "bbb": "BBB"}
    assert calls(project) == {"aaa": 2, "bbb": 1}
    assert "key-aaa is damaged and is recomputed" in caplog.text
    assert "key-bbb" not in caplog.text


def test_a_flipped_byte_anywhere_is_found(project):
    folder = run(project, "aaa")["aaa"]
    for file in folder.iterdir():
        for place in range(0, file.stat().st_size, 5):
            flip(file, place)
            assert not shard_store.is_whole(folder), (file, place)
            flip(file, place)
    assert shard_store.is_whole(folder)


@WORKERS
def test_a_job_that_fails_leaves_no_files_and_finished_work_is_kept(project, workers):
    with pytest.raises(VideoError, match=r"^c cannot be decoded$") as error:
        run(project, "aaaa", "bbb", "cc", compute=fail_at_c, workers=workers)
    assert error.value.header_frames == 7
    assert stored() == ["key-aaaa", "key-bbb"]
    (paths.WORK / "stage" / ".key-a.123.draft").mkdir()  # of a killed run
    run(project, "aaaa", "bbb", "cc", workers=workers)
    assert calls(project) == {"aaaa": 1, "bbb": 1, "cc": 1}
    assert stored() == ["key-aaaa", "key-bbb", "key-cc"]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (
            signal.SIGKILL,
            "clip 2 of 3 in ccc: the worker process was killed (possibly out of memory). Finished work is kept. Rerun, or use "
            "fewer processes (ACTIONREC_WORKERS; now 2).",
        ),
        (
            signal.SIGSEGV,
            "clip 2 of 3 in ccc: the worker process crashed (SIGSEGV). Finished work is kept. Rerun; if it crashes there again, "
            "fix or remove that clip.",
        ),
    ],
)
def test_a_lost_worker_is_reported_with_its_place_and_the_next_run_continues(project, how, expected):
    compute = partial(end_at_c, how)
    with pytest.raises(ActionrecError) as error:
        run(project, "aaaa", "ccc", "bb", compute=compute, workers=2)
    assert str(error.value) == expected
    assert calls(project)["aaaa"] == 1
    assert not (paths.WORK / "stage" / "key-ccc").exists()
    Path("spared").touch()
    assert contents(run(project, "aaaa", "ccc", "bb", compute=compute, workers=2)) == {"aaaa": "AAAA", "ccc": "CCC", "bb": "BB"}
    assert calls(project)["aaaa"] == calls(project)["ccc"] == 1
    assert not list((paths.WORK / "stage").glob(".*"))


def test_the_place_of_the_work_is_the_clip_s_name_if_it_is_known():
    known = ShardJob("shard-0001", "", 2, None, clip_ids=["Run/a.avi", "Run/b.avi"])
    assert known.at(0) == "Run/a.avi (clip 1 of 2 in shard-0001)"
    assert known.at(2) == "clip 2 of 2 in shard-0001"  # all clips are done, and the files are being written


@WORKERS
def test_progress_counts_the_missing_clips_and_ends_at_the_total(project, monkeypatch, workers):
    run(project, "aaaa")
    calls = []

    @contextmanager
    def progress(*arguments):
        calls.append(arguments)
        yield calls.append

    monkeypatch.setattr(shards, "progress", progress)
    run(project, "aaaa", "bbb", "cc", workers=workers)
    assert calls[0] == ("Working", 5, "clip")
    assert sum(calls[1:]) == 5


KB = 1000


def write_a_lot(job, draft, advance):
    (draft / "data").write_bytes(bytes(job * KB))


@pytest.fixture
def use(project, monkeypatch):
    """Use shards of these sizes in a store that keeps 100 KB of unused shards if the used ones have less than 50 KB."""
    monkeypatch.setattr(shard_store, "SPARE_BYTES", 100 * KB)

    def use(**kilobytes):
        jobs = [ShardJob(name, name, 1, size) for name, size in kilobytes.items()]
        complete("stage", jobs, write_a_lot, what="Working", workers=1)

    return use


def stored():
    return sorted(path.name for path in (paths.WORK / "stage").iterdir())


def test_unused_shards_are_kept_up_to_a_size_and_the_least_recently_used_are_removed_first(project, use, caplog):
    caplog.set_level(logging.INFO)
    for name in "abcd":
        use(**{name: 30})
    assert stored() == ["a", "b", "c", "d"]  # 90 KB are unused, and their checksums
    with pytest.raises(VideoError):
        run(project, "ccc", compute=fail_at_c)
    assert stored() == ["a", "b", "c", "d"]  # a run that fails removes nothing
    use(a=30)  # used again
    caplog.clear()
    use(e=30)
    assert stored() == ["a", "c", "d", "e"]
    assert caplog.messages == [".work/stage: removed the 1 least recently used shards, 0.0 MB"]
    (paths.WORK / "stage" / "ledger.csv").write_bytes(bytes(500 * KB))  # not a shard
    use(f=30)
    assert stored() == ["a", "d", "e", "f", "ledger.csv"]


def test_used_shards_are_kept_and_twice_their_size_of_unused_ones(use):
    use(a=90, b=90)
    use(c=90, d=90)
    assert stored() == ["a", "b", "c", "d"]  # 180 KB are used, 360 may stay
    use(e=80)
    assert stored() == ["d", "e"] or stored() == ["c", "e"]  # 160 KB may stay
    use(f=500)
    assert len(stored()) == 3


def test_shards_older_than_one_that_does_not_fit_are_removed_with_it(use):
    use(small=10)
    use(large=200)
    use(now=10)
    assert stored() == ["now"]


SECOND = """
test_shards.run(Path.cwd(), "a", "bb", "ccc")
print("done")
"""


def test_a_second_run_waits_and_does_no_work_twice(project):
    store = paths.WORK / "stage"
    with shard_store.alone(store):
        second = start(SECOND)
        assert second.stdout.readline() == f"waiting for another run that works in {store}\n"
        for task in tasks(project, "a", "bb"):
            shard_store.make(write_upper, task.job, store / task.key, lambda _: None)
        assert second.poll() is None
    printed, _ = second.communicate(timeout=60)
    assert printed == "Working: 3 clips are reused from an earlier run\ndone\n"
    assert calls(project) == {"a": 1, "bb": 1, "ccc": 1}


THIRD = """
if __name__ == "__main__":
    test_shards.run(Path.cwd(), "one", "two", compute=test_shards.wait_for_ever, workers=2)
"""


def test_workers_end_when_their_parent_is_killed_and_the_next_run_continues(project):
    parent = start(THIRD)
    deadline = time.monotonic() + 30
    while len(calls(project)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    workers = [int(text) for text in calls(project)]
    assert len(workers) == 2
    parent.kill()
    parent.communicate()
    assert all(map(ends, workers))
    assert contents(run(project, "one", "two")) == {"one": "ONE", "two": "TWO"}
    assert stored() == ["key-one", "key-two"]


def start(code):
    """Start a program that has this file's functions."""
    preamble = f"""
import logging, sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}, {str(Path(__file__).parent)!r}]
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
from pathlib import Path
import test_shards
"""
    return subprocess.Popen([sys.executable, "-c", preamble + code], stdout=subprocess.PIPE, text=True)


@pytest.fixture
def finished(tmp_path):
    """The file of a finished shard."""
    shard_store.make(lambda job, draft, advance: (draft / "a.tar").write_text("a"), None, tmp_path / "store", int)
    (tmp_path / "draft").mkdir()
    return tmp_path / "store" / "a.tar"


@pytest.mark.parametrize("can_link", [True, False])
def test_files_are_linked_or_copied_and_have_their_checksums(tmp_path, monkeypatch, finished, can_link):
    def refuse(*_):
        raise OSError("Invalid cross-device link")

    if not can_link:
        monkeypatch.setattr(os, "link", refuse)
    sums = link_into(tmp_path / "draft", {"b.tar": finished})
    assert (tmp_path / "draft" / "b.tar").samefile(finished) == can_link
    assert (tmp_path / "draft" / "b.tar").read_text() == "a"
    assert sums == {"b.tar": hashlib.sha256(b"a").hexdigest()}
