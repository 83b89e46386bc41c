"""`serve`, as a person runs it."""

import json
import socket
import threading
import time

import httpx
import pytest
from commands import actionrec
from served import ROOT, serving

from actionrec.core.errors import DataError
from actionrec.web import server


def refused(*arguments):
    done = actionrec("serve", *arguments, cwd=ROOT)
    assert done.returncode == 2
    return done.stderr


@pytest.mark.parametrize("port", ["70000", "abc", "-1", "9" * 5000, "²"])
def test_a_port_that_cannot_be_is_refused(port):
    with pytest.raises(DataError) as caught:
        server.port_of(port, "PORT")
    assert str(caught.value) == f"PORT must be a whole number from 0 to 65535; got {port!r}."


def test_ports_from_the_first_to_the_last_are_taken():
    assert [server.port_of(text, "PORT") for text in ("0", "8501", "65535")] == [0, 8501, 65535]
    assert refused("--port", 70000) == "error: --port must be a whole number from 0 to 65535; got '70000'.\n"


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a..b", "x" * 70])
def test_a_host_that_cannot_be_is_refused(host):
    with pytest.raises(DataError, match=rf"^--host {host}: no such host\. "):
        server.listen(host, 0)


def test_an_empty_model_is_refused():
    assert refused("--model", "") == "error: --model is empty. Name a model, such as gru, or a bundle's folder.\n"


@pytest.mark.slow
def test_only_this_machine_reaches_it(models, clips):
    with serving("--model", models[0], "--model", models[1]) as address:
        assert address.startswith("http://127.0.0.1:")
        port = int(address.rsplit(":", 1)[1])
        told = httpx.get(f"{address}/models")
        assert "server" not in told.headers
        assert [one["model"] for one in told.json()["models"]] == ["gru", "simple_rnn"]
        with pytest.raises(ConnectionError), socket.create_connection((_own_address(), port), timeout=2):
            pass
        path = next(clips.glob("Bright/*"))
        with path.open("rb") as stream:
            told = httpx.post(f"{address}/predict", files={"video": stream}, data={"model": "simple_rnn"}, timeout=60)
        assert told.json()["label"] == "Bright"

        said = refused("--model", models[0], "--port", port)
        assert said == f"error: port {port} of 127.0.0.1 cannot be used (Address already in use). Choose another: --port.\n"


@pytest.mark.slow
@pytest.mark.parametrize("host", ["::1", "localhost", "127.0.0.2"])
def test_on_this_machine_alone_it_answers_to_this_machines_names(models, host):
    try:
        server.listen(host, 0).close()
    except DataError:
        pytest.skip(f"this machine has no {host}")
    with serving("--model", models[0], "--host", host) as address:
        assert httpx.get(f"{address}/models").status_code == 200
        assert httpx.get(f"{address}/models", headers={"host": "localhost"}).status_code == 200
        assert httpx.get(f"{address}/models", headers={"host": "evil.example"}).status_code == 400


@pytest.mark.slow
@pytest.mark.parametrize("headers", [{}, {"accept": "application/x-ndjson"}])
def test_ctrl_c_in_the_midst_of_a_film_ends_it_at_once_and_says_so(models, long_film, headers):
    told = []

    def send(address):
        with long_film.open("rb") as stream:
            files, fields = {"video": stream}, {"window": 0.5, "stride": 0.01}
            told.append(httpx.post(f"{address}/predict", files=files, data=fields, headers=headers, timeout=60))

    with serving("--model", models[0]) as address:  # which looks for tracebacks
        visitor = threading.Thread(target=send, args=[address])
        visitor.start()
        time.sleep(1)
        assert visitor.is_alive()
        start = time.monotonic()
    assert time.monotonic() - start < 15  # the film would take minutes
    visitor.join()
    assert told[0].status_code == (200 if headers else 503)
    assert json.loads(told[0].text.splitlines()[-1]) == {"error": "the server is stopping. Try again when it is back."}


def test_what_cannot_be_served_is_told_before_anybody_comes(models, tmp_path):
    assert refused("--model", tmp_path / "nix").startswith(f"error: {tmp_path}/nix: no such model.")
    assert refused("--model", models[0], "--host", "no.such.host.invalid").startswith("error: --host no.such.host.invalid: no such")
    bad = tmp_path / "bad"
    bad.mkdir()
    for file in models[0].iterdir():
        (bad / file.name).write_bytes(file.read_bytes())
    with (bad / "model.safetensors").open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\x01")
    assert "its SHA-256 differs" in refused("--model", bad)


def _own_address():
    """An address of this machine on a network, if it has one; else one of its own that is not 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
            return probe.getsockname()[0]
        except OSError:
            return "127.0.0.2"
