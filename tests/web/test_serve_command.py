"""`serve`, as a person runs it."""

import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from served import ROOT, serving


def refused(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "actionrec", "serve", *map(str, arguments)], cwd=ROOT, text=True, capture_output=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_port_that_cannot_be_is_refused():
    assert refused("--port", 70000) == "error: --port must be from 0 to 65535; got 70000.\n"


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


def test_help_tells_of_it_without_loading_anything():
    script = "import sys, actionrec.commands.serve as it; assert not {'torch', 'fastapi', 'cv2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=Path(ROOT), check=True)
