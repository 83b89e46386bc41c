"""The functions that worker processes run are at the top level, since spawned processes import them by name."""

import hashlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from actionrec.core import paths
from actionrec.core.errors import ActionrecError, VideoError
from actionrec.parallel import engines, shard_store, shards
from actionrec.parallel.shard_store import ShardJob
from actionrec.parallel.shards import complete, link_into

ROOT = Path(__file__).parents[2]


def write_upper(job, draft, advance):
    """Write the job's text in capitals, and note each call in its journal."""
    text, journal = job
    with open(journal, "a", encoding="utf-8") as stream:  # noqa: PTH123
        stream.write(f"{text}\n")
    (draft / "upper.txt").write_text(text.upper(), encoding="utf-8")
    (draft / "process.txt").write_text(str(os.getpid()), encoding="utf-8")
    advance(len(text))


def fail_at_c(job, draft, advance):
    (draft / "half.txt").write_text("half", encoding="utf-8")
    if job[0].startswith("c"):
        raise VideoError("c cannot be decoded", header_frames=7)
    write_upper(job, draft, advance)


def end_at_c(job, draft, advance, how):
    """End this process with a signal at the second clip of c, until there is a file named `spared`."""
    if job[0].startswith("c") and not Path("spared").exists():
        (draft / "half.txt").write_text("half", encoding="utf-8")
        while journal(Path(job[1]))["aaaa"] == 0:  # the other process has finished something
            time.sleep(0.01)
        time.sleep(0.3)
        advance(1)
        os.kill(os.getpid(), how)
    write_upper(job, draft, advance)


def killed_at_c_once(job, draft, advance):
    """Die as a process that the kernel kills when memory is short."""
    end_at_c(job, draft, advance, signal.SIGKILL)


def crash_at_c_once(job, draft, advance):
    """Die as in a codec."""
    end_at_c(job, draft, advance, signal.SIGSEGV)


def wait_for_ever(job, draft, advance):
    """Note this process in the journal, and never come to an end."""
    (draft / "half.txt").write_text("half", encoding="utf-8")
    with open(job[1], "a", encoding="utf-8") as stream:  # noqa: PTH123
        stream.write(f"{os.getpid()}\n")
    time.sleep(600)


def tasks(project, *texts):
    return [ShardJob(text, f"key-{text}", len(text), (text, str(project / "journal.txt"))) for text in texts]


def is_alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def journal(path):
    return Counter(path.read_text(encoding="utf-8").split()) if path.exists() else Counter()


def made(project):
    return journal(project / "journal.txt")


def run(project, *texts, compute=write_upper, workers=1):
    return complete("stage", tasks(project, *texts), compute, what="Working", workers=workers)


def contents(folders):
    return {name: (folder / "upper.txt").read_text(encoding="utf-8") for name, folder in folders.items()}


WORKERS = pytest.mark.parametrize("workers", [1, 2])


@WORKERS
def test_what_is_missing_is_made_and_what_is_there_is_reused(project, workers):
    folders = run(project, "a", "bb", workers=workers)
    assert contents(folders) == {"a": "A", "bb": "BB"}
    assert run(project, "a", "bb", "ccc", "d", workers=workers).keys() == {"a", "bb", "ccc", "d"}
    assert made(project) == {"a": 1, "bb": 1, "ccc": 1, "d": 1}


def test_another_key_is_another_shard_and_the_way_back_is_free(project):
    task = ShardJob("a", "key-1", 1, ("a", str(project / "journal.txt")))
    other = ShardJob("a", "key-2", 1, ("a", str(project / "journal.txt")))
    for wanted in (task, other, task):
        complete("stage", [wanted], write_upper, what="Working", workers=1)
    assert made(project) == {"a": 2}


def test_work_of_one_process_is_done_in_this_one(project):
    folders = run(project, "a", "b")
    assert {(folder / "process.txt").read_text() for folder in folders.values()} == {str(os.getpid())}


def test_work_of_several_processes_gives_the_same_and_is_not_done_here(project):
    texts = ["a", "bb", "ccc", "dddd", "e"]
    folders = run(project, *texts, workers=2)
    assert contents(folders) == {text: text.upper() for text in texts}
    assert str(os.getpid()) not in {(folder / "process.txt").read_text() for folder in folders.values()}


def test_nothing_to_do_starts_no_process(project, monkeypatch):
    run(project, "a", "b")
    monkeypatch.setattr(engines.local, "make_all", None)
    assert run(project, "a", "b", workers=2).keys() == {"a", "b"}
    assert run(project, workers=2) == {}


def flip(path, place):
    changed = bytearray(path.read_bytes())
    changed[place] ^= 0x80
    path.write_bytes(changed)


def flip_a_byte(folder):
    flip(folder / "upper.txt", 1)


def cut_a_file(folder):
    (folder / "upper.txt").write_text("A")


