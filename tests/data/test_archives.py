import stat
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
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
    """The message, after making sure that nothing was written."""
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


EVIL = {
    "../out.avi": "'../out.avi' is outside the folder",
    "Run/../../out.avi": "'Run/../../out.avi' is outside the folder",
    "/etc/out.avi": "'/etc/out.avi' is an absolute path",
    "C:/out.avi": "'C:/out.avi' is an absolute path",
}


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", EVIL)
def test_paths_outside_the_folder_are_rejected(write, name, tmp_path, folder):
    archive = write(tmp_path / "evil", {"Run/a.avi": b"a", name: b"evil"})
    assert refused(archive, folder) == (
        f"{archive} is not safe to unpack: {EVIL[name]}. Nothing was written. Get the archive from its own host."
    )
    assert not (tmp_path / "out.avi").exists()


@pytest.mark.parametrize("write", WRITERS)
def test_a_backslash_is_a_slash_too(write, tmp_path, folder):
    assert "is outside the folder" in refused(write(tmp_path / "evil", {"..\\out.avi": b"evil"}), folder)


@pytest.mark.parametrize("write", WRITERS)
def test_links_are_refused(write, tmp_path, folder):
    archive = write(tmp_path / "evil", {"Run": b"/etc", "Run2/a.avi": b"a"}, modes={"Run": 0o120777})
    assert "'Run' is a link" in refused(archive, folder)


@pytest.mark.parametrize("write", WRITERS)
def test_a_duplicate_name_is_rejected(write, tmp_path, folder):
    assert "'Run//a.avi' is a duplicate" in refused(write(tmp_path / "evil", {"Run/a.avi": b"a", "Run//a.avi": b"b"}), folder)


@pytest.mark.parametrize("write", WRITERS)
def test_a_path_that_is_a_file_and_a_folder_is_rejected(write, tmp_path, folder):
    assert "'Run' is both a file and a folder" in refused(write(tmp_path / "evil", {"Run": b"a", "Run/a.avi": b"b"}), folder)


def test_an_archive_that_declares_too_much_is_refused(tmp_path, folder):
    archive = write_rar(tmp_path / "bomb.rar", {f"{number}.avi": b"a" for number in range(200)}, claimed=2**32 - 1)
    assert "it declares 200 members of 858,993,459,000 bytes" in refused(archive, folder)


def test_an_archive_larger_than_the_disk_is_refused(tmp_path, folder, monkeypatch):
    archive = write_zip(tmp_path / "large.zip", FILES)
    monkeypatch.setattr(archives, "require_space", lambda where, wanted, what: refuse(where, wanted, what))

    def refuse(where, wanted, what):
        assert (where, wanted, what) == (folder, 100_001, "unpacking large.zip")
        raise DownloadError("no room")

    with pytest.raises(DownloadError, match="no room"):
        unpack(archive, folder)


def fake_tool(tmp_path, monkeypatch, script):
    """Have the only tool be a Python script that is given the folder."""
    (tmp_path / "fake").write_text(script)
    monkeypatch.setattr(archives, "RAR_TOOLS", {sys.executable: lambda _, into: [sys.executable, str(tmp_path / "fake"), into]})


def test_a_tool_that_writes_without_end_is_stopped(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(archives, "_SLACK_BYTES", 1_000_000)
    monkeypatch.setattr(archives, "_POLL_SECONDS", 0.05)
    endless = "import sys, itertools\nfor n in itertools.count(): open(f'{sys.argv[1]}/{n}', 'wb').write(bytes(100_000))"
    fake_tool(tmp_path, monkeypatch, endless)
    message = refused(write_rar(tmp_path / "bomb.rar", FILES), folder)
    assert "stopped: it wrote " in message
    assert "the archive declares 100,001" in message


def test_a_tool_cannot_write_a_larger_file_than_declared(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(archives, "_SLACK_BYTES", 1_000_000)
    monkeypatch.setattr(archives, "_POLL_SECONDS", 0.5)
    large = "import sys, time\ntime.sleep(0.3)\nopen(f'{sys.argv[1]}/x', 'wb').write(bytes(100_000_000))"
    fake_tool(tmp_path, monkeypatch, large)
    assert "File too large" in refused(write_rar(tmp_path / "bomb.rar", FILES), folder)


def test_a_link_made_by_a_tool_is_found(tmp_path, folder, monkeypatch):
    fake_tool(tmp_path, monkeypatch, "import os, sys\nos.symlink('/etc', f'{sys.argv[1]}/Run')")
    assert "'Run' is not in the archive's list" in refused(write_rar(tmp_path / "a.rar", {"Sit/a.avi": b""}), folder)


@needs_tool
def test_where_one_tool_fails_the_next_one_is_tried(tmp_path, folder, monkeypatch, caplog):
    broken = {sys.executable: lambda _, into: [sys.executable, "-c", f"open({into!r} + '/half', 'w')"]}
    monkeypatch.setattr(archives, "RAR_TOOLS", {**broken, **archives.RAR_TOOLS})
    unpack(write_rar(tmp_path / "a.rar", FILES), folder)
    assert set(files_of(folder)) == {"UCF50/Run/a.avi", "UCF50/Run/b c.avi", "UCF50/Sit/d.avi"}
    assert "'half' is not in the archive's list" in caplog.text


def test_without_a_tool_the_error_says_what_to_install(tmp_path, folder, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    message = refused(write_rar(tmp_path / "a.rar", FILES), folder)
    assert message == (
        f"{tmp_path}/a.rar is a RAR archive, and no program that unpacks it is installed. On Debian and Ubuntu: apt install unar "
        "libarchive-tools (each unpacks archives that the other cannot). On macOS: brew install unar. Elsewhere: unrar from RARLAB."
    )


@pytest.mark.parametrize("write", WRITERS)
def test_a_flipped_byte_is_found(write, tmp_path, folder):
    files = {"Run/a.avi": bytes(range(256)) * 40, "Run/b.avi": b"b" * 1000}
    archive = write(tmp_path / "a.archive", files)
    damaged = bytearray(archive.read_bytes())
    damaged[len(damaged) // 3] ^= 0x10
    archive.write_bytes(damaged)
    with pytest.raises(ArchiveError):
        unpack(archive, folder)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_an_archive_that_is_cut_off_is_rejected(write, share, tmp_path, folder):
    archive = write(tmp_path / "a.archive", {"Run/a.avi": bytes(range(256)) * 400, "Run/b.avi": b"b" * 1000})
    contents = archive.read_bytes()
    archive.write_bytes(contents[: int(share * len(contents))])
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


def test_a_killed_stage_leaves_no_tool_writing(tmp_path, monkeypatch):
    (tmp_path / "into").mkdir()
    write_rar(tmp_path / "a.rar", FILES)
    script = f"""
import sys
from pathlib import Path
from actionrec.data import archives
tool = [sys.executable, "-c", "import os, time; open({str(tmp_path / "pid")!r}, 'w').write(str(os.getpid())); time.sleep(60)"]
archives.RAR_TOOLS = {{sys.executable: lambda *_: tool}}
archives.unpack(Path({str(tmp_path / "a.rar")!r}), Path({str(tmp_path / "into")!r}))
"""
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()):
        time.sleep(0.01)
    process.kill()
    process.wait()
    tool = int((tmp_path / "pid").read_text())
    while time.monotonic() < deadline and Path(f"/proc/{tool}").exists() and "Z" not in Path(f"/proc/{tool}/stat").read_text():
        time.sleep(0.01)
    assert not Path(f"/proc/{tool}").exists() or "Z" in Path(f"/proc/{tool}/stat").read_text()
