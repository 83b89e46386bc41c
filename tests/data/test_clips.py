import hashlib
import os
import random

import pytest
from film import ODD_NAMES

from actionrec.core.errors import DataError
from actionrec.data.clips import SUFFIXES, Clip, class_names, cluster_ids, find_clips, group_of, read_clips, read_index, write_clips


def make(folder, *clip_ids):
    """Files that stand for clips: finding them reads bytes, not pictures."""
    for clip_id in clip_ids:
        path = folder / clip_id
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clip_id.encode())
    return folder


def ids(clips):
    return [clip.id for clip in clips]


def test_a_clip_has_its_path_class_group_size_and_hash(tmp_path):
    make(tmp_path, "Jump/v_Jump_g07_c02.avi", "PullUps/v_Pullup_g25_c11.avi")
    jump, pull_ups = find_clips(tmp_path)
    contents = b"Jump/v_Jump_g07_c02.avi"
    assert jump == Clip("Jump/v_Jump_g07_c02.avi", "Jump", "g07", 23, hashlib.sha256(contents).hexdigest())
    assert (pull_ups.label, pull_ups.group) == ("PullUps", "g25")  # the class is the folder, whatever the file's name


HMDB = "brush_hair/{}_brush_hair_u_nm_np1_ba_goo_0.avi"
PERSON = "Run/person12_take3.mp4"


@pytest.mark.parametrize(
    ("clip_id", "pattern", "group"),
    [
        ("Billiards/v_Billards_g01_c01.avi", None, "g01"),
        ("Jump/v_Jump_G3_C1.AVI", None, "g03"),
        ("Jump/v_Jump_g007_c1.avi", None, "g07"),
        ("Jump/v_Jump_g123_c1.avi", None, "g123"),
        ("Jump/holiday.mp4", None, "Jump/holiday.mp4"),
        ("Jump/v_Jump_g01.avi", None, "Jump/v_Jump_g01.avi"),
        ("Odd_g05_class/one.avi", None, "Odd_g05_class/one.avi"),  # the class's folder is not part of the name
        (HMDB.format("April_09"), None, "April_09"),
        (HMDB.format("#437_How_To_Ride_A_Bike"), None, "#437_How_To_Ride_A_Bike"),
        ("brush_hair/Film(1)_other_class_h_nm_np1_fr_bad_3.avi", None, "Film(1)_other_class"),
        (PERSON, r"person(\d+)", "12"),
        (PERSON, r"person\d+", "person12"),
        (PERSON, r"(camera)?-x", PERSON),
        (PERSON, r"^(\w+)/", "Run"),
    ],
)
def test_the_group_is_read_from_the_clip_s_name(clip_id, pattern, group):
    assert group_of(clip_id, clip_id.split("/")[0], pattern) == group


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


def index(folder, text):
    (folder / "clips.csv").write_bytes(text.encode())


UCF_NAMED = ("Jump/v_Jump_g07_c01.avi", "Run/v_Run_g07_c01.avi", "Run/v_Run_g08_c01.avi")


def test_a_list_beside_the_clips_says_which_there_are_and_what_they_show(tmp_path, caplog):
    make(tmp_path, "2024/may/a.mp4", "2024/june/b.mp4", "c.raw", "not listed.mp4")
    index(tmp_path, "clip,label,group\n2024/may/a.mp4,Jump,anna\n./2024/june/b.mp4,Run,\nc.raw,Run,ben\n")
    found = [(clip.id, clip.label, clip.group) for clip in find_clips(tmp_path)]
    assert found == [
        ("2024/june/b.mp4", "Run", "2024/june/b.mp4"),
        ("2024/may/a.mp4", "Jump", "anna"),
        ("c.raw", "Run", "ben"),
    ]
    assert caplog.messages == []


