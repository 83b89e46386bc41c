import tarfile
from pathlib import Path

import numpy as np
import pytest

from actionrec.core.errors import VideoError
from actionrec.io.tar_member import TarMember
from actionrec.video.clip_reader import read_frame, sample_clip
from actionrec.video.decoder import read_header

MADE = Path(__file__).parent / "videos"


def packed(tar, files):
    """Pack files in a tar archive: each file with the member that has its bytes."""
    with tarfile.open(tar, "w") as archive:
        for file in files:
            archive.add(file, f"{file.parent.name}/{file.name}")
    with tarfile.open(tar) as archive:
        headers = archive.getmembers()
    return [(file, TarMember(tar, one.name, one.offset_data, one.size)) for file, one in zip(files, headers, strict=True)]


def outcome(read, file):
    """What reading gives, in a form that can be compared."""
    try:
        found = read(file)
    except VideoError as error:
        return str(error), error.header_frames, error.decoded_frames
    return {name: np.asarray(value).tolist() for name, value in vars(found).items()}


def assert_same(pairs):
    for file, member in pairs:
        assert outcome(read_header, member) == outcome(read_header, file), file
        assert outcome(lambda one: sample_clip(one, 5, 16), member) == outcome(lambda one: sample_clip(one, 5, 16), file), file


def test_a_clip_in_a_tar_archive_gives_the_same_frames_as_its_file(tmp_path):
    pairs = packed(tmp_path / "a.tar", sorted(path for path in MADE.iterdir() if path.suffix != ".md"))
    assert_same(pairs)
    file, member = pairs[0]
    np.testing.assert_array_equal(read_frame(member, 7), read_frame(file, 7))


def test_so_does_every_odd_and_damaged_file(shared, tmp_path):
    files = sorted((shared / "data/broken").iterdir())
    assert_same(packed(tmp_path / "a.tar", [file for file in files if file.suffix not in (".md", ".pth")]))


@pytest.mark.parametrize("lost", [1 / 3, 1])
def test_a_clip_that_a_truncated_archive_cuts_off_is_like_a_file_that_is_cut_off(tmp_path, lost):
    [(file, whole)] = packed(tmp_path / "a.tar", [MADE / "gop12.avi"])
    left = whole.size - int(lost * whole.size)
    cut = tmp_path / "gop12.avi"
    cut.write_bytes(file.read_bytes()[:left])
    assert_same([(cut, TarMember(whole.tar, whole.path, whole.offset, left))])
