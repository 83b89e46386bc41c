"""A real server: in a process of its own, as `serve` starts it, or in a thread of this one."""

import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

from actionrec.web import server

ROOT = Path(__file__).parents[1]


@contextmanager
def serving(*arguments, folder=ROOT, script=None, environment=None):
    """Start `serve` on a free port, or another script, in a folder; yield its address, and end it as Ctrl-C does."""
    command = [sys.executable, *(script or ["-m", "actionrec", "serve", "--port", "0"]), *map(str, arguments)]
    environment = {"PYTHONPATH": str(ROOT), **os.environ, **(environment or {})}
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.match(r"(http://\S+) shows the page", line):
                yield found[1]
                break
        else:
            raise AssertionError("".join(said))
    finally:
        process.send_signal(2)
        said.append(process.stderr.read())
        status = process.wait(timeout=20)
        process.stderr.close()
    assert status == 0, "".join(said)
    assert "Traceback" not in "".join(said), "".join(said)


def local(port):
    """The address of a server on this machine."""
    return f"http://127.0.0.1:{port}"


@contextmanager
def running(app):
    """Serve an app in a thread of this process; yield its port, and a function that stops it."""
    with server.listen("127.0.0.1", 0) as listener:
        uvicorn_server = server.Server(app)
        thread = threading.Thread(target=uvicorn_server.run, kwargs={"sockets": [listener]})
        thread.start()

        def end():
            uvicorn_server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()

        try:
            yield listener.getsockname()[1], end
        finally:
            end()
