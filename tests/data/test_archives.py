import shutil
import stat
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from processes import ends
from rar import write_rar

from actionrec.data import archives
from actionrec.data.archives import ArchiveError, unpack
from actionrec.data.download import DownloadError

FILES = {"UCF50/": b"", "UCF50/Run/": b"", "UCF50/Run/a.avi": b"a" * 100_000, "UCF50/Run/b c.avi": b"b", "UCF50/Sit/d.avi": b""}
INSTALLED = archives.installed()
needs_tool = pytest.mark.skipif(not INSTALLED, reason=f"no program that unpacks RAR is installed. {archives.INSTALL}")


def write_zip(path: Path, files, *, modes=None):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, contents in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (modes or {}).get(name, 0o100644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, contents)
    return path


WRITERS = [pytest.param(write_rar, marks=needs_tool, id="rar"), pytest.param(write_zip, id="zip")]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "into").mkdir()
    return tmp_path / "into"


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(archive, folder):
    """Check that an archive is rejected and that nothing is written; return the message."""
    with pytest.raises(ArchiveError) as caught:
        unpack(archive, folder)
    assert list(folder.iterdir()) == []
    return str(caught.value)


@pytest.mark.parametrize("write", WRITERS)
def test_an_archive_gives_back_its_files(write, tmp_path, folder):
    unpack(write(tmp_path / "a.archive", FILES), folder)
    assert files_of(folder) == {name: contents for name, contents in FILES.items() if not name.endswith("/")}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*.avi")} == {0o644}


@pytest.mark.parametrize("tool", archives.RAR_TOOLS)
def test_each_tool_unpacks_rar(tool, tmp_path, folder, monkeypatch):
    if tool not in INSTALLED:
        pytest.skip(f"{tool} is not installed")
    monkeypatch.setattr(archives, "RAR_TOOLS", {tool: archives.RAR_TOOLS[tool]})
    unpack(write_rar(tmp_path / "-odd name.rar", FILES), folder)
    assert files_of(folder)["UCF50/Run/b c.avi"] == b"b"


UNSAFE = {
    "../out.avi": "'../out.avi' is outside the folder",
    "Run/../../out.avi": "'Run/../../out.avi' is outside the folder",
    "..\\out.avi": "out.avi' is outside the folder",
    "/etc/out.avi": "'/etc/out.avi' is an absolute path",
    "C:/out.avi": "'C:/out.avi' is an absolute path",
    "Link": "'Link' is a link",
    "Run//a.avi": "'Run//a.avi' is a duplicate",
    "Run": "'Run' is both a file and a folder",
}


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", UNSAFE)
def test_an_unsafe_archive_is_rejected(write, name, tmp_path, folder):
    archive = write(tmp_path / "evil", {"Run/a.avi": b"a", name: b"evil"}, modes={"Link": 0o120777})
    message = refused(archive, folder)
    assert message.startswith(f"{archive} is not safe to unpack: ")
    assert message.endswith(f"{UNSAFE[name]}. Nothing was written. Get the archive from its own host.")
    assert not (tmp_path / "out.avi").exists()


def test_an_archive_that_declares_too_much_is_refused(tmp_path, folder):
    archive = write_rar(tmp_path / "bomb.rar", {f"{number}.avi": b"a" for number in range(200)}, claimed=2**32 - 1)
    assert "it declares 200 members of 858,993,459,000 bytes" in refused(archive, folder)


