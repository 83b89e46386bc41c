import hashlib
import logging
import os
import random

import pytest
from film import ODD_NAMES

from actionrec.core.errors import DataError
from actionrec.data.clips import Clip, class_names, cluster_ids, find_clips, group_of, read_clips, read_index, write_clips


def make(folder, *clip_ids):
    """Files that stand for clips: finding them reads bytes, not pictures."""
    for clip_id in clip_ids:
        path = folder / clip_id
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clip_id.encode())
    return folder


def ids(clips):
    return [clip.id for clip in clips]


def test_a_clip_tells_its_path_class_group_size_and_hash(tmp_path):
    make(tmp_path, "Jump/v_Jump_g07_c02.avi", "Run/v_Run_g25_c11.avi")
    jump, run = find_clips(tmp_path)
    contents = b"Jump/v_Jump_g07_c02.avi"
    assert jump == Clip("Jump/v_Jump_g07_c02.avi", "Jump", "g07", 23, hashlib.sha256(contents).hexdigest())
    assert (run.label, run.group) == ("Run", "g25")


@pytest.mark.parametrize(
    ("clip_id", "group"),
    [
        ("Billiards/v_Billards_g01_c01.avi", "g01"),  # UCF's own misspelling: the class comes from the folder
        ("PullUps/v_Pullup_g01_c04.avi", "g01"),
        ("HandstandPushups/v_HandStandPushups_g25_c07.avi", "g25"),
        ("Jump/v_Jump_G3_C1.AVI", "g03"),
        ("Jump/v_Jump_g007_c1.avi", "g07"),
        ("Jump/v_Jump_g123_c1.avi", "g123"),
        ("Jump/holiday.mp4", "Jump/holiday.mp4"),
        ("Jump/v_Jump_g01.avi", "Jump/v_Jump_g01.avi"),
        ("Odd_g05_class/one.avi", "Odd_g05_class/one.avi"),  # the class's folder is no part of the name
    ],
)
def test_the_group_is_the_number_in_the_file_s_name_and_else_the_clip_itself(clip_id, group):
    assert group_of(clip_id) == group


def test_the_label_is_the_folder_even_where_the_file_spells_it_otherwise(tmp_path):
    make(tmp_path, "Billiards/v_Billards_g01_c01.avi", "PullUps/v_Pullup_g01_c01.avi")
    assert [(clip.label, clip.group) for clip in find_clips(tmp_path)] == [("Billiards", "g01"), ("PullUps", "g01")]


def test_every_known_suffix_counts_in_any_case(tmp_path):
    names = ["a.avi", "b.MP4", "c.mov", "d.MkV", "e.webm", "f.mpg", "g.MPEG", "h.m4v"]
    make(tmp_path, *(f"A/{name}" for name in names), "B/x.avi")
    assert ids(find_clips(tmp_path)) == [*(f"A/{name}" for name in names), "B/x.avi"]


@pytest.mark.parametrize("label", ["Jump", 'Cl,a"s s #1\n'])
def test_odd_names_are_found_and_survive_the_csv(tmp_path, label):
    make(tmp_path / "raw", *(f"{label}/{name}" for name in ODD_NAMES), "Run/r.avi")
    clips = find_clips(tmp_path / "raw")
    assert ids(clips) == sorted([*(f"{label}/{name}" for name in ODD_NAMES), "Run/r.avi"])
    write_clips(tmp_path / "clips.csv", clips)
    assert read_clips(tmp_path / "clips.csv") == clips


def test_the_csv_has_the_contract_s_header_and_form(tmp_path):
    write_clips(tmp_path / "clips.csv", [Clip("A/x,1.avi", "A", "g01", 12, "ab")])
    assert (tmp_path / "clips.csv").read_bytes() == b'clip,label,group,bytes,sha256\n"A/x,1.avi",A,g01,12,ab\n'


def test_hidden_files_are_skipped_silently(tmp_path, caplog):
    make(tmp_path, "A/a.avi", "B/b.avi", ".DS_Store", ".cache/c.avi", "A/.hidden.avi", "B/._b.avi")
    assert ids(find_clips(tmp_path)) == ["A/a.avi", "B/b.avi"]
    assert caplog.text == ""


def test_stray_files_and_folders_inside_classes_are_skipped_and_reported(tmp_path, caplog):
    make(tmp_path, "A/a.avi", "B/b.avi", "readme.md", "loose.avi", "A/notes.txt", "A/deeper/c.avi")
    os.mkfifo(tmp_path / "A" / "pipe.avi")
    assert ids(find_clips(tmp_path)) == ["A/a.avi", "B/b.avi"]
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage().startswith("skipped, not a clip in a class folder: ")
    for name in ("readme.md", "loose.avi", "A/notes.txt", "A/deeper", "A/pipe.avi"):
        assert f"{tmp_path}/{name}" in record.getMessage()


