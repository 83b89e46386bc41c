import pytest
from tar_files import write_tar

from actionrec.core import paths
from actionrec.core.errors import DataError
from actionrec.data import tar_shards
from actionrec.data.clip_files import ClipFiles, read_clip_files, write_members


def test_the_table_returns_what_was_written_and_other_clips_are_files(project):
    folder = paths.RAW / "mine"
    write_tar(folder / "a.tar", {"Jump/a, b.avi": "12", "Run/\n.avi": "3"})
    (folder / "Jump").mkdir()
    (folder / "Jump/c.avi").write_bytes(b"4")
    members = tar_shards.scan(folder).members
    write_members(paths.TAR_MEMBERS, members)
    files = read_clip_files(folder)
    assert files.members == members
    assert [files[clip].open("rb").read() for clip in ("Jump/a, b.avi", "Run/\n.avi", "Jump/c.avi")] == [b"12", b"3", b"4"]
    assert [files.has(clip) for clip in ("Run/\n.avi", "Jump/c.avi", "Jump", "gone.avi")] == [True, True, False, False]


@pytest.mark.parametrize("row", ["a.avi,a.tar,-1,2", "a.avi,../a.tar,1,2", "a.avi,a.tar,1,x"])
def test_a_damaged_table_is_refused(project, row):
    write_members(paths.TAR_MEMBERS, {})
    assert ClipFiles(paths.RAW)["a.avi"] == read_clip_files(paths.RAW)["a.avi"] == paths.RAW / "a.avi"
    with paths.TAR_MEMBERS.open("a") as stream:
        stream.write(f"{row}\n")
    with pytest.raises(DataError, match=r"data/tar_members\.csv is damaged: got the row a\.avi"):
        read_clip_files(paths.RAW)
