import hashlib
import re
import socket
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
import torchvision
from torchvision.models import Weights, WeightsEnum

from actionrec import hub
from actionrec.backbones import FeatureSettings, create_backbone
from actionrec.errors import WeightsError

BACKBONE = "shufflenet_v2_x0_5"  # 5 MB
CONTENTS = b"some weights"


class Handler(BaseHTTPRequestHandler):
    def __init__(self, *args, files, asked):
        self.files, self.asked = files, asked
        super().__init__(*args)

    def do_GET(self):
        self.asked.append(self.path)
        contents = self.files.get(self.path.removeprefix("/"))
        if contents is None:
            self.send_error(404)
        elif contents == b"gibberish":
            self.wfile.write(b"gibberish\r\n\r\n")
        else:
            claimed = len(contents) + (1000 if "short" in self.path else 0)
            self.send_response(200)
            self.send_header("Content-Length", str(claimed))
            self.end_headers()
            self.wfile.write(contents)

    def log_message(self, *_):
        pass


class Server:
    """Serves `files` (name -> contents) on 127.0.0.1, and notes what was asked for."""

    def __init__(self):
        self.files, self.asked = {}, []
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, files=self.files, asked=self.asked))
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder that downloads go to."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "torch/hub/checkpoints"


@pytest.fixture
def publish(server, monkeypatch):
    """Have torchvision's weights IMAGENET1K_V1 be a file of the local server."""

    def publish(name, contents=None, url=server.url):
        if contents is not None:
            server.files[name] = contents
        members = {"IMAGENET1K_V1": Weights(url=f"{url}/{name}", transforms=None, meta={})}
        known = WeightsEnum("Known", members)
        monkeypatch.setattr(torchvision.models, "get_model_weights", lambda backbone: known)

    return publish


def named(contents, start="some"):
    return f"{start}-{hashlib.sha256(contents).hexdigest()[:8]}.pth"


def test_weights_are_downloaded_once_into_torchs_cache(server, cache, publish):
    name = named(CONTENTS)
    publish(name, CONTENTS)
    assert hub.weights_file(BACKBONE, "IMAGENET1K_V1") == cache / name
    assert (cache / name).read_bytes() == CONTENTS
    assert hub.weights_file(BACKBONE, "IMAGENET1K_V1") == cache / name
    assert server.asked == [f"/{name}"]


def test_a_file_that_is_there_needs_no_network(server, cache, publish):
    name = named(CONTENTS)
    publish(name)
    cache.mkdir(parents=True)
    (cache / name).write_bytes(CONTENTS)
    assert hub.weights_file(BACKBONE, "IMAGENET1K_V1") == cache / name
    assert server.asked == []


def refused(cache, url):
    with pytest.raises(WeightsError) as caught:
        hub.weights_file(BACKBONE, "IMAGENET1K_V1")
    name = url.rsplit("/", 1)[-1]
    assert str(caught.value).startswith(f"{url} cannot be downloaded (")
    assert str(caught.value).endswith(
        f"). On a machine with network, fetch that file and put it at {cache / name}; or set features.weights to its path."
    )
    assert list(cache.iterdir()) == []  # nothing is left behind
    return str(caught.value)


def test_a_download_with_another_hash_is_refused(server, cache, publish):
    publish("some-0123abcd.pth", CONTENTS)
    assert "invalid hash value" in refused(cache, f"{server.url}/some-0123abcd.pth")


def test_a_download_that_breaks_off_is_refused(server, cache, publish):
    whole = CONTENTS + b" and the rest"
    name = named(whole, start="short")
    publish(name, CONTENTS)
    refused(cache, f"{server.url}/{name}")


def test_a_file_that_the_host_lacks_is_refused(server, cache, publish):
    publish("some-0123abcd.pth")
    assert "404" in refused(cache, f"{server.url}/some-0123abcd.pth")


def test_a_host_that_does_not_speak_http_is_refused(server, cache, publish):
    publish("some-0123abcd.pth", b"gibberish")
    refused(cache, f"{server.url}/some-0123abcd.pth")


def test_offline_the_error_says_which_file_to_put_where(cache, publish):
    with socket.socket() as nobody:  # bound, but listening to no one
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        publish("some-0123abcd.pth", url=url)
        refused(cache, f"{url}/some-0123abcd.pth")


def test_a_damaged_file_in_the_cache_is_refused(cache, publish):
    name = named(CONTENTS)
    publish(name)
    cache.mkdir(parents=True)
    (cache / name).write_bytes(CONTENTS[:-1])
    with pytest.raises(WeightsError) as caught:
        hub.weights_file(BACKBONE, "IMAGENET1K_V1")
    digest = name.removeprefix("some-").removesuffix(".pth")
    assert str(caught.value) == (
        f"{cache / name} is damaged: its SHA-256 does not start with {digest}. Remove it, to download it again."
    )


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(WeightsError) as caught:
        hub.weights_file("resnet50", "IMAGENET1K_V3")
    assert str(caught.value) == (
        "features.weights: resnet50 has no weights 'IMAGENET1K_V3'; "
        "wanted one of random, IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT, or a path."
    )


def test_the_studys_resnet50_is_the_one_that_is_fetched():
    assert torchvision.models.get_model_weights("resnet50")["IMAGENET1K_V1"].url.endswith("/resnet50-0676ba61.pth")


def test_every_file_that_torchvision_publishes_has_its_hash_in_its_name():
    names = torchvision.models.list_models(module=torchvision.models)
    files = {member.url.rsplit("/", 1)[-1] for name in names for member in torchvision.models.get_model_weights(name)}
    assert len(files) > 80
    assert [file for file in files if not re.search(r"-[0-9a-f]{8,}\.pth$", file)] == []


def test_a_backbone_gets_its_published_weights(server, cache, publish, tmp_path):
    torch.manual_seed(5)
    network = torchvision.models.get_model(BACKBONE, weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "published")
    contents = (tmp_path / "published").read_bytes()
    publish(named(contents), contents)
    backbone = create_backbone(FeatureSettings(BACKBONE, "IMAGENET1K_V1", "fp32"))
    assert torch.equal(backbone.network.conv1[0].weight, network.conv1[0].weight)
    assert server.asked == [f"/{named(contents)}"]