def test_of_many_stray_files_some_are_named_and_the_others_counted(tmp_path, caplog):
    make(tmp_path, "A/a.avi", "B/b.avi", *(f"A/{number:03}.txt" for number in range(205)))
    find_clips(tmp_path)
    assert "A/004.txt and 200 more" in caplog.text
    assert "005.txt" not in caplog.text


def test_empty_classes_are_skipped_and_reported(tmp_path, caplog):
    make(tmp_path, "A/a.avi", "B/b.avi", "Text/readme.md")
    (tmp_path / "Empty").mkdir()
    assert class_names(find_clips(tmp_path)) == ["A", "B"]
    assert "skipped, no clips (.avi, .mp4," in caplog.text
    assert f"{tmp_path}/Empty, {tmp_path}/Text" in caplog.text


def test_one_class_only_is_refused(tmp_path):
    make(tmp_path, "Jump/a.avi", "Jump/b.avi")
    with pytest.raises(DataError) as error:
        find_clips(tmp_path)
    expected = f"expected clips of at least two classes, one folder per class ({tmp_path}/<Class>/<clip>.avi)"
    assert str(error.value) == f"{tmp_path}: got clips of one class, 'Jump', {expected}."


def test_no_class_at_all_is_refused(tmp_path):
    make(tmp_path, "a.avi", "b.avi")
    with pytest.raises(DataError, match=r"got no clips, expected clips of at least two classes, one folder per class .*\.$"):
        find_clips(tmp_path)


def test_a_missing_folder_says_what_to_do(tmp_path):
    with pytest.raises(DataError) as error:
        find_clips(tmp_path / "mine")
    assert f"{tmp_path}/mine: no such folder. Put the clips there" in str(error.value)
    assert "ln -s /path/to/clips" in str(error.value)
    assert "data.dataset in params.yaml" in str(error.value)


def test_symlinks_to_the_data_set_to_classes_and_to_clips_are_followed(tmp_path):
    real = make(tmp_path / "elsewhere", "A/a.avi", "B/b.avi")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "A").symlink_to(real / "A")
    (tmp_path / "linked" / "B").mkdir()
    (tmp_path / "linked" / "B" / "b.avi").symlink_to(real / "B" / "b.avi")
    (tmp_path / "raw").symlink_to(tmp_path / "linked")
    assert find_clips(tmp_path / "raw") == find_clips(real)


def test_a_broken_symlink_is_skipped_and_reported(tmp_path, caplog):
    make(tmp_path, "A/a.avi", "B/b.avi")
    (tmp_path / "A" / "gone.avi").symlink_to(tmp_path / "nowhere.avi")
    (tmp_path / "Gone").symlink_to(tmp_path / "nowhere")
    assert ids(find_clips(tmp_path)) == ["A/a.avi", "B/b.avi"]
    assert f"{tmp_path}/Gone" in caplog.text
    assert f"{tmp_path}/A/gone.avi" in caplog.text


def test_a_broken_symlink_to_the_data_set_is_reported_as_missing(tmp_path):
    (tmp_path / "raw").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no such folder"):
        find_clips(tmp_path / "raw")


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


def test_class_names_are_sorted_and_each_there_once():
    clips = [Clip(f"{label}/{number}", label, "g01", 1, "") for number in range(3) for label in ("b", "C", "a")]
    assert class_names(clips) == ["C", "a", "b"]


def test_the_real_clips_have_the_groups_that_their_readme_tells(shared):
    clips = find_clips(shared / "data" / "real_clips")
    groups = {label: len({clip.group for clip in clips if clip.label == label}) for label in class_names(clips)}
    assert len(clips) == 77
    assert groups == {"DailyLiving": 4, "Fall": 4, "Fight": 10, "NoFight": 11}


def test_classes_one_folder_deeper_are_pointed_out(tmp_path):
    (tmp_path / "UCF50" / "Diving").mkdir(parents=True)
    (tmp_path / "UCF50" / "Diving" / "v_Diving_g01_c01.avi").write_bytes(b"x")
    with pytest.raises(DataError, match=r"The classes seem to be one folder deeper: move or link .*/UCF50 to "):
        find_clips(tmp_path)


def index(folder, text):
    (folder / "clips.csv").write_bytes(text.encode())


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


def test_a_list_may_come_from_a_spreadsheet(tmp_path):
    """With a byte order mark, Windows's line ends, quotes, and columns in another order and of one's own."""
    make(tmp_path, "a, b.mp4", "c.mp4")
    index(tmp_path, '\ufefflabel,remark,clip\r\nJump,"x, y","a, b.mp4"\r\nRun,,c.mp4\r\n')
    assert [(clip.id, clip.label) for clip in find_clips(tmp_path)] == [("a, b.mp4", "Jump"), ("c.mp4", "Run")]


