"""Entry point of stages and commands: set up logging, and print errors that the user can fix without a traceback."""

import atexit
import errno
import gc
import logging
import sys
from collections.abc import Callable

from actionrec.core import process_lifetime
from actionrec.core.errors import ActionrecError
from actionrec.core.text import printable, printable_lines

BAD_INPUT = 2
INTERRUPTED = 130

# Refusals of the operating system that the user can fix.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_PERMISSION = {errno.EROFS, errno.EACCES, errno.EPERM}
_NO_SUCH_FILE = {errno.ENOENT, errno.EISDIR, errno.ENAMETOOLONG}
FIXABLE = _NO_ROOM | _NO_PERMISSION | _NO_SUCH_FILE


class _PrintableFormatter(logging.Formatter):
    """Escapes unprintable characters, since log messages quote names of clips and classes."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


def run(main: Callable[[], None], *, ends_with_dvc: bool = True) -> None:
    """Run `main`. Exit with status 2 and a message on stderr for errors that the user can fix, with 130 on Ctrl-C.

    Args:
        ends_with_dvc: True for a stage, which ends when DVC ends; False for a command, which may outlive its shell.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PrintableFormatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    if ends_with_dvc:
        process_lifetime.end_with_dvc()
    # The garbage collector does not look through what libraries have made so far, nor, when Python ends, through anything:
    # after torch and torchvision, each time would take it half a second.
    if not gc.isenabled():  # see `stages`
        gc.freeze()
        gc.enable()
    atexit.register(gc.freeze)
    try:
        main()
    except ActionrecError as error:
        sys.stderr.write(f"error: {printable_lines(error)}\n")
        sys.exit(BAD_INPUT)
    except OSError as error:
        if error.errno not in FIXABLE:
            raise
        where = f": {printable(str(error.filename))}" if error.filename else ""
        sys.stderr.write(f"error: {error.strerror}{where}. Fix this and rerun; finished work is kept.\n")
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; run `dvc repro` to continue\n" if ends_with_dvc else "interrupted\n")
        sys.exit(INTERRUPTED)
