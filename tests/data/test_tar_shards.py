import contextlib
import gzip
import os
import tarfile

import pytest
from clip_folders import ids, index, make
from film import ODD_NAMES
from tar_files import offsets, write_tar

from actionrec.core.errors import DataError
from actionrec.data import tar_shards
from actionrec.data.clip_files import ClipFiles
from actionrec.data.clip_search import find_clips
from actionrec.io.files import sha256_of

BIG = bytes(range(256)) * 40  # 20 blocks


def labels(folder):
    return {clip.id: (clip.label, clip.group) for clip in find_clips(folder)}


def test_clips_have_the_label_and_group_of_the_files_beside_them(tmp_path):
    members = {
        "0001.mp4": "a", "0001.cls": "Jump\n", "0001.jpg": "not used",
        "0002.MOV": "b", "0002.json": '{"label": "Run", "group": "anna", "fps": 25}',
        "0003.left.mp4": "c", "0003.cls": "Run", "0003.json": '{"group": 7}',
        "./sub/v_x_g07_c01.avi": "d", "./sub/v_x_g07_c01.json": '{"label": 3}',
        "dots.in.name.avi": "e", "dots.in.name.cls": "Jump", "dots.cls": "Run",
    }  # fmt: skip
    write_tar(tmp_path / "shard-0.tar", members)
    assert labels(tmp_path) == {
        "0001.mp4": ("Jump", "0001.mp4"),
        "0002.MOV": ("Run", "anna"),
        "0003.left.mp4": ("Run", "7"),
        "dots.in.name.avi": ("Jump", "dots.in.name.avi"),
        "sub/v_x_g07_c01.avi": ("3", "g07"),
    }


def test_without_label_files_shards_of_a_folder_hold_the_clips_that_the_folder_holds(tmp_path):
    make(tmp_path / "files", *(f"Jump/{name}" for name in ODD_NAMES), "Run/v_Run_g01_c01.avi", "Run/._hidden.avi", "Run/notes.txt")
    for shard, label in enumerate(("Jump", "Run")):
        paths = (tmp_path / "files" / label).iterdir()
        members = {path.relative_to(tmp_path / "files").as_posix(): path.read_bytes() for path in paths}
        write_tar(tmp_path / f"shards/{shard}.tar", members, (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)[shard])
    shards = tar_shards.scan(tmp_path / "shards")
    clips = find_clips(tmp_path / "shards", shards=shards)
    assert clips == [clip for clip in find_clips(tmp_path / "files") if "notes" not in clip.id]
    files = ClipFiles(tmp_path / "shards", shards.members)
    assert [sha256_of(files[clip.id]) for clip in clips] == [clip.sha256 for clip in clips]


def test_shards_may_lie_beside_class_folders_but_a_clip_is_in_one_of_them(tmp_path):
    make(tmp_path, "Jump/a.avi")
    write_tar(tmp_path / "more.tar", {"Run/b.avi": "b"})
    assert ids(find_clips(tmp_path)) == ["Jump/a.avi", "Run/b.avi"]
    write_tar(tmp_path / "same.tar", {"Jump/a.avi": "other"})
    with pytest.raises(DataError, match=r"clips that are both in class folders and in tar shards: Jump/a\.avi\. Remove one"):
        find_clips(tmp_path)


def test_a_list_beside_the_shards_has_the_labels(tmp_path):
    write_tar(tmp_path / "a.tar", {"x/1.mp4": "1", "x/2.mp4": "2", "not listed.mp4": "3"})
    index(tmp_path, "clip,label,group\nx/1.mp4,Jump,anna\nx/2.mp4,Run,ben\n")
    assert labels(tmp_path) == {"x/1.mp4": ("Jump", "anna"), "x/2.mp4": ("Run", "ben")}
    index(tmp_path, "clip,label\nx/1.mp4,Jump\nx/3.mp4,Run\n")
    with pytest.raises(DataError, match=r"line 3: 'x/3\.mp4' is missing"):
        find_clips(tmp_path)


def test_all_errors_of_shards_are_reported_at_once(tmp_path):
    first = {
        "1.mp4": "1", "1.cls": "Jump", "2.mp4": "2", "../3.mp4": "3", "/etc/4.mp4": "4", "a//5.cls": "5",
        "6.mp4": "6", "6.cls": " \n", "7.mp4": "7", "7.json": '{"label": ["Run"]}', "8.mp4": "8", "8.json": "{",
    }  # fmt: skip
    write_tar(tmp_path / "a.tar", first)
    write_tar(tmp_path / "b.tar", {"1.avi": "1", "1.cls": "Run", "9.mp4": "9", "9.cls": b"\xff"})
    with pytest.raises(DataError) as error:
        tar_shards.scan(tmp_path)
    text = str(error.value)
    a, b = tmp_path / "a.tar", tmp_path / "b.tar"
    assert text.startswith(f"{tmp_path}: the tar shards have 13 errors: ")
    assert f"{a}: '../3.mp4' must be a path below the archive's top; " in text
    assert f"{a}: '/etc/4.mp4' must be" in text
    assert f"{a}: 'a//5.cls' must be" in text
    assert f"{a}/6.cls is not a label (got ' \\n', expected one line of text); " in text
    assert f"{a}/7.json is not a label (label: got ['Run'], expected text or a whole number); " in text
    assert f"{a}/8.json is not a label (" in text
    assert f"{b}/9.cls is not a label (" in text
    assert f"{a}/2.mp4: no label; expected 2.cls, or 2.json with an entry label; " in text
    assert text.endswith(" and 3 more. Fix them and rerun; docs/data.md describes the layout.")
    write_tar(a, {"1.mp4": "1", "1.cls": "Jump"})
    write_tar(b, {"1.avi": "1", "1.cls": "Run"})
    with pytest.raises(DataError, match=rf"1 errors: {b}/1\.avi: the key is also that of {a}/1\.mp4\."):
        tar_shards.scan(tmp_path)