@pytest.mark.parametrize(
    "text",
    [
        '\ufeffgroup,label,remark,clip\r\nanna,Jump,"x, y","a, b.mp4"\r\nben,Run,,c.mp4\r\n',  # as spreadsheets write it
        "clip\tlabel\tgroup\na, b.mp4\tJump\tanna\nc.mp4\tRun\tben\n",
        "clip;label;group\na, b.mp4;Jump;anna\nc.mp4;Run;ben\n",
    ],
)
def test_a_list_may_come_from_any_spreadsheet(tmp_path, text):
    make(tmp_path, "a, b.mp4", "c.mp4")
    index(tmp_path, text)
    clips = [(clip.id, clip.label, clip.group) for clip in find_clips(tmp_path)]
    assert clips == [("a, b.mp4", "Jump", "anna"), ("c.mp4", "Run", "ben")]


def test_all_errors_of_a_list_are_reported_at_once(tmp_path):
    make(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    lines = ["a.mp4,Jump,", "a.mp4,Run,", "gone.mp4,Run,", "../a.mp4,Run,", "/etc/x,Run,", "b.mp4,,", ",Run,", "c.mp4,Run,dev"]
    index(tmp_path, "clip,label,subset\n" + "\n".join(lines))
    with pytest.raises(DataError) as error:
        read_index(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}/clips.csv has 7 errors: line 3: 'a.mp4' is a duplicate, line 4: 'gone.mp4' is missing, "
        f"line 5: '../a.mp4' must be a path below {tmp_path}, line 6: '/etc/x' must be a path below {tmp_path}, "
        "line 7: no label, line 8: no clip, line 9: subset must be train, val, test or empty; got 'dev'. Fix them and rerun."
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,class\na.mp4,Jump\n", "got the columns path,class, expected clip,label and optionally group,subset."),
        ("", "got the columns , expected clip,label and optionally group,subset."),
        ("clip,label\na.mp4,Jump\n", "got clips of Jump, expected at least two classes."),
    ],
)
def test_a_list_without_required_columns_or_classes_is_rejected(tmp_path, text, message):
    make(tmp_path, "a.mp4")
    index(tmp_path, text)
    with pytest.raises(DataError, match=message):
        find_clips(tmp_path)


@pytest.mark.parametrize(
    ("names", "pattern", "expected"),
    [
        (["Jump/v_Jump_g1_c1.avi", "Jump/v_Jump_g1_c2.avi", "Jump/v_Jump_g2_c1.avi", "Run/v_Run_g1_c1.avi"], None, [0, 0, 1, 2]),
        (["jump/Film_jump_f_cm_np1_ba_goo_0.avi", "run/Film_run_f_cm_np1_ba_goo_0.avi"], None, [0, 0]),
        (["Jump/anna-1.mp4", "Jump/ben-1.mp4", "Run/anna-1.mp4", "Run/carl.mp4"], r"(\w+)-", [1, 2, 1, 0]),
        (UCF_NAMED, None, [0, 1, 2]),
        (UCF_NAMED, r"_g(\d+)_", [0, 0, 1]),  # in UCF's names too, a pattern's groups are the same in all classes
        (UCF_NAMED, r"_(g\d+)_", [0, 0, 1]),
    ],
)
def test_only_ucf_groups_are_numbered_within_each_class(tmp_path, names, pattern, expected):
    make(tmp_path, *names)
    assert cluster_ids(find_clips(tmp_path, pattern)).tolist() == expected


def test_groups_that_a_list_names_span_classes_also_with_ucf_names(tmp_path):
    make(tmp_path, *UCF_NAMED)
    rows = zip(UCF_NAMED, ("Jump", "Run", "Run"), ("g07", "", "g08"), strict=True)  # the second has its group from its name
    index(tmp_path, "clip,label,group\n" + "".join(f"{','.join(row)}\n" for row in rows))
    write_clips(tmp_path / "written.csv", find_clips(tmp_path))
    clips = read_clips(tmp_path / "written.csv")
    assert [clip.group for clip in clips] == ["g07 (all classes)", "g07 (all classes)", "g08 (all classes)"]
    assert cluster_ids(clips).tolist() == [0, 0, 1]
