"""Slow uploads, a full queue and the server's stop: with a real server in a thread of this process."""

import asyncio
import socket
import threading
import time
from contextlib import contextmanager, suppress

import httpx
import pytest
from served import running

from actionrec.web import predict_routes
from actionrec.web.fair_queue import FairQueue
from actionrec.web.predict_request import Limits, RequestError

START = (
    b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 100000\r\n\r\n"
)


@contextmanager
def slow_senders(port, count):
    """Connections that start an upload and then stall."""
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


def ask_until(port, status):
    """Ask again and again until the answer has a status: the server needs a moment to see that others came or went."""
    end = time.monotonic() + 20
    while (answer := ask(port)).status_code != status:
        assert time.monotonic() < end, answer.text
        time.sleep(0.02)
    return answer


def test_slow_uploads_do_not_block_other_requests(make_app):
    with running(make_app(waiting=2)) as (port, _), slow_senders(port, 8):
        time.sleep(0.2)
        assert ask(port).status_code == 200


def test_uploads_beyond_the_limit_are_refused_until_places_are_free(make_app):
    with running(make_app(sending=3)) as (port, _):
        with slow_senders(port, 3):
            told = ask_until(port, 503)
            assert told.json() == {"error": "3 uploads are already in progress. Try again in a few seconds."}
            assert int(told.headers["retry-after"]) > 0
        ask_until(port, 200)


def test_a_stalled_upload_is_refused(make_app, temporary):
    with running(make_app(silence=0.3)) as (port, _):
        start = time.monotonic()
        with slow_senders(port, 1) as (one,):
            told = b"".join(iter(lambda: one.recv(4096), b""))  # until the server closes the connection
        assert 0.3 < time.monotonic() - start < 3
        assert told.startswith(b"HTTP/1.1 408 ")
        assert b"the upload stalled or was too slow." in told


def test_an_upload_below_the_minimum_speed_is_refused(make_app):
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


def test_a_slow_but_steady_upload_is_answered(make_app, clips):
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


@pytest.mark.parametrize("headers", [{}, {"accept": predict_routes.LINES}])
def test_waiting_requests_fail_with_a_message_when_the_server_stops(make_app, long_film, temporary, caplog, headers):
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
    message = "the server is stopping. Try again when it is back."
    for one in told:
        assert (one.status_code, "retry-after" in one.headers) == ((200, False) if headers else (503, True))
        assert one.text.splitlines()[-1].replace(" ", "") == f'{{"error":"{message}"}}'.replace(" ", "")
    assert len(told) == 2
    assert "Traceback" not in caplog.text
    assert list(temporary.rglob("*")) == []


def test_a_stopped_queue_refuses_new_work():
    queue = FairQueue(Limits())
    queue.end()
    with pytest.raises(RequestError, match="the server is stopping"):
        asyncio.run(queue.run(int))