@pytest.mark.parametrize("delimiter", ["\t", ";"])
def test_a_list_may_have_tabs_or_semicolons_between_its_columns(tmp_path, delimiter):
    make(tmp_path, "a, b.mp4", "c.mp4")
    lines = [("clip", "label", "group"), ("a, b.mp4", "Jump", "anna"), ("c.mp4", "Run", "ben")]
    index(tmp_path, "".join(delimiter.join(line) + "\n" for line in lines))
    found = [(clip.id, clip.label, clip.group) for clip in find_clips(tmp_path)]
    assert found == [("a, b.mp4", "Jump", "anna"), ("c.mp4", "Run", "ben")]


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


def test_folders_of_text_files_are_no_empty_classes(tmp_path, caplog):
    make(tmp_path, "A/a.avi", "B/b.avi", "ucfTrainTestlist/trainlist01.txt", "readme.txt")
    assert ids(find_clips(tmp_path)) == ["A/a.avi", "B/b.avi"]
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("April_09_brush_hair_u_nm_np1_ba_goo_0.avi", "April_09"),
        ("Brushing_my_Waist_Lenth_Hair_brush_hair_u_nm_np1_ba_goo_2.avi", "Brushing_my_Waist_Lenth_Hair"),
        ("#437_How_To_Ride_A_Bike_brush_hair_f_cm_np2_le_med_11.avi", "#437_How_To_Ride_A_Bike"),
        ("Film(1)_other_class_h_nm_np1_fr_bad_3.avi", "Film(1)_other_class"),
    ],
)
def test_hmdb51_s_names_tell_the_film(name, group):
    assert group_of(f"brush_hair/{name}", "brush_hair") == group


@pytest.mark.parametrize(
    ("pattern", "group"),
    [(r"person(\d+)", "12"), (r"person\d+", "person12"), (r"(camera)?-x", "Run/person12_take3.mp4"), (r"^(\w+)/", "Run")],
)
def test_a_custom_pattern_finds_the_group(pattern, group):
    assert group_of("Run/person12_take3.mp4", "Run", pattern) == group


def clusters(folder, pattern=None):
    """Clip -> number of its cluster, in the order of the clips."""
    clips = find_clips(folder, pattern)
    return dict(zip(ids(clips), cluster_ids(clips).tolist(), strict=True))


def test_a_ucf_group_is_another_cluster_in_each_class(tmp_path):
    make(tmp_path, *(f"{label}/v_{label}_g{group}_c{clip}.avi" for label in ("Jump", "Run") for group in (1, 2) for clip in (1, 2)))
    assert list(clusters(tmp_path).values()) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_an_hmdb_film_is_one_cluster_in_all_classes(tmp_path):
    make(tmp_path, *(f"{label}/Film_{label}_f_cm_np1_ba_goo_{clip}.avi" for label in ("jump", "run") for clip in (0, 1)))
    assert list(clusters(tmp_path).values()) == [0, 0, 0, 0]


def test_a_group_from_a_pattern_is_one_cluster_in_all_classes(tmp_path):
    make(tmp_path, "Jump/anna-1.mp4", "Jump/ben-1.mp4", "Run/anna-1.mp4", "Run/carl.mp4")
    assert clusters(tmp_path, r"(\w+)-") == {"Jump/anna-1.mp4": 1, "Jump/ben-1.mp4": 2, "Run/anna-1.mp4": 1, "Run/carl.mp4": 0}


def test_a_group_from_a_list_is_one_cluster_in_all_classes(tmp_path):
    make(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    index(tmp_path, "clip,label,group\na.mp4,Jump,anna\nb.mp4,Run,anna\nc.mp4,Run,\n")
    assert list(clusters(tmp_path).values()) == [0, 0, 1]


UCF_NAMED = ("Jump/v_Jump_g07_c01.avi", "Run/v_Run_g07_c01.avi", "Run/v_Run_g08_c01.avi")


@pytest.mark.parametrize("pattern", [r"_g(\d+)_", r"_(g\d+)_"])
def test_ucf_named_groups_span_classes_where_a_pattern_says_so(tmp_path, pattern):
    """Where `g07` is a person, the pattern says it, also one that finds the very text of UCF's groups."""
    make(tmp_path, *UCF_NAMED)
    assert list(clusters(tmp_path, pattern).values()) == [0, 0, 1]
    assert list(clusters(tmp_path).values()) == [0, 1, 2]


def test_ucf_named_groups_span_classes_where_a_list_says_so(tmp_path):
    make(tmp_path, *UCF_NAMED)
    rows = zip(UCF_NAMED, ("Jump", "Run", "Run"), ("g07", "", "g08"), strict=True)  # the second has its group from its name
    index(tmp_path, "clip,label,group\n" + "".join(f"{','.join(row)}\n" for row in rows))
    clips = find_clips(tmp_path)
    assert [clip.group for clip in clips] == ["g07 (all classes)", "g07 (all classes)", "g08 (all classes)"]
    assert cluster_ids(clips).tolist() == [0, 0, 1]
    write_clips(tmp_path / "written.csv", clips)
    assert cluster_ids(read_clips(tmp_path / "written.csv")).tolist() == [0, 0, 1]
