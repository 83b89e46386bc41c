import io
import tarfile

import pytest

from actionrec.io import tar_writer
from actionrec.io.tar_writer import TarWriter


@pytest.mark.parametrize(
    "sizes", [[], [0], [1, 511, 512, 513, 70_000], [10_240 - 512], [10_240 - 1536], [1 << 20, 3 << 20, 5]], ids=str
)
def test_an_archive_has_the_bytes_that_tarfile_writes(tmp_path, sizes):
    members = {f"é{'x' * (17 * place)}.{place}.jpg": bytes([place + 1]) * size for place, size in enumerate(sizes)}
    with TarWriter(tmp_path / "a.tar") as ours, tarfile.open(tmp_path / "b.tar", "w", format=tarfile.USTAR_FORMAT) as theirs:
        for name, contents in members.items():
            ours.add(name, contents)
            info = tarfile.TarInfo(name)
            info.size = len(contents)
            theirs.addfile(info, io.BytesIO(contents))
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


@pytest.mark.parametrize("name", ["a", "a" * 100, "a/b.jpg", "\x7f\xff" * 33])
@pytest.mark.parametrize("size", [0, 7, 8, 8**11 - 1])
def test_headers_are_those_of_tarfile_up_to_the_limits(name, size):
    info = tarfile.TarInfo(name)
    info.size = size
    assert tar_writer._header(name.encode(), size) == info.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(("name", "size"), [("a" * 101, 0), ("é" * 51, 0), ("a", 8**11)])
def test_what_a_header_cannot_say_is_refused(name, size):
    with pytest.raises(ValueError, match="expected at most 100 and 8,589,934,591"):
        tar_writer._header(name.encode(), size)
