"""The proxy configurations of docs/web.md, run by nginx and Caddy before a real server."""

import base64
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager, suppress

import httpx
import pytest
import trustme
from fastapi import Request
from fastapi.responses import StreamingResponse
from served import ROOT, running

pytestmark = pytest.mark.slow

TEXT = (ROOT / "docs/web.md").read_text()
HOST = "video.example.org"
USER = ("visitor", "secret")


def documented(kind):
    return re.search(rf"^```{kind}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)[1]


def replaced(text, *pairs):
    for old, new in pairs:
        assert old in text
        text = text.replace(old, str(new))
    return text


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@contextmanager
def program(*command, port):
    """Run a proxy; wait until it listens."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(200):
            assert process.poll() is None, process.stderr.read()
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.communicate(timeout=5)
        except subprocess.TimeoutExpired:  # Caddy waits for open connections
            process.kill()
            process.communicate()


@contextmanager
def nginx(folder, upstream):
    """Yield the port of nginx with the documented file."""
    port = free_port()
    hashed = subprocess.run(["openssl", "passwd", "-apr1", USER[1]], capture_output=True, text=True, check=True).stdout
    (folder / "passwords").write_text(f"{USER[0]}:{hashed}")
    server = replaced(
        documented("nginx"),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        (f"/etc/letsencrypt/live/{HOST}/fullchain.pem", folder / "chain.pem"),
        (f"/etc/letsencrypt/live/{HOST}/privkey.pem", folder / "key.pem"),
        ("/etc/nginx/actionrec.htpasswd", folder / "passwords"),
        ("http://127.0.0.1:8501", f"http://127.0.0.1:{upstream}"),
        ("client_header_timeout 10s", "client_header_timeout 1s"),
    )
    temporary = "".join(f"{kind}_temp_path {folder}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    user = "user root; " if os.geteuid() == 0 else ""  # else its workers cannot read the test's folder
    (folder / "nginx.conf").write_text(
        f"{user}daemon off; pid {folder}/pid; error_log stderr; events {{}} http {{ access_log off; {temporary}\n{server}}}\n"
    )
    with program("nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf"), port=port):
        yield port


@contextmanager
def caddy(folder, upstream):
    """Yield the port of Caddy with the documented file."""
    port = free_port()
    hashed = subprocess.run(["caddy", "hash-password", "--plaintext", USER[1]], capture_output=True, text=True, check=True).stdout
    server = replaced(
        documented("caddyfile"),
        ("{\n    servers {", "{\n    admin off\n    auto_https disable_redirects\n    servers {"),
        (f"{HOST} {{\n", f"https://{HOST}:{port} {{\n    bind 127.0.0.1\n    tls {folder}/chain.pem {folder}/key.pem\n"),
        (re.search(r"visitor (\S+)", documented("caddyfile"))[1], hashed.strip()),
        ("127.0.0.1:8501", f"127.0.0.1:{upstream}"),
        ("read_header 10s", "read_header 1s"),
    )
    (folder / "Caddyfile").write_text(server)
    with program("caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile"), port=port):
        yield port


@pytest.fixture(params=[nginx, caddy], ids=lambda proxy: proxy.__name__)
def proxied(request, make_app, tmp_path):
    """A client of a proxy before a server that also has the addresses /count and /drip; what they have seen and wait for."""
    name = request.param.__name__
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed; on Debian: apt install {name}")
    authority = trustme.CA()
    certificate = authority.issue_cert(HOST)
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    for one in certificate.cert_chain_pems:
        one.write_to_path(tmp_path / "chain.pem", append=True)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)

    app, received, go_on = make_app(), threading.Event(), threading.Event()

    async def count(request: Request):
        total = 0
        async for piece in request.stream():
            total += len(piece)
            if piece:
                received.set()
        return total

    def drip():
        yield "first\n"
        assert go_on.wait(30)
        yield "second\n"

    app.add_api_route("/count", count, methods=["POST"])
    app.add_api_route("/drip", lambda: StreamingResponse(drip()))
    with running(app) as (upstream, _), request.param(tmp_path, upstream) as port:
        address = f"https://127.0.0.1:{port}"
        with httpx.Client(verify=trust, base_url=address, auth=USER, headers={"host": HOST}, timeout=30) as client:
            client.event_hooks = {"request": [lambda one: one.extensions.update(sni_hostname=HOST)]}
            yield client, received, go_on


def test_a_proxy_asks_for_the_password_and_passes_all_on_at_once(proxied, clips):
    client, received, go_on = proxied
    assert client.get("/models", auth=("visitor", "wrong")).status_code == 401
    with next(clips.glob("Dark/*")).open("rb") as video:
        answered = client.post("/predict", files={"video": video})
    assert (answered.status_code, answered.json()["label"]) == (200, "Dark")

    def pieces():
        yield b"x" * 1000
        assert received.wait(30)  # the server has a piece while the upload goes on
        yield b"x" * 1000

    assert client.post("/count", content=pieces(), headers={"content-length": "2000"}).json() == 2000
    with client.stream("GET", "/drip") as answered:
        lines = answered.iter_lines()
        assert next(lines) == "first"
        go_on.set()  # the server goes on only now that the client has the first line
        assert next(lines) == "second"


@contextmanager
def connection(client):
    """A connection to the proxy, as a socket."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", client.base_url.port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname=HOST) as secure,
    ):
        yield secure


def test_a_large_upload_is_refused_when_it_starts(proxied):
    client, *_ = proxied
    password = base64.b64encode(":".join(USER).encode()).decode()
    header = f"POST /predict HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Basic {password}\r\nContent-Length: 300000000\r\n\r\n"
    with connection(client) as opened:
        opened.sendall(header.encode())
        received, sent = b"", 0
        while b'"}' not in received:
            opened.settimeout(0.05)
            with suppress(TimeoutError):
                piece = opened.recv(65536)
                assert piece, received
                received += piece
                continue
            opened.settimeout(30)
            opened.sendall(bytes(100_000))  # Caddy reads some of the upload before it answers
            sent += 100_000
    assert received.startswith(b"HTTP/1.1 413 ")
    assert b'{"error":"the upload is larger than 200 MB. Send a shorter piece."}' in received.replace(b": ", b":")
    assert sent < 10_000_000


def test_a_proxy_closes_connections_without_a_complete_header(proxied):
    client, *_ = proxied
    with connection(client) as slow:
        slow.sendall(b"GET /models HTTP/1.1\r\nHost: video")
        received = b"".join(iter(lambda: slow.recv(4096), b""))  # until the proxy closes the connection
    assert b" 200 " not in received
