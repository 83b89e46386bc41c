"""Time limits for slow clients, and the limit of connections: with a real server in a thread of this process."""

import asyncio
import socket
import threading
import time
from contextlib import ExitStack

import httpx
import pytest
from fastapi.responses import StreamingResponse
from served import running

HALF = b"GET /samples HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
WHOLE = b"GET /samples HTTP/1.1\r\nHost: localhost\r\n\r\n"
WITH_BODY = b"GET /samples HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"


def connect(port, sent=b""):
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(sent)
    return connection


def trickle(connection):
    """Send byte after byte until the server closes the connection; return what it answered before."""
    answered = b""
    connection.settimeout(0.05)
    while True:
        try:
            connection.sendall(b"x")
            received = connection.recv(65536)
        except TimeoutError:
            continue
        except OSError:
            return answered
        if not received:
            return answered
        answered += received


def ask(port):
    return httpx.get(f"http://127.0.0.1:{port}/samples", timeout=30).status_code


@pytest.mark.parametrize("sent", [b"", HALF, WHOLE + HALF], ids=["nothing", "half a header", "half of the second header"])
def test_a_connection_without_a_complete_header_is_closed_while_others_are_served(make_app, sent):
    with running(make_app(silence=0.5)) as (port, _), connect(port, sent) as slow:
        assert ask(port) == 200
        received = b"".join(iter(lambda: slow.recv(65536), b""))  # until the server closes the connection
        assert received.count(b"HTTP/1.1 200 OK") == sent.count(b"\r\n\r\n")
        assert ask(port) == 200


@pytest.mark.parametrize(("sent", "answers"), [(HALF, 0), (WHOLE + HALF, 1), (WITH_BODY, 1)])
def test_single_bytes_do_not_keep_a_connection_open(make_app, sent, answers):
    with running(make_app(silence=0.5)) as (port, _), connect(port, sent) as slow:
        assert trickle(slow).count(b"HTTP/1.1 200 OK") == answers


def test_a_client_that_does_not_read_its_answer_is_disconnected(make_app):
    app, ended = make_app(silence=0.5), threading.Event()

    async def endless():
        try:
            while True:
                yield bytes(100_000)
                await asyncio.sleep(0)  # where a client that left is noticed
        finally:
            ended.set()

    app.add_api_route("/endless", lambda: StreamingResponse(endless()))
    with running(app) as (port, _), connect(port, WHOLE.replace(b"/samples", b"/endless")):
        assert ended.wait(30)


def test_an_answer_that_takes_longer_than_a_client_may_is_sent(make_app):
    app = make_app(silence=0.2)
    app.add_api_route("/slow", lambda: time.sleep(0.6))
    with running(app) as (port, _):
        assert httpx.get(f"http://127.0.0.1:{port}/slow", timeout=30).status_code == 200


def test_beyond_the_limit_the_connection_that_waited_longest_is_closed(make_app):
    with running(make_app(connections=4)) as (port, _), ExitStack() as opened:
        first, *others = [opened.enter_context(connect(port, HALF)) for _ in range(4)]
        assert ask(port) == 200
        assert first.recv(1) == b""
        for one in others:
            one.sendall(b"no longer\r\n\r\n")
            assert one.recv(15) == b"HTTP/1.1 200 OK"
