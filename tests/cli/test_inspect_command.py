"""`python -m actionrec inspect`, as a person runs it."""

import csv
import json
import os
import re
from pathlib import Path

import pytest
from commands import actionrec
from film import write_video
from projects import edit_params
from tar_files import write_tar

ROOT = Path(__file__).parents[2]


def inspect(*arguments, cwd):
    return actionrec("inspect", *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes in three groups; one clip is a copy with another label, one is empty."""
    folder = tmp_path_factory.mktemp("raw") / "mine"
    for number, name in enumerate(("Jump", "Run")):
        for group in (1, 2, 3):
            write_video(folder / name / f"v_{name}_g{group:02d}_c01.avi", 40 + group + 10 * number)
    (folder / "Run" / "v_Run_g04_c01.avi").write_bytes((folder / "Jump" / "v_Jump_g01_c01.avi").read_bytes())
    (folder / "Jump" / "v_Jump_g04_c01.avi").touch()
    return folder


@pytest.fixture(scope="module")
def done(folder, tmp_path_factory):
    """A plain run in an empty folder, and that folder."""
    place = tmp_path_factory.mktemp("place")
    return inspect(folder, cwd=place), place


def test_report_page_and_table_are_where_the_command_says(done):
    printed, place = done
    assert printed.returncode == 0, printed.stderr
    assert printed.stderr == "report.md, page.png and files.csv are in .work/inspect/mine\n"
    output = place / ".work" / "inspect" / "mine"
    assert {path.name for path in output.iterdir()} == {"report.md", "page.png", "files.csv"}
    assert (output / "page.png").read_bytes().startswith(b"\x89PNG")


def test_tar_shards_have_the_report_of_their_clips(done, folder, tmp_path):
    contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.avi")}
    write_tar(tmp_path / "mine/all.tar", contents)
    printed = inspect(tmp_path / "mine", cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout == done[0].stdout
    place = ".work/inspect/mine"
    assert (tmp_path / place / "page.png").read_bytes() == (done[1] / place / "page.png").read_bytes()
    assert (tmp_path / place / "files.csv").read_bytes() == (done[1] / place / "files.csv").read_bytes()


def test_the_report_is_printed_and_tells_what_is_wrong(done):
    printed, place = done
    assert printed.stdout == (place / ".work/inspect/mine/report.md").read_text()
    assert "THE SAME CLIP IN SEVERAL CLASSES, 1 time" in printed.stdout
    assert re.search(r"\| Jump/v_Jump_g04_c01\.avi +\| the file is empty \(0 bytes\)", printed.stdout)


def test_the_table_has_a_row_a_file(done):
    _, place = done
    with (place / ".work/inspect/mine/files.csv").open(newline="") as stream:
        rows = {row["clip"]: row for row in csv.DictReader(stream)}
    assert len(rows) == 8
    assert rows["Run/v_Run_g01_c01.avi"] | {"bytes": ""} == {
        "clip": "Run/v_Run_g01_c01.avi",
        "label": "Run",
        "group": "g01",
        "bytes": "",
        "seconds": "2.040",
        "frames": "51",
        "frames_per_second": "25.000",
        "width": "80",
        "height": "48",
        "codec": "mpeg4",
        "problem": "",
    }
    assert rows["Jump/v_Jump_g04_c01.avi"]["problem"] == "the file is empty (0 bytes). Copy or download it again"


def test_many_classes_have_a_table_of_their_own(tmp_path):
    for number in range(61):
        path = tmp_path / f"many/{number:02}/clip.avi"
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes([number]))
    assert inspect(tmp_path / "many", cwd=tmp_path).returncode == 0
    lines = (tmp_path / ".work/inspect/many/classes.csv").read_text().splitlines()
    assert (len(lines), lines[0], lines[61]) == (62, "class,clips,share,groups,median_seconds", "60,1,0.0164,1,")


def test_json_is_all_that_stdout_has(folder, tmp_path):
    printed = inspect(folder, "--json", "--decode", "--output", tmp_path / "out", cwd=tmp_path)
    known = json.loads(printed.stdout)
    assert (known["dataset"], known["clips"], known["read_through"]) == ("mine", 8, True)
    assert known["copies_across_classes"] == [["Jump/v_Jump_g01_c01.avi", "Run/v_Run_g04_c01.avi"]]
    assert known["split"]["problem"].startswith("the clips cannot be divided into 5 parts; at most 3 are possible")
    assert (tmp_path / "out" / "report.md").is_file()
    assert not (tmp_path / ".work").exists()


def test_the_split_and_the_groups_are_those_of_params_yaml(folder, tmp_path):
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    edit_params(tmp_path, {"data.group": "(v_[A-Z])", "split.folds": 2, "split.validation": 0})
    printed = inspect(folder, cwd=tmp_path)
    assert "Groups are read from names by `data.group`: `(v_[A-Z])`." in printed.stdout
    assert "Found: 2 groups in 8 of 8 clips." in printed.stdout
    assert "**The clips cannot be divided**: no clips are left for testing" in printed.stdout
    edit_params(tmp_path, {"data.group": None})
    assert "The split under params.yaml: group, fold 0 of 2, seed 0." in inspect(folder, cwd=tmp_path).stdout


def test_a_link_goes_by_its_own_name(folder, tmp_path):
    (tmp_path / "linked").symlink_to(folder)
    printed = inspect("linked", cwd=tmp_path)
    assert printed.stdout.startswith("# Data set linked\n")
    assert printed.stderr == "report.md, page.png and files.csv are in .work/inspect/linked\n"


def one_class(folder):
    write_video(folder / "mine" / "Jump" / "a.avi", 3)
    return ["mine"]


def bad_clip_name(folder):
    for name in ("Jump/a.avi", "Run/b.avi"):
        write_video(folder / "mine" / name, 3)
    (folder / "mine" / "Run" / os.fsdecode(b"caf\xe9.avi")).touch()
    return ["mine"]


def bad_folder_name(folder):
    name = os.fsdecode(b"caf\xe9")
    for clip in ("Jump/a.avi", "Run/b.avi"):
        write_video(folder / "plain" / clip, 3)
    (folder / "plain").rename(folder / name)
    return [name]


def output_is_a_file(folder):
    for name in ("Jump/a.avi", "Run/b.avi"):
        write_video(folder / "mine" / name, 3)
    (folder / "taken").touch()
    return ["mine", "--output", "taken"]


@pytest.mark.parametrize(
    ("arrange", "message"),
    [
        (lambda folder: ["nowhere"], "nowhere: no such folder."),
        (one_class, "expected clips of at least two classes"),
        (bad_clip_name, "the name is not valid UTF-8"),
        (bad_folder_name, "the path is not valid UTF-8. Rename the folder, or link to it."),
        (output_is_a_file, "taken: the folder cannot be created (File exists). Choose another with --output."),
    ],
    ids=["no such folder", "one class", "clip's name", "folder's name", "output"],
)
def test_bad_input_is_one_clear_line_and_status_2(tmp_path, arrange, message):
    printed = inspect(*arrange(tmp_path), cwd=tmp_path)
    assert printed.returncode == 2
    [line] = printed.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert printed.stdout == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_that_cannot_be_written_to_is_told_before_the_work(folder, tmp_path):
    (tmp_path / "out").mkdir(mode=0o555)
    printed = inspect(folder, "--output", "out", cwd=tmp_path)
    assert printed.returncode == 2
    assert printed.stderr == "error: out cannot be written to (permission denied). Choose another with --output.\n"
