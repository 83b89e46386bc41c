import hashlib
import os

import pytest
from tar_files import write_tar

from actionrec.data import tar_shards
from actionrec.io import hash_memory
from actionrec.io.files import sha256_of
from actionrec.io.hash_memory import hash_files


@pytest.fixture
def read(monkeypatch):
    """The files that are read from now on."""
    files = []
    monkeypatch.setattr(hash_memory, "sha256_of", lambda file: (files.append(file), sha256_of(file))[1])
    monkeypatch.setattr(hash_memory, "SETTLED_SECONDS", -1.0)  # the tests' files have just been written
    return files


def hashed(files, memory):
    done = []
    found = hash_files(files, memory, done.append)
    assert sum(done) == len(files)
    assert [size for size, _ in found] == [file.stat().st_size for file in files]
    assert [digest for _, digest in found] == [hashlib.sha256(file.open("rb").read()).hexdigest() for file in files]


def test_only_files_that_changed_are_read_again(tmp_path, read, monkeypatch):
    monkeypatch.setattr(hash_memory, "BATCH", 3)
    files = [tmp_path / f"{number}.avi" for number in range(7)]
    for file in files:
        file.write_bytes(file.name.encode())
    hashed(files, tmp_path / "work/memory")
    assert sorted(read) == files
    read.clear()
    hashed(files, tmp_path / "work/memory")
    assert read == []

    status = files[2].stat()
    files[2].write_bytes(b"X.avi")  # as long as before
    os.utime(files[2], ns=(status.st_atime_ns, status.st_mtime_ns))
    files[4].rename(files[3])
    files[4].write_bytes(b"new")
    hashed(files, tmp_path / "work/memory")
    assert sorted(read) == [files[2], files[3], files[4]]


def test_members_of_a_tar_archive_are_remembered_by_their_place(tmp_path, read):
    write_tar(tmp_path / "a.tar", {"Jump/a.avi": "one", "Run/b.avi": "two"})
    members = [*tar_shards.scan(tmp_path).members.values()]
    hashed(members, tmp_path / "memory")
    read.clear()
    hashed(members[::-1], tmp_path / "memory")
    assert read == []
    write_tar(tmp_path / "a.tar", {"Jump/a.avi": "six", "Run/b.avi": "ten"})
    hashed(members, tmp_path / "memory")
    assert read == members


def test_a_file_that_has_just_changed_is_not_remembered(tmp_path, read, monkeypatch):
    monkeypatch.setattr(hash_memory, "SETTLED_SECONDS", 60.0)
    (tmp_path / "a.avi").write_bytes(b"a")
    for _ in range(2):
        hashed([tmp_path / "a.avi"], tmp_path / "memory")
    assert len(read) == 2


def test_a_damaged_memory_is_started_over(tmp_path, read, caplog):
    file, memory = tmp_path / "a.avi", tmp_path / "memory"
    file.write_bytes(b"a")
    memory.write_bytes(b"no database" * 100)
    for _ in range(2):
        hashed([file], memory)
    assert read == [file]
    assert caplog.messages == [f"{memory} is damaged (file is not a database) and is started over"]


def test_without_a_place_for_a_memory_files_are_hashed_all_the_same(tmp_path, read, caplog):
    file = tmp_path / "a.avi"
    file.write_bytes(b"a")
    hashed([file], file / "memory")
    hashed([file], None)
    assert read == [file, file]
    assert [message.partition(" (")[0] for message in caplog.messages] == [f"{file}/memory cannot be used"]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        hash_files([tmp_path / "gone.avi"], tmp_path / "memory", lambda count: None)
    assert error.value.filename == str(tmp_path / "gone.avi") or error.value.filename == tmp_path / "gone.avi"
