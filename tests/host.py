"""A host on this machine that serves files as real ones do, and misbehaves as real ones do."""

import hashlib
import re
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Host:
    """Serves `files` (name -> contents) on 127.0.0.1, and notes what it was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Path, and the Range header, of each request."""
    break_after: list[int] = field(default_factory=list)
    """One request each: the connection ends after so many bytes of the body."""
    answers: list[int] = field(default_factory=list)
    """One request each: this status instead of the file."""
    knows_ranges: bool = True
    knows_validators: bool = True
    knows_length: bool = True
    content_type: str = "application/octet-stream"
    context: ssl.SSLContext | None = None

    def __post_init__(self):
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        if self.context:
            self.http.socket = self.context.wrap_socket(self.http.socket, server_side=True)
        self.url = f"http{'s' if self.context else ''}://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, host, *args):
        self.host = host
        super().__init__(*args)

    def do_GET(self):
        host, wanted = self.host, self.headers.get("Range")
        host.asked.append((self.path, wanted))
        if host.answers:
            self.send_error(host.answers.pop(0))
            return
        contents = host.files.get(self.path.lstrip("/"))
        if contents is None:
            self.send_error(404)
            return
        tag = f'"{hashlib.sha256(contents).hexdigest()[:16]}"'
        start = 0
        if wanted and host.knows_ranges and self.headers.get("If-Range") in (None, tag):
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(contents):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(contents) - 1}/{len(contents)}")
        self.send_header("Content-Type", host.content_type)
        if host.knows_length:
            self.send_header("Content-Length", str(len(contents) - start))
        if host.knows_validators:
            self.send_header("ETag", tag)
        self.end_headers()
        body = contents[start:]
        with suppress(ConnectionError):  # the client may have closed the connection
            self.wfile.write(body[: host.break_after.pop(0)] if host.break_after else body)

    def log_message(self, *_):
        pass
