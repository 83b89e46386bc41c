import csv
import math
import os
import re
import subprocess
import sys

import pytest

from actionrec.core.errors import DataError
from actionrec.io.files import (
    digest,
    read_csv,
    read_json,
    whole_file,
    whole_folder,
    write_csv,
    write_json,
    write_spreadsheet,
    write_text,
)

HEADER = ("clip", "note")


def everything_in(folder):
    return sorted(path.name for path in folder.rglob("*"))


def test_a_file_appears_when_its_block_ends(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    with whole_file(path) as draft:
        draft.write_text("half")
        assert not path.exists()
        assert draft.parent == path.parent  # the same file system, so that taking its place cannot fail half-way
    assert path.read_text() == "half"
    assert everything_in(path.parent) == ["a.txt"]


def test_a_file_that_fails_leaves_the_old_one_and_no_draft(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError), whole_file(path) as draft:
        draft.write_text("half\n\udcff", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt), whole_file(path):
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert everything_in(tmp_path) == ["a.txt"]


def test_a_folder_replaces_the_old_one_when_its_block_ends(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old.txt").touch()
    with pytest.raises(UnicodeEncodeError), whole_folder(path) as draft:
        write_text(draft / "inner" / "new.txt", "half\n\udcff")
    assert everything_in(tmp_path) == ["folder", "old.txt"]
    draft.mkdir()  # as a killed process with the same ID leaves it
    (draft / "left.txt").touch()
    with whole_folder(path) as draft:
        assert everything_in(draft) == []
        (draft / "new.txt").touch()
        assert everything_in(path) == ["old.txt"]
    assert everything_in(tmp_path) == ["folder", "new.txt"]


@pytest.fixture
def ended():
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_drafts_of_killed_runs_go_with_the_next_file_or_folder_of_that_name_and_no_others(tmp_path, ended):
    living = os.getppid()
    kept = [
        f".a.{living}.draft",
        f".a.b.{ended}.draft",
        f".aa.{ended}.draft",
        ".a.x.draft",
        f".a.{ended}.other",
        f"a.{ended}.draft",
    ]
    for name in (f".a.{ended}.draft", f".[a].{ended}.draft", *kept):
        (tmp_path / name).touch()
    (tmp_path / f".f.{ended}.draft").mkdir()
    (tmp_path / f".f.{ended}.draft" / "half.txt").touch()
    write_text(tmp_path / "a", "whole")
    with whole_folder(tmp_path / "f"):
        pass
    assert everything_in(tmp_path) == sorted([*kept, f".[a].{ended}.draft", "a", "f"])
    write_text(tmp_path / "[a]", "whole")
    assert everything_in(tmp_path) == sorted([*kept, "[a]", "a", "f"])


def test_json_is_indented_unicode_with_a_final_line_end_and_its_keys_in_the_order_given(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": "é\u2028"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "b": 1,\n  "a": "é\u2028"\n}\n'
    assert read_json(tmp_path / "a.json") == {"b": 1, "a": "é\u2028"}


def test_numbers_that_json_does_not_have_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "a.json", {"loss": math.nan})
    assert everything_in(tmp_path) == []


@pytest.mark.parametrize("contents", [b"", b'{"a": ', b"\xff\xfe"])
def test_damaged_json_is_reported(tmp_path, contents):
    (tmp_path / "a.json").write_bytes(contents)
    with pytest.raises(DataError, match=r"a\.json.*Run `python -m actionrec repair`\.$"):
        read_json(tmp_path / "a.json")


def test_missing_files_are_told_with_their_path(tmp_path):
    with pytest.raises(DataError) as error:
        read_json(tmp_path / "a.json")
    assert str(error.value) == f"{tmp_path}/a.json is missing. Run `dvc repro` to make it."
    with pytest.raises(DataError, match=r"a\.csv is missing\."):
        read_csv(tmp_path / "a.csv", HEADER)


def test_csv_is_rfc_4180_in_utf_8_with_line_feeds(tmp_path):
    write_csv(tmp_path / "a.csv", HEADER, [["é", 1], ['a "b", c', ""], ["two\nlines", None]])
    expected = 'clip,note\né,1\n"a ""b"", c",\n"two\nlines",\n'
    assert (tmp_path / "a.csv").read_bytes() == expected.encode()
    write_csv(tmp_path / "a.csv", HEADER, [])
    assert read_csv(tmp_path / "a.csv", HEADER) == []


FORMULAS = ["=1+1", "+1-1", "-cmd|' /C calc'!A0", "@SUM(A1)", "  =1", "\u00a0=1", "＝1+1", "－1+1", "a;=1+1", "a; -x", "-", "--5"]
ODD = ["\n", "\r", "\r\n", "a\rb", "a\n", "\u2028", "\x85", "\x0b\x0c", ",", '""', " a ", "#", "'", "\\n", "", "\t=1", "\u202ex"]


@pytest.mark.parametrize("text", [*ODD, *FORMULAS], ids=ascii)
def test_every_text_comes_back_from_csv_for_programs(tmp_path, text):
    write_csv(tmp_path / "a.csv", HEADER, [[text, "x"], ["y", text], [text, text]])
    rows = [{"clip": text, "note": "x"}, {"clip": "y", "note": text}, {"clip": text, "note": text}]
    assert read_csv(tmp_path / "a.csv", HEADER) == rows
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as stream:  # the same for any other reader
        assert list(csv.DictReader(stream)) == rows


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("1" * 5_000, "a number of 5,000 digits"),
        ("NaN", "the number NaN is not finite"),
        ("[-Infinity]", "the number -Infinity is not finite"),
        ("1e999", "the number 1e999 is not finite"),
    ],
    ids=["lists", "mappings", "5,000 digits", "NaN", "infinity", "overflow"],
)
def test_json_beyond_the_limits_is_rejected_in_one_line(tmp_path, text, reason):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError) as error:
        read_json(tmp_path / "a.json")
    assert str(error.value) == f"{tmp_path}/a.json: not valid JSON ({reason}). Run `python -m actionrec repair`."