def test_an_archive_larger_than_the_disk_is_rejected(tmp_path, folder, monkeypatch):
    archive = write_zip(tmp_path / "large.zip", FILES)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100_000))
    with pytest.raises(DownloadError, match=r"^unpacking large\.zip takes 0\.0 GB"):
        unpack(archive, folder)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("import itertools\nfor n in itertools.count(): open(f'{folder}/{n}', 'wb').write(bytes(100_000))", "stopped: it wrote "),
        ("import time; time.sleep(0.2)\nopen(f'{folder}/x', 'wb').write(bytes(100_000_000))", "File too large"),
        ("import os; os.symlink('/etc', f'{folder}/Run')", "'Run' is not in the archive's list"),
    ],
    ids=["too many files", "too large a file", "a link"],
)
def test_a_tool_that_writes_more_than_the_archive_declares_is_stopped(script, message, tmp_path, folder, monkeypatch):
    monkeypatch.setattr(archives, "_SLACK_BYTES", 1_000_000)
    monkeypatch.setattr(archives, "_POLL_SECONDS", 0.05)
    (tmp_path / "tool").write_text(f"import sys\nfolder = sys.argv[1]\n{script}")
    monkeypatch.setattr(archives, "RAR_TOOLS", {sys.executable: lambda _, into: [sys.executable, str(tmp_path / "tool"), into]})
    assert message in refused(write_rar(tmp_path / "a.rar", {"Sit/a.avi": b"a"}), folder)


@needs_tool
def test_where_one_tool_fails_the_next_one_is_tried(tmp_path, folder, monkeypatch, caplog):
    broken = {sys.executable: lambda _, into: [sys.executable, "-c", f"open({into!r} + '/half', 'w')"]}
    monkeypatch.setattr(archives, "RAR_TOOLS", {**broken, **archives.RAR_TOOLS})
    unpack(write_rar(tmp_path / "a.rar", FILES), folder)
    assert set(files_of(folder)) == {"UCF50/Run/a.avi", "UCF50/Run/b c.avi", "UCF50/Sit/d.avi"}
    assert "'half' is not in the archive's list" in caplog.text


def flipped(contents):
    place = len(contents) // 3
    return contents[:place] + bytes([contents[place] ^ 0x10]) + contents[place + 1 :]


CUTS = [lambda contents, share=share: contents[: int(share * len(contents))] for share in (0.02, 0.5, 0.99)]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("damage", [flipped, *CUTS])
def test_a_damaged_archive_is_rejected(write, damage, tmp_path, folder):
    archive = write(tmp_path / "a.archive", {"Run/a.avi": bytes(range(256)) * 400, "Run/b.avi": b"b" * 1000})
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(ArchiveError):
        unpack(archive, folder)


@needs_tool
def test_a_wrong_checksum_is_found(tmp_path, folder):
    message = refused(write_rar(tmp_path / "a.rar", {"Run/a.avi": b"abc"}, crc32=1), folder)
    assert "Install another program that unpacks RAR, or remove the archive and rerun to download it again." in message


def test_an_error_page_in_place_of_an_archive_is_recognised(tmp_path, folder):
    (tmp_path / "a.rar").write_bytes(b"<!DOCTYPE html><html>")
    assert "neither a RAR nor a ZIP archive; it starts with b'<!DOCTYPE html><'." in refused(tmp_path / "a.rar", folder)


def test_an_encrypted_zip_is_refused(tmp_path, folder):
    archive = write_zip(tmp_path / "a.zip", {"a.avi": b"a"})
    contents = bytearray(archive.read_bytes())
    central = contents.index(b"PK\x01\x02")
    struct.pack_into("<H", contents, central + 8, 1)
    archive.write_bytes(contents)
    assert "'a.avi' is encrypted" in refused(archive, folder)


@needs_tool
def test_folders_that_nobody_may_enter_become_accessible(tmp_path, folder):
    archive = write_rar(tmp_path / "a.rar", {"Run/": b"", "Run/a.avi": b"a"}, modes={"Run/": 0o040000})
    unpack(archive, folder)
    assert stat.S_IMODE((folder / "Run").stat().st_mode) == 0o755


def test_a_killed_stage_leaves_no_tool_running(tmp_path, folder):
    archive, number = write_rar(tmp_path / "a.rar", FILES), tmp_path / "pid"
    script = f"""
import sys
from pathlib import Path
from actionrec.data import archives
tool = [sys.executable, "-c", "import os, time; open({str(number)!r}, 'w').write(str(os.getpid())); time.sleep(60)"]
archives.RAR_TOOLS = {{sys.executable: lambda *_: tool}}
archives.unpack(Path({str(archive)!r}), Path({str(folder)!r}))
"""
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (number.exists() and number.read_text()):
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert ends(int(number.read_text()))
