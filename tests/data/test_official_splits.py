import pytest

from actionrec.core.errors import DataError
from actionrec.data.official_splits import differences, list_numbers, read_lists

CLIPS = ["Jump/v_Jump_g01_c01.avi", "Jump/v_Jump_g02_c01.avi", "Run/v_run_g01_c01.avi", "Run/v_run_g02_c01.avi"]


def write(folder, **texts):
    """Write list files; `name__txt` becomes `name.txt`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_bytes(text.encode())
    return folder


@pytest.fixture
def ucf(tmp_path):
    write(
        tmp_path / "ucfTrainTestlist",
        classInd__txt="1 Jump\r\n2 Run\r\n",
        trainlist01__txt="Jump/v_Jump_g01_c01.avi 1\r\nRun/v_run_g01_c01.avi 2\r\n",
        testlist01__txt="Jump/v_Jump_g02_c01.avi\r\nRun/v_run_g02_c01.avi\r\n\r\n",
        trainlist02__txt="Jump/v_Jump_g02_c01.avi 1\nRun/v_Run_g02_c01.avi 2\n",
        testlist02__txt="Jump/v_Jump_g01_c01.avi\nRun/v_Run_g01_c01.avi",
    )
    return tmp_path


def test_ucf101_s_lists_are_read_whatever_their_line_ends(ucf):
    assert list_numbers(ucf) == [1, 2]
    assert read_lists(ucf, 1, CLIPS) == dict(zip(CLIPS, ["train", "test", "train", "test"], strict=True))


def test_names_are_matched_whatever_their_case(ucf):
    """As in UCF-101, whose HandstandPushups are v_HandStandPushups in some copies."""
    assert read_lists(ucf, 2, CLIPS) == dict(zip(CLIPS, ["test", "train", "test", "train"], strict=True))


@pytest.mark.parametrize(
    ("texts", "clips"),
    [
        ({"trainlist1__txt": "Jump/a.avi 1\n", "testlist1__txt": "Jump/b.avi\n"}, ["Jump/a.avi", "Jump/b.avi"]),
        ({"trainlist01__txt": "Jump/a 1 b 2.avi 1\n", "testlist01__txt": "Jump/c 3.avi\n"}, ["Jump/a 1 b 2.avi", "Jump/c 3.avi"]),
        ({"trainlist01__txt": "Jump/a b.avi\t1\n", "testlist01__txt": "Jump/c.avi\t\n"}, ["Jump/a b.avi", "Jump/c.avi"]),
        ({"Jump_test_split1__txt": "a b.avi\t1\nc.avi \t 2\n"}, ["Jump/a b.avi", "Jump/c.avi"]),
    ],
    ids=["beside the classes", "names with blanks and numbers", "tabs as in UCF-101", "tabs as in HMDB-51"],
)
def test_variants_of_the_lists_are_read(tmp_path, texts, clips):
    assert read_lists(write(tmp_path, **texts), 1, clips) == dict(zip(clips, ["train", "test"], strict=True))


def test_lists_that_name_avi_files_fit_copies_in_another_container(ucf, caplog):
    """The list's own file comes first; of copies without it, all are on the list's side."""
    copies = [*(clip.replace(".avi", ".mp4") for clip in CLIPS), CLIPS[3], "Run/v_run_g01_c01.MKV"]
    assert read_lists(ucf, 1, copies) == {
        "Jump/v_Jump_g01_c01.mp4": "train",
        "Jump/v_Jump_g02_c01.mp4": "test",
        "Run/v_run_g01_c01.mp4": "train",
        "Run/v_run_g01_c01.MKV": "train",
        "Run/v_run_g02_c01.avi": "test",
    }
    assert caplog.messages == []
    assert differences(ucf, copies) == ([], ["Run/v_run_g02_c01.mp4"])


def test_hmdb51_s_lists_leave_out_clips_that_are_marked_0(tmp_path):
    write(
        tmp_path / "testTrainMulti_7030_splits",
        Jump_test_split1__txt="v_Jump_g01_c01.avi 1 \nv_Jump_g02_c01.avi 2 \n",
        Run_test_split1__txt="v_run_g01_c01.avi 2 \r\nv_run_g02_c01.avi 0 \r\n",
    )
    assert read_lists(tmp_path, 1, CLIPS) == {CLIPS[0]: "train", CLIPS[1]: "test", CLIPS[2]: "test"}


def test_a_column_beside_the_clips_is_list_1(tmp_path):
    for clip in CLIPS:
        (tmp_path / clip).parent.mkdir(exist_ok=True)
        (tmp_path / clip).touch()
    rows = "".join(f"{clip},x,{subset}\n" for clip, subset in zip(CLIPS, ["train", "val", "test", ""], strict=True))
    write(tmp_path, clips__csv="clip,label,subset\n" + rows.replace(",x,", ",y,", 1))
    assert list_numbers(tmp_path) == [1]
    assert read_lists(tmp_path, 1, CLIPS) == {CLIPS[0]: "train", CLIPS[1]: "val", CLIPS[2]: "test"}


def test_missing_listed_clips_are_reported(ucf, caplog):
    assert set(read_lists(ucf, 1, CLIPS[:3])) == set(CLIPS[:3])
    assert caplog.messages == ["1 clips of official list 1 are missing: Run/v_run_g02_c01.avi"]
    assert differences(ucf, [*CLIPS[1:], "Run/new.avi"]) == ([CLIPS[0]], ["Run/new.avi"])


def refusal(folder, number=1, clips=CLIPS):
    with pytest.raises(DataError) as caught:
        read_lists(folder, number, clips)
    return str(caught.value)


def test_a_missing_list_is_reported_with_the_expected_files(ucf):
    assert refusal(ucf, 3) == (
        f"split.protocol is official, but {ucf} has only lists 1, 2; expected list 3: trainlist03.txt and testlist03.txt as "
        f"in UCF-101, <class>_test_split3.txt as in HMDB-51, or a column subset in {ucf}/clips.csv. Put them there, or change "
        "split.fold or split.protocol in params.yaml."
    )


def test_lists_that_do_not_fit_the_clips_are_rejected(ucf, tmp_path):
    message = refusal(ucf, clips=["Sit/a.avi"])
    assert "has no clips for test and train: it names 0 of the 1 existing clips; missing: Jump" in message
    (ucf / "ucfTrainTestlist/testlist01.txt").unlink()
    assert "has no clips for test: it names 2 of the 4 existing clips. Check that no list is missing." in refusal(ucf)
    assert "has no list; expected list 1: " in refusal(tmp_path / "empty")


def test_a_clip_in_two_subsets_is_rejected(ucf):
    write(ucf / "ucfTrainTestlist", trainlist01__txt="Jump/v_Jump_g01_c01.avi 1\nJump/v_Jump_g02_c01.avi 1\n")
    assert "trainlist01.txt, line 2: Jump/v_Jump_g02_c01.avi is listed for test too" in refusal(ucf)


@pytest.mark.parametrize(
    ("name", "line", "wanted"),
    [
        ("ucfTrainTestlist/testlist01.txt", "v_Jump_g02_c01.avi", "<Class>/<clip>"),
        ("splits/Jump_test_split1.txt", "v_Jump_g02_c01.avi 3", "<clip> <0, 1 or 2>"),
        ("splits/Jump_test_split1.txt", "v_Jump_g02_c01.avi", "<clip> <0, 1 or 2>"),
    ],
)
def test_a_damaged_line_is_reported_with_its_number(tmp_path, name, line, wanted):
    write(tmp_path / name.split("/")[0], **{name.split("/")[1].replace(".", "__"): f"\n{line}\n"})
    assert f"{tmp_path}/{name}, line 2: got {line!r}, expected `{wanted}`. Fetch the lists again." == refusal(tmp_path)
