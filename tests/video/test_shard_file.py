"""Members of a shard: those that tarfile finds, and damage of any header is noticed."""

import io
import tarfile

import pytest

from actionrec.core.errors import DataError
from actionrec.video import shard_file

CONTENTS = {"0f.json": b"{}", "0f.000.jpg": b"x" * 512, "0f.001.jpg": b"", "é" * 50: bytes(range(256)) * 5}


def write(path, entries, form=tarfile.USTAR_FORMAT):
    with tarfile.open(path, "w", format=form) as tar:
        for entry, contents in entries:
            entry.size = len(contents)
            tar.addfile(entry, io.BytesIO(contents))
    return path


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "shard.tar", [(tarfile.TarInfo(name), contents) for name, contents in CONTENTS.items()])


def read(path, buffering=0):
    with shard_file.open_shard(path, buffering) as shard:
        return {member.name: shard_file.contents(shard, member) for member in shard_file.members(shard)}


@pytest.mark.parametrize("buffering", [0, 600, 2**20])
def test_members_are_those_that_tarfile_finds(path, buffering):
    with tarfile.open(path) as tar:
        wanted = [(member.name, member.offset_data, member.size) for member in tar]
    with shard_file.open_shard(path, buffering) as shard:
        assert list(shard_file.members(shard)) == wanted
    assert read(path, buffering) == CONTENTS


def test_a_changed_byte_of_a_header_is_noticed(path):
    contents = path.read_bytes()
    with tarfile.open(path) as tar:
        header = tar.getmembers()[1].offset
    for place in (*range(8), 100, 124, 135, 148, 153, 156, 257, 329, 345, 511):
        changed = bytearray(contents)
        changed[header + place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(DataError, match=r"shard\.tar is damaged \(.+\)\. Run"):
            read(path)


def of_kind(kind):
    entry = tarfile.TarInfo("0f.json")
    entry.type, entry.linkname = kind, "elsewhere"
    return entry


@pytest.mark.parametrize(
    "entry", [of_kind(tarfile.DIRTYPE), of_kind(tarfile.SYMTYPE), of_kind(tarfile.LNKTYPE), tarfile.TarInfo("n" * 101)]
)
def test_only_plain_files_are_read(tmp_path, entry):
    with pytest.raises(DataError, match="the header at byte 0 is not of a plain file"):
        read(write(tmp_path / "shard.tar", [(entry, b"")], tarfile.GNU_FORMAT))


def test_a_size_below_zero_is_refused(path):
    """Else reading would never end."""
    contents = bytearray(path.read_bytes())
    contents[124:136] = b"-0000001000\0"
    contents[148:156] = b" " * 8
    contents[148:156] = b"%06o\0 " % sum(contents[:512])
    path.write_bytes(contents)
    with pytest.raises(DataError, match="is damaged"):
        read(path)


def test_a_member_longer_than_the_shard_is_refused(path):
    contents = path.read_bytes()
    entry = tarfile.TarInfo("0f.json")
    entry.size = len(contents)
    path.write_bytes(entry.tobuf(tarfile.USTAR_FORMAT) + contents[512:])
    with pytest.raises(DataError, match=r"is damaged \(unexpected end of data\)"):
        read(path)


def test_a_member_is_read_in_several_calls_if_the_system_gives_less_at_a_time():
    class Short(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 3))

    stream = Short(b"0123456789")
    assert shard_file.contents(stream, shard_file.TarMember("a", 1, 8)) == b"12345678"
    assert shard_file.contents(stream, shard_file.TarMember("a", 1, 0)) == b""
    with pytest.raises(EOFError):
        shard_file.contents(stream, shard_file.TarMember("a", 1, 10))
