"""Who sends slowly, who comes when it is full, and the end of the server: with a real server in a thread of this process."""

import socket
import threading
import time
from contextlib import contextmanager, suppress

import httpx
import pytest

from actionrec.web import app as web_app
from actionrec.web import server

START = (
    b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 100000\r\n\r\n"
)


@contextmanager
def running(app):
    """Serve an app; yield its port, the server, and what ends it."""
    with server.listen("127.0.0.1", 0) as door:
        config = server.uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3)
        made = server.Server(config, app.state.turns)
        thread = threading.Thread(target=made.run, kwargs={"sockets": [door]})
        thread.start()

        def end():
            made.should_exit = True
            thread.join(20)
            assert not thread.is_alive()

        try:
            yield door.getsockname()[1], end
        finally:
            end()


@contextmanager
def slow_senders(port, count):
    """Connections that begin an upload and go on no further."""
    made = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(count)]
    try:
        for one in made:
            one.sendall(START)
        yield made
    finally:
        for one in made:
            one.close()


def ask(port, **fields):
    return httpx.post(f"http://127.0.0.1:{port}/predict", data={"sample": 0, **fields}, timeout=60)


def test_slow_senders_shut_nobody_out(make_app):
    with running(make_app(waiting=2)) as (port, _), slow_senders(port, 8):
        time.sleep(0.2)
        assert ask(port).status_code == 200


def test_more_uploads_than_may_be_on_their_way_are_turned_away_and_their_places_come_free(make_app):
    with running(make_app(sending=3)) as (port, _):
        with slow_senders(port, 3):
            time.sleep(0.2)
            told = ask(port)
            assert told.status_code == 503
            assert told.json() == {"error": "3 uploads are on their way already. Try again in a minute."}
        time.sleep(0.2)
        assert ask(port).status_code == 200


def test_who_sends_nothing_is_sent_away(make_app, temporary):
    with running(make_app(silence=0.3)) as (port, _), slow_senders(port, 1) as (one,):
        start = time.monotonic()
        told = b"".join(iter(lambda: one.recv(4096), b""))  # until the server closes the connection
        assert 0.2 < time.monotonic() - start < 3
        assert told.startswith(b"HTTP/1.1 408 ")
        assert b"the upload stood still, or was too slow." in told


def test_who_sends_a_little_now_and_then_is_sent_away(make_app):
    with running(make_app(silence=0.4, bytes_per_second=1000)) as (port, _), slow_senders(port, 1) as (one,):
        one.sendall(b'--x\r\nContent-Disposition: form-data; name="video"; filename="a.avi"\r\n\r\n')
        one.settimeout(0.1)
        start = time.monotonic()
        told = b""
        while not told and time.monotonic() - start < 5:
            one.sendall(b"a")
            with suppress(TimeoutError):
                told = one.recv(4096)
        assert time.monotonic() - start < 3
        assert told.startswith(b"HTTP/1.1 408 ")


def test_who_sends_steadily_is_heard_to_the_end(make_app, clips):
    contents = next(clips.glob("Dark/*")).read_bytes()
    request = httpx.Request("POST", "http://localhost/predict", files={"video": ("a.avi", contents)})
    body = request.read()
    with running(make_app(silence=0.4, bytes_per_second=1000)) as (port, _):

        def pieces():
            for place in range(0, len(body), -(-len(body) // 10)):
                yield body[place : place - (-len(body) // 10)]
                time.sleep(0.15)  # 1.5 s in all

        headers = {"content-type": request.headers["content-type"]}
        told = httpx.post(f"http://127.0.0.1:{port}/predict", content=pieces(), headers=headers, timeout=60)
        assert (told.status_code, told.json()["label"]) == (200, "Dark")


@pytest.mark.parametrize("headers", [{}, {"accept": web_app.LINES}])
def test_the_end_of_the_server_is_told_to_those_who_wait(make_app, long_film, temporary, caplog, headers):
    told = []

    def send(port):
        files = {"video": ("long.avi", long_film.read_bytes())}
        told.append(httpx.post(f"http://127.0.0.1:{port}/predict", files=files, headers=headers, timeout=60,
                               data={"window": "0.5", "stride": "0.01"}))  # fmt: skip

    with running(make_app()) as (port, end), slow_senders(port, 1):
        visitors = [threading.Thread(target=send, args=[port]) for _ in range(2)]
        for one in visitors:
            one.start()
        while sum(path.is_file() for path in temporary.rglob("*")) < 2:
            time.sleep(0.01)
        start = time.monotonic()
        end()
        assert time.monotonic() - start < 2
        for one in visitors:
            one.join(10)
    message = "the server is ending. Try again when it is back."
    for one in told:
        assert one.status_code == (200 if headers else 503)
        assert one.text.splitlines()[-1].replace(" ", "") == f'{{"error":"{message}"}}'.replace(" ", "")
    assert len(told) == 2
    assert "Traceback" not in caplog.text
    assert list(temporary.rglob("*")) == []