@pytest.mark.parametrize("path", ["a.mp4", "train/Jump/a.mp4"])
def test_without_label_files_a_clip_needs_a_class_folder(tmp_path, path):
    write_tar(tmp_path / "a.tar", {"Run/b.mp4": "b", path: "a"})
    with pytest.raises(DataError, match=r"/a\.mp4: no label; expected .*a\.cls, .*a\.json, or a path <Class>/<clip>"):
        tar_shards.scan(tmp_path)


def test_members_that_are_no_clips_or_links_are_skipped_and_reported(tmp_path, caplog):
    link = tarfile.TarInfo("Run/link.avi")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    write_tar(tmp_path / "a.tar", {"Jump/a.avi": "a", "Jump/sound.wav": "s", "Run/b.avi": "b", link.name: link})
    (tmp_path / "b.tar.gz").write_bytes(b"")
    assert ids(find_clips(tmp_path)) == ["Jump/a.avi", "Run/b.avi"]
    tar = tmp_path / "a.tar"
    assert caplog.messages == [
        f"skipped, neither a clip nor a label: {tar}/Jump/sound.wav, {tar}/Run/link.avi (a link or special file)",
        f"skipped, decompress it: clips are read in place, which compressed archives do not allow: {tmp_path}/b.tar.gz",
    ]


@pytest.fixture
def three(tmp_path):
    """A shard of three clips, each with its label."""
    members = {}
    for number, label in enumerate(("Jump", "Run", "Sit")):
        members |= {f"{number}.cls": label, f"{number}.mp4": BIG + label.encode()}
    return write_tar(tmp_path / "shard.tar", members)


def test_a_damaged_header_costs_one_member(three, tmp_path, caplog):
    place = offsets(three)["1.mp4"]
    with three.open("r+b") as stream:
        stream.seek(place + 5)
        stream.write(b"\xaa")
    shards = tar_shards.scan(tmp_path)
    assert sorted(shards.samples) == ["0.mp4", "2.mp4"]
    assert shards.damage == (f"{three} is damaged at byte {place:,}. Copy or download it again. Readable clips: 2.",)
    assert caplog.messages == [*shards.damage]


def test_a_shard_that_is_cut_off_keeps_the_clips_before_and_the_start_of_the_last(three, tmp_path):
    place, following = offsets(three)["1.mp4"], offsets(three)["1.cls"]
    os.truncate(three, place + 512 + 1000)
    shards = tar_shards.scan(tmp_path)
    assert {clip: sample.file.size for clip, sample in shards.samples.items()} == {"0.mp4": len(BIG) + 4, "1.mp4": 1000}
    assert shards.damage == (f"{three} is cut off at byte {place + 1512:,}. Copy or download it again. Readable clips: 2.",)
    assert [clip.bytes for clip in find_clips(tmp_path, shards=shards)] == [len(BIG) + 4, 1000]

    for end in (following + 100, following):  # in a header, and between two members
        os.truncate(three, end)
        shards = tar_shards.scan(tmp_path)
        assert [*shards.samples] == ["0.mp4"]
        assert shards.damage[0].startswith(f"{three} is cut off at byte {following:,}.")


def test_a_clip_whose_label_a_damaged_shard_lost_is_skipped(tmp_path):
    tar = write_tar(tmp_path / "a.tar", {"0.mp4": "0", "0.cls": "Jump", "1.mp4": BIG, "1.cls": "Run"})
    os.truncate(tar, offsets(tar)["1.cls"] + 100)
    shards = tar_shards.scan(tmp_path)
    assert [*shards.samples] == ["0.mp4"]
    assert shards.damage[0].endswith(" Readable clips: 1; skipped, because their labels are lost: 1.")


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (b"", "is cut off at byte 0."),
        (b"no archive", "is cut off at byte 0."),
        (bytes(range(1, 255)) * 40, "is damaged at byte 0."),
        (gzip.compress(BIG), "is compressed (gzip), so its clips cannot be read in place. Decompress it."),
    ],
)
def test_a_shard_that_cannot_be_read_stops_nothing(tmp_path, contents, said):
    write_tar(tmp_path / "good.tar", {"Jump/a.avi": "a", "Run/b.avi": "b"})
    (tmp_path / "bad.tar").write_bytes(contents)
    shards = tar_shards.scan(tmp_path)
    assert len(shards.samples) == 2
    assert shards.damage[0].startswith(f"{tmp_path}/bad.tar {said}")
    assert len(find_clips(tmp_path)) == 2


def test_a_damaged_archive_never_raises_another_error(three, tmp_path):
    contents = three.read_bytes()
    for place in range(0, 6 * 512, 37):
        three.write_bytes(contents[:place] + bytes([contents[place] ^ 0x55]) + contents[place + 1 :])
        with contextlib.suppress(DataError):  # a damaged label
            assert {*tar_shards.scan(tmp_path).samples} <= {"0.mp4", "1.mp4", "2.mp4"}


def test_names_that_are_not_utf_8_are_rejected(tmp_path):
    write_tar(tmp_path / "a.tar", {"Jump/a.avi": "a", "Run/\udcff.avi": "b"})
    with pytest.raises(DataError, match=r"udcff.*the name is not valid UTF-8"):
        find_clips(tmp_path)


def test_a_folder_without_shards_has_none(tmp_path):
    make(tmp_path, ".hidden.tar", "Jump/a.tar")
    assert tar_shards.scan(tmp_path) == tar_shards.scan(tmp_path / "missing") == tar_shards.Shards()