def remove_a_file(folder):
    (folder / "upper.txt").unlink()


def remove_the_sums(folder):
    (folder / "sha256.json").unlink()


def empty_the_sums(folder):
    (folder / "sha256.json").write_bytes(b"")


def forget_the_sums(folder):
    (folder / "sha256.json").write_text("{}")


def make_the_sums_a_list(folder):
    (folder / "sha256.json").write_text("[]")


def empty_the_folder(folder):
    shutil.rmtree(folder)
    folder.mkdir()


SPOILS = [
    flip_a_byte,
    cut_a_file,
    remove_a_file,
    remove_the_sums,
    empty_the_sums,
    forget_the_sums,
    make_the_sums_a_list,
    empty_the_folder,
]


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_damaged_shard_is_told_and_made_again_and_no_other(project, caplog, spoil):
    folders = run(project, "aaa", "bbb")
    spoil(folders["aaa"])
    assert contents(run(project, "aaa", "bbb")) == {"aaa": "AAA", "bbb": "BBB"}
    assert made(project) == {"aaa": 2, "bbb": 1}
    assert "key-aaa is damaged and is recomputed" in caplog.text
    assert "key-bbb" not in caplog.text


def test_a_flipped_byte_anywhere_is_found(project):
    folder = run(project, "aaa")["aaa"]
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name, before in files.items():
        for place in range(0, len(before), 5):
            flip(folder / name, place)
            assert not shard_store.is_whole(folder), (name, place)
            (folder / name).write_bytes(before)
    assert shard_store.is_whole(folder)


@WORKERS
def test_a_job_that_fails_leaves_nothing_of_itself_and_what_is_finished(project, workers):
    with pytest.raises(VideoError, match=r"^c cannot be decoded$") as error:
        run(project, "aaaa", "bbb", "cc", compute=fail_at_c, workers=workers)
    assert error.value.header_frames == 7
    assert sorted(path.name for path in (paths.WORK / "stage").iterdir()) == ["key-aaaa", "key-bbb"]
    run(project, "aaaa", "bbb", "cc", workers=workers)
    assert made(project) == {"aaaa": 1, "bbb": 1, "cc": 1}


@pytest.mark.parametrize(
    ("compute", "expected"),
    [
        (
            killed_at_c_once,
            "clip 2 of 3 in ccc: the worker process was killed (possibly out of memory). Finished work is kept. Rerun, or use "
            "fewer processes (ACTIONREC_WORKERS; now 2).",
        ),
        (
            crash_at_c_once,
            "clip 2 of 3 in ccc: the worker process crashed (SIGSEGV). Finished work is kept. Rerun; if it crashes there again, "
            "fix or remove that clip.",
        ),
    ],
)
def test_a_lost_worker_is_told_with_its_place_and_advice_and_its_rerun_makes_only_what_is_missing(project, compute, expected):
    with pytest.raises(ActionrecError) as error:
        run(project, "aaaa", "ccc", "bb", compute=compute, workers=2)
    assert str(error.value) == expected
    assert made(project)["aaaa"] == 1
    assert not (paths.WORK / "stage" / "key-ccc").exists()
    Path("spared").touch()
    assert contents(run(project, "aaaa", "ccc", "bb", compute=compute, workers=2)) == {"aaaa": "AAAA", "ccc": "CCC", "bb": "BB"}
    assert made(project)["aaaa"] == made(project)["ccc"] == 1
    assert not list((paths.WORK / "stage").glob(".*"))


def test_the_place_of_the_work_is_the_clip_s_name_where_that_is_known():
    known = ShardJob("shard-0001", "", 2, None, clip_ids=["Run/a.avi", "Run/b.avi"])
    assert [known.at(done) for done in range(3)] == [
        "Run/a.avi (clip 1 of 2 in shard-0001)",
        "Run/b.avi (clip 2 of 2 in shard-0001)",
        "clip 2 of 2 in shard-0001",  # all clips are done, and the files are being written
    ]
    assert ShardJob("shard-0001", "", 2, None).at(0) == "clip 1 of 2 in shard-0001"


def test_drafts_of_killed_runs_are_cleared_away(project):
    draft = paths.WORK / "stage" / ".key-a.123.draft"
    draft.mkdir(parents=True)
    (draft / "half.txt").touch()
    run(project, "b")
    assert not draft.exists()


@WORKERS
def test_progress_counts_what_is_missing_and_ends_at_the_total(project, monkeypatch, workers):
    run(project, "aaaa")
    told = []

    class Progress:
        def __init__(self, what, total, unit):
            told.append((what, total, unit))

        def __enter__(self):
            return told.append

        def __exit__(self, *error):
            pass

    monkeypatch.setattr(shards, "progress", Progress)
    run(project, "aaaa", "bbb", "cc", workers=workers)
    assert told[0] == ("Working", 5, "clip")
    assert sum(told[1:]) == 5