def test_json_of_an_absurd_size_is_not_read(tmp_path):
    with (tmp_path / "a.json").open("wb") as stream:
        stream.truncate(10 << 30)  # sparse: it takes no room
    with pytest.raises(DataError, match=r"a\.json: not valid JSON \(larger than 32 MiB\)"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("text", FORMULAS)
def test_a_spreadsheet_shows_text_that_looks_like_a_formula(tmp_path, text):
    write_spreadsheet(tmp_path / "a.csv", HEADER, [[text, 1]])
    [row] = read_csv(tmp_path / "a.csv", HEADER)
    for cell in row["clip"].split(";"):
        assert not re.match(r"\s*[=+\-@＝－]", cell)
    assert row["clip"] != text
    assert row["clip"].replace("'", "") == text.replace("'", "")


@pytest.mark.parametrize("text", ["\t=1", "\r=1", "\n=1", "\x1b[31m", "\u202eiva.drow", "a\x00"])
def test_a_spreadsheet_shows_control_characters_as_escapes(tmp_path, text):
    write_spreadsheet(tmp_path / "a.csv", HEADER, [[text, 1]])
    [row] = read_csv(tmp_path / "a.csv", HEADER)
    assert row["clip"].isprintable()
    assert not row["clip"].startswith(("=", "+", "-", "@"))


@pytest.mark.parametrize("cell", ["-0.5", "+3", "12.25", "-1e-05", "0.0001", "pull-ups", "a=b", "x@y", "", "A-1", "yes", -0.5, 7])
def test_numbers_and_plain_text_stay_as_they_are_in_a_spreadsheet(tmp_path, cell):
    write_spreadsheet(tmp_path / "a.csv", HEADER, [[cell, "x"]])
    assert read_csv(tmp_path / "a.csv", HEADER) == [{"clip": str(cell), "note": "x"}]


@pytest.mark.parametrize("contents", ["", "note,clip\n", "clip,note,more\n", "\ufeffclip,note\n", "<<<<<<< HEAD\n"])
def test_csv_with_another_header_is_rejected(tmp_path, contents):
    (tmp_path / "a.csv").write_text(contents, encoding="utf-8")
    with pytest.raises(DataError) as error:
        read_csv(tmp_path / "a.csv", HEADER)
    got = contents.strip("\n")
    assert str(error.value) == f"{tmp_path}/a.csv: the header is '{got}', not 'clip,note'. Run `dvc repro` to recompute it."


@pytest.mark.parametrize(
    ("row", "problem"),
    [(b"a", "a row has more"), (b"a,b,c", "a row has more"), (b'"a', "a row has more"), (b"\xe9,1", "not valid UTF-8")],
)
def test_damaged_csv_is_rejected(tmp_path, row, problem):
    (tmp_path / "a.csv").write_bytes(b"clip,note\nx,y\n" + row + b"\n")
    with pytest.raises(DataError, match=rf"a\.csv is damaged: {problem}"):
        read_csv(tmp_path / "a.csv", HEADER)


def test_a_digest_depends_on_values_and_not_on_the_order_of_keys():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert len({digest(value) for value in ({"a": 1}, {"a": "1"}, {"a": 1.5}, {"a": None}, {"b": 1}, {"a": [1]})}) == 6
