import hashlib
import io
import os

import pytest

from actionrec.io.files import sha256_of
from actionrec.io.tar_member import TarMember

CONTENTS = bytes(range(200))


@pytest.fixture
def member(tmp_path):
    """A member of 200 bytes between others' bytes."""
    (tmp_path / "a.tar").write_bytes(b"before" + CONTENTS + b"after")
    return TarMember(tmp_path / "a.tar", "Jump/one.avi", 6, len(CONTENTS))


@pytest.mark.parametrize("moves", [[(0, 0, 7), (3, 1, 50), (-9, 2, 20)], [(195, 0, 10), (500, 0, 10), (0, 0, 1000), (-1, 2, -1)]])
def test_it_reads_and_moves_as_a_file_of_its_own_does(member, moves):
    with member.open("rb") as stream, io.BytesIO(CONTENTS) as expected:
        for offset, whence, count in moves:
            assert stream.seek(offset, whence) == expected.seek(offset, whence) == stream.tell()
            assert stream.read(count) == expected.read(count)
        with pytest.raises(OSError, match="Invalid argument"):
            stream.seek(-1)


def test_its_hash_size_and_name_are_its_own_and_its_times_the_archives(member):
    assert sha256_of(member) == hashlib.sha256(CONTENTS).hexdigest()
    archive = member.tar.stat()
    assert (member.stat().st_size, member.stat().st_ino) == (200, archive.st_ino)
    assert (member.stat().st_mtime_ns, member.stat().st_ctime_ns) == (archive.st_mtime_ns, archive.st_ctime_ns)
    assert (member.name, str(member)) == ("one.avi", f"{member.tar}/Jump/one.avi")
    assert member.is_file()


def test_bytes_that_an_archive_lost_are_missing(member):
    os.truncate(member.tar, 106)
    assert member.open().read() == CONTENTS[:100]
    member.tar.unlink()
    assert not member.exists()
    with pytest.raises(FileNotFoundError, match=r"a\.tar"):
        member.open()


def test_it_cannot_be_written(member):
    with pytest.raises(ValueError, match="can only be read; got the mode 'wb'"):
        member.open("wb")
