import shutil
import subprocess

import pytest
from damaged import flip

from actionrec.core.errors import DataError
from actionrec.io import checksums


@pytest.fixture
def folder(tmp_path):
    """Three files and their checksums."""
    for name in ("a.tar", "b.tar", "frames.json"):
        (tmp_path / name).write_text(f"contents of {name}")
    checksums.write(tmp_path, {})
    return tmp_path


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="sha256sum is not installed")
def test_the_file_is_in_the_format_of_sha256sum(folder):
    subprocess.run(["sha256sum", "--check", "--strict", checksums.FILE], cwd=folder, check=True, capture_output=True)


def test_a_flipped_byte_is_an_error_that_says_how_to_repair_it(folder):
    flip(folder / "b.tar")
    assert checksums.verify(folder, ["a.tar"])
    with pytest.raises(DataError) as error:
        checksums.verify(folder, ["a.tar", "b.tar"])
    assert str(error.value) == (
        f"{folder}: 1 of 2 files are damaged, as their contents do not match SHA256SUMS: b.tar. Run `python -m actionrec repair`."
    )


def test_a_byte_that_flips_after_the_file_was_read_is_noticed(folder):
    checksums.verify(folder, ["a.tar"])
    flip(folder / "a.tar", keep_time=True)
    with pytest.raises(DataError, match=r"do not match SHA256SUMS: a\.tar"):
        checksums.verify(folder, ["a.tar"])


def test_a_file_is_read_once_a_process(folder, monkeypatch):
    read = []
    monkeypatch.setattr(checksums, "sha256_of", lambda path: read.append(path) or "0" * 64)
    for _ in range(3):
        with pytest.raises(DataError):
            checksums.verify(folder, ["a.tar"])
    assert read == [folder / "a.tar"]


def test_a_file_that_the_list_does_not_name_is_refused(folder):
    (folder / "c.tar").write_text("of another run")
    with pytest.raises(DataError, match=r"do not match SHA256SUMS: c\.tar"):
        checksums.verify(folder, ["a.tar", "b.tar", "c.tar"])


def test_a_file_that_is_gone_is_missed(folder):
    checksums.refuse_missing(folder, ".tar", ["a.tar", "b.tar"])
    with pytest.raises(DataError, match=r"1 files are missing: b\.tar\. Run `python -m actionrec repair`"):
        checksums.refuse_missing(folder, ".tar", ["a.tar"])


@pytest.mark.parametrize("contents", [b"abc\n", b"\xff\xfe", b"0" * 64 + b" a.tar\n"])
def test_a_damaged_list_is_an_error(folder, contents):
    (folder / checksums.FILE).write_bytes(contents)
    with pytest.raises(DataError, match=r"SHA256SUMS: the file is damaged; expected .+ Run `python -m actionrec repair`"):
        checksums.verify(folder, ["a.tar"])


def test_a_folder_of_an_earlier_version_is_read_with_a_warning_once(folder, caplog):
    (folder / checksums.FILE).unlink()
    for _ in range(2):
        assert checksums.verify(folder, ["a.tar"]) == {"a.tar": checksums.sha256_of(folder / "a.tar")}
    checksums.refuse_missing(folder, ".tar", [])
    assert [record.message for record in caplog.records] == [
        f"{folder} has no SHA256SUMS, so its contents are not verified. `dvc repro` writes one."
    ]


def test_known_checksums_are_not_computed_again(tmp_path):
    (tmp_path / "a.tar").write_text("a")
    checksums.write(tmp_path, {"a.tar": "1" * 64})
    assert checksums.read(tmp_path) == {"a.tar": "1" * 64}