def test_what_is_kept_is_told(project, caplog):
    caplog.set_level(logging.INFO)
    run(project, "aaaa")
    assert caplog.messages == []
    run(project, "aaaa", "bbb")
    assert caplog.messages == ["Working: 4 clips are reused from an earlier run"]


KB = 1000


def write_a_lot(job, draft, advance):
    (draft / "data").write_bytes(bytes(job * KB))


@pytest.fixture
def small_store(monkeypatch):
    """A store that keeps 100 KB beside what is used, where that is less than 50 KB, and functions to use it and to look into it."""
    monkeypatch.setattr(shard_store, "SPARE_BYTES", 100 * KB)

    def use(**kilobytes):
        wanted = [ShardJob(name, name, 1, size) for name, size in kilobytes.items()]
        complete("stage", wanted, write_a_lot, what="Working", workers=1)

    return use


def stored():
    return sorted(path.name for path in (paths.WORK / "stage").iterdir())


def test_unused_shards_are_kept_up_to_a_size_and_the_longest_unused_go_first(project, small_store, caplog):
    caplog.set_level(logging.INFO)
    for name in "abcd":
        small_store(**{name: 30})
    assert stored() == ["a", "b", "c", "d"]  # 90 KB are unused, and their sums' files
    small_store(a=30)  # used again
    caplog.clear()
    small_store(e=30)
    assert stored() == ["a", "c", "d", "e"]
    assert caplog.messages == [".work/stage: removed the 1 least recently used shards, 0.0 MB"]
    small_store(f=30)
    assert stored() == ["a", "d", "e", "f"]


def test_what_is_used_stays_whatever_its_size_and_twice_its_size_of_what_is_not(project, small_store):
    small_store(a=90, b=90)
    small_store(c=90, d=90)
    assert stored() == ["a", "b", "c", "d"]  # 180 KB are used, 360 may stay
    small_store(e=80)
    assert stored() == ["d", "e"] or stored() == ["c", "e"]  # 160 KB may stay
    small_store(f=500)
    assert len(stored()) == 3


def test_an_unused_shard_that_does_not_fit_takes_all_older_ones_with_it(project, small_store):
    small_store(small=10)
    small_store(large=200)
    small_store(now=10)
    assert stored() == ["now"]


def test_a_run_that_fails_removes_nothing(project, small_store):
    for name in "abcd":
        small_store(**{name: 30})
    with pytest.raises(VideoError):
        run(project, "ccc", compute=fail_at_c)
    assert stored() == ["a", "b", "c", "d"]


def test_files_beside_the_shards_are_no_shards(project, small_store):
    small_store(a=1)
    (paths.WORK / "stage" / "ledger.csv").write_bytes(bytes(500 * KB))
    small_store(b=1)
    assert stored() == ["a", "b", "ledger.csv"]


SECOND = """
test_shards.run(Path.cwd(), "a", "bb", "ccc")
print("done")
"""


def test_a_second_run_waits_and_does_no_work_twice(project):
    place = paths.WORK / "stage"
    with shard_store.alone(place):
        second = start(SECOND)
        assert second.stdout.readline() == f"waiting for another run that works in {place}\n"
        for task in tasks(project, "a", "bb"):
            shard_store.make(write_upper, task.job, place / task.key, lambda _: None)
        assert second.poll() is None
    said, _ = second.communicate(timeout=60)
    assert said == "Working: 3 clips are reused from an earlier run\ndone\n"
    assert made(project) == {"a": 1, "bb": 1, "ccc": 1}


THIRD = """
if __name__ == "__main__":
    test_shards.run(Path.cwd(), "one", "two", compute=test_shards.wait_for_ever, workers=2)
"""


def test_workers_end_when_their_parent_is_killed_and_the_next_run_takes_over(project):
    parent = start(THIRD)
    deadline = time.monotonic() + 30
    while len(made(project)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    workers = [int(text) for text in made(project)]
    assert len(workers) == 2
    parent.kill()
    parent.communicate()
    while any(is_alive(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(is_alive(worker) for worker in workers)
    assert contents(run(project, "one", "two")) == {"one": "ONE", "two": "TWO"}
    assert sorted(path.name for path in (paths.WORK / "stage").iterdir()) == ["key-one", "key-two"]


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


def test_linked_files_are_the_same_files_and_have_their_checksums(tmp_path, finished):
    sums = link_into(tmp_path / "draft", {"b.tar": finished})
    assert (tmp_path / "draft" / "b.tar").samefile(finished)
    assert sums == {"b.tar": hashlib.sha256(b"a").hexdigest()}


def test_files_are_copied_where_there_are_no_links(tmp_path, monkeypatch, finished):
    def refuse(*_):
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    link_into(tmp_path / "draft", {"b.tar": finished})
    assert (tmp_path / "draft" / "b.tar").read_text() == "a"
    assert not (tmp_path / "draft" / "b.tar").samefile(finished)
