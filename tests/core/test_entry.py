import errno
import os
import signal
import subprocess
import sys
import textwrap

import pytest

PREAMBLE = """
import errno, os, sys, time
from pathlib import Path
from actionrec.core import entry
from actionrec.core.errors import DataError, VideoError
"""


def run(body, **options):
    """Run a program whose main has this body, as a stage is run."""
    code = f"{PREAMBLE}\ndef main():\n{textwrap.indent(textwrap.dedent(body), '    ')}\nentry.run(main)\n"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60, **options)


def test_work_that_ends_well_leaves_with_0_and_logs_plain_lines():
    done = run("import logging; logging.getLogger('actionrec').info('12 clips')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "12 clips\n")


@pytest.mark.parametrize("kind", ["DataError", "VideoError"])
def test_what_a_person_can_mend_is_one_message_and_status_2(kind):
    done = run(f"raise {kind}('a.avi: is missing.\\nFetch it.')")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "error: a.avi: is missing.\nFetch it.\n")


def test_a_defect_keeps_its_traceback():
    done = run("{}['key']")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "KeyError: 'key'" in done.stderr


def test_a_full_disk_is_told_without_a_traceback():
    done = run("raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'data/frames/shard-0001.tar')")
    assert done.returncode == 2
    assert done.stderr == (
        "error: No space left on device: data/frames/shard-0001.tar. Fix this and rerun; finished work is kept.\n"
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
def test_a_really_full_disk_is_told_without_a_traceback():
    done = run("with open('/dev/full', 'w') as stream: stream.write('x' * 100_000)")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: No space left on device. Fix this")


def test_a_missing_file_is_told_with_its_name():
    done = run("Path('/no/such/file').read_bytes()")
    assert done.returncode == 2
    assert done.stderr == "error: No such file or directory: /no/such/file. Fix this and rerun; finished work is kept.\n"


@pytest.mark.parametrize("code", [errno.EBADF, errno.EINVAL])
def test_what_the_machine_refuses_for_a_defect_s_sake_keeps_its_traceback(code):
    done = run(f"raise OSError({code}, os.strerror({code}))")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_ctrl_c_leaves_with_130_and_no_traceback():
    done = run(f"os.kill(os.getpid(), {int(signal.SIGINT)}); time.sleep(30)")
    assert (done.returncode, done.stderr) == (130, "interrupted; run `dvc repro` to continue\n")


def test_a_message_in_any_script_can_be_told_on_a_terminal_that_has_none():
    done = run("raise DataError('видео \\u2028 é')", env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
