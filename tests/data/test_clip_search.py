import hashlib
import os
import random

import pytest
from clip_folders import ids, make
from film import ODD_NAMES

from actionrec.core.errors import DataError
from actionrec.data.clip_search import find_clips
from actionrec.data.clips import SUFFIXES, Clip, class_names, read_clips, write_clips


def test_a_clip_has_its_path_class_group_size_and_hash(tmp_path):
    make(tmp_path, "Jump/v_Jump_g07_c02.avi", "PullUps/v_Pullup_g25_c11.avi")
    jump, pull_ups = find_clips(tmp_path)
    contents = b"Jump/v_Jump_g07_c02.avi"
    assert jump == Clip("Jump/v_Jump_g07_c02.avi", "Jump", "g07", 23, hashlib.sha256(contents).hexdigest())
    assert (pull_ups.label, pull_ups.group) == ("PullUps", "g25")  # the class is the folder, whatever the file's name


def test_suffixes_count_in_any_case(tmp_path):
    names = ["A/a.avi", "A/b.MP4", "B/d.MkV"]
    assert ids(find_clips(make(tmp_path, *names))) == names


@pytest.mark.parametrize("label", ["Jump", 'Cl,a"s s #1\n'])
def test_odd_names_are_found_and_survive_the_csv(tmp_path, label):
    make(tmp_path / "raw", *(f"{label}/{name}" for name in ODD_NAMES), "Run/r.avi")
    clips = find_clips(tmp_path / "raw")
    assert ids(clips) == sorted([*(f"{label}/{name}" for name in ODD_NAMES), "Run/r.avi"])
    write_clips(tmp_path / "clips.csv", clips)
    assert read_clips(tmp_path / "clips.csv") == clips


def test_hidden_files_and_folders_of_text_files_are_skipped_silently(tmp_path, caplog):
    make(tmp_path, "A/a.avi", "B/b.avi", ".DS_Store", ".cache/c.avi", "A/.hidden.avi", "B/._b.avi", "lists/l.txt", "readme.txt")
    assert ids(find_clips(tmp_path)) == ["A/a.avi", "B/b.avi"]
    assert caplog.text == ""


def test_files_that_are_not_clips_are_skipped_and_reported(tmp_path, caplog):
    make(tmp_path, "A/a.avi", "B/b.avi", "readme.md", "A/notes.txt", "A/deeper/c.avi")
    os.mkfifo(tmp_path / "A" / "pipe.avi")
    (tmp_path / "A" / "gone.avi").symlink_to(tmp_path / "nowhere.avi")
    assert ids(find_clips(tmp_path)) == ["A/a.avi", "B/b.avi"]
    names = ("A/deeper", "A/gone.avi", "A/notes.txt", "A/pipe.avi", "readme.md")
    assert caplog.messages == [f"skipped, not a clip in a class folder: {', '.join(f'{tmp_path}/{name}' for name in names)}"]


def test_empty_classes_are_skipped_and_reported(tmp_path, caplog):
    make(tmp_path, "A/a.avi", "B/b.avi", "Text/readme.md")
    (tmp_path / "Empty").mkdir()
    assert class_names(find_clips(tmp_path)) == ["A", "B"]
    assert f"skipped, no clips ({', '.join(SUFFIXES)}) in this class folder: {tmp_path}/Empty, {tmp_path}/Text" in caplog.messages


@pytest.mark.parametrize(("folder", "got"), [("Jump/", "clips of one class, 'Jump'"), ("", "no clips")])
def test_fewer_than_two_classes_are_rejected(tmp_path, folder, got):
    make(tmp_path, f"{folder}a.avi", f"{folder}b.avi")
    with pytest.raises(DataError) as error:
        find_clips(tmp_path)
    expected = f"expected clips of at least two classes, one folder per class ({tmp_path}/<Class>/<clip>.avi)"
    assert str(error.value) == f"{tmp_path}: got {got}, {expected}."


@pytest.mark.parametrize("is_broken_link", [False, True])
def test_a_missing_folder_says_what_to_do(tmp_path, is_broken_link):
    if is_broken_link:
        (tmp_path / "mine").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError) as error:
        find_clips(tmp_path / "mine")
    assert str(error.value) == (
        f"{tmp_path}/mine: no such folder. Put the clips there, one folder per class ({tmp_path}/mine/<Class>/<clip>.avi), or "
        f"link to them: ln -s /path/to/clips {tmp_path}/mine; or set data.dataset in params.yaml to an existing folder."
    )


def test_symlinks_to_the_data_set_to_classes_and_to_clips_are_followed(tmp_path):
    real = make(tmp_path / "elsewhere", "A/a.avi", "B/b.avi")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "A").symlink_to(real / "A")
    (tmp_path / "linked" / "B").mkdir()
    (tmp_path / "linked" / "B" / "b.avi").symlink_to(real / "B" / "b.avi")
    (tmp_path / "raw").symlink_to(tmp_path / "linked")
    assert find_clips(tmp_path / "raw") == find_clips(real)


@pytest.mark.parametrize("clip_id", [b"A/\xff.avi", b"caf\xe9/a.avi"])
def test_names_that_are_not_utf_8_are_rejected(tmp_path, clip_id):
    make(tmp_path, "A/a.avi", "B/b.avi")
    path = tmp_path / os.fsdecode(clip_id)
    path.parent.mkdir(exist_ok=True)
    path.touch()
    with pytest.raises(DataError, match=r"\\udc(ff|e9).*the name is not valid UTF-8\. Rename the file or folder\.$") as error:
        find_clips(tmp_path)
    str(error.value).encode("ascii")  # it can be printed anywhere


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_clip_that_cannot_be_read_is_named(tmp_path):
    make(tmp_path, "A/a.avi", "B/b.avi")
    (tmp_path / "A" / "a.avi").chmod(0)
    with pytest.raises(DataError, match=r"A/a\.avi cannot be read: Permission denied\. Fix its permissions"):
        find_clips(tmp_path)


def test_the_order_does_not_depend_on_the_file_system(tmp_path, monkeypatch):
    names = [f"{label}/{name}.avi" for label in ("b", "A", "a b") for name in ("2", "10", "1", "Z", "é")]
    first = find_clips(make(tmp_path / "one", *names))
    shuffled = random.Random(1).sample(names, len(names))
    monkeypatch.setenv("ACTIONREC_WORKERS", "1")
    assert find_clips(make(tmp_path / "two", *shuffled)) == first
    assert ids(first) == sorted(names)
    assert class_names(first) == ["A", "a b", "b"]


def test_the_real_clips_have_the_groups_that_their_readme_tells(shared):
    clips = find_clips(shared / "data" / "real_clips")
    groups = {label: len({clip.group for clip in clips if clip.label == label}) for label in class_names(clips)}
    assert len(clips) == 77
    assert groups == {"DailyLiving": 4, "Fall": 4, "Fight": 10, "NoFight": 11}


def test_classes_one_folder_deeper_are_pointed_out(tmp_path):
    make(tmp_path, "UCF50/Diving/v_Diving_g01_c01.avi")
    with pytest.raises(DataError, match=r"The classes seem to be one folder deeper: move or link .*/UCF50 to "):
        find_clips(tmp_path)
