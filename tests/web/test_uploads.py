"""Uploads' folder, whatever becomes of servers and of folders."""

import subprocess
import sys

from served import ROOT

from actionrec.web.uploads import Uploads

HELD = (
    "import sys, tempfile; tempfile.tempdir = sys.argv[1]\n"
    "from actionrec.web.uploads import Uploads; uploads = Uploads()\n"
    "with uploads.draft('.avi') as path: path.write_bytes(b'x'); print(flush=True); sys.stdin.read()"
)


def test_what_a_killed_server_left_goes_and_what_is_in_use_stays(temporary):
    command = [sys.executable, "-c", HELD, temporary]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        Uploads().close()
        (left,) = temporary.rglob("*.avi")
        other.kill()
        other.wait()
        assert left.is_file()
        own = Uploads()
        assert list(temporary.iterdir()) == [own.folder]
        own.close()
    assert list(temporary.iterdir()) == []


def test_other_peoples_files_stay(temporary):
    (temporary / "actionrec-uploads-file").write_text("mine")
    (temporary / "elsewhere").mkdir()
    (temporary / "elsewhere/file").write_text("mine")
    (temporary / "actionrec-uploads-link").symlink_to(temporary / "elsewhere")
    Uploads().close()
    assert (temporary / "actionrec-uploads-file").is_file()
    assert (temporary / "elsewhere/file").is_file()


def test_a_folder_that_was_cleared_away_comes_back(temporary):
    uploads = Uploads()
    uploads.folder.rmdir()
    with uploads.draft(".avi") as path:
        path.write_bytes(b"x")
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not path.exists()
    uploads.close()
