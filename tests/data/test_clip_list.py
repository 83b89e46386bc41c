import pytest
from clip_folders import index, make

from actionrec.core.errors import DataError
from actionrec.data.clip_files import ClipFiles
from actionrec.data.clip_list import read_index
from actionrec.data.clip_search import find_clips


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
        read_index(tmp_path, ClipFiles(tmp_path).has)
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
