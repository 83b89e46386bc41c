import hashlib
import re
import socket

import pytest
import torch
import torchvision
from torchvision.models import Weights, WeightsEnum

from actionrec.core.errors import WeightsError
from actionrec.features import torchvision_weights
from actionrec.features.backbones import FeatureSettings, create_backbone

BACKBONE = "shufflenet_v2_x0_5"  # 5 MB
CONTENTS = b"some weights"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder that downloads go to."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch/hub/checkpoints"


@pytest.fixture
def publish(host, monkeypatch):
    """Have torchvision's weights IMAGENET1K_V1 be a file of the local host."""

    def publish(name, contents=None, url=host.url):
        if contents is not None:
            host.files[name] = contents
        members = {"IMAGENET1K_V1": Weights(url=f"{url}/{name}", transforms=None, meta={})}
        known = WeightsEnum("Known", members)
        monkeypatch.setattr(torchvision.models, "get_model_weights", lambda backbone: known)

    return publish


def named(contents, start="some"):
    return f"{start}-{hashlib.sha256(contents).hexdigest()[:8]}.pth"


def test_weights_are_downloaded_once_into_torchs_cache(host, cache, publish):
    name = named(CONTENTS)
    publish(name, CONTENTS)
    assert torchvision_weights.weights_file(BACKBONE, "IMAGENET1K_V1") == cache / name
    assert (cache / name).read_bytes() == CONTENTS
    assert torchvision_weights.weights_file(BACKBONE, "IMAGENET1K_V1") == cache / name
    assert host.asked == [(f"/{name}", None)]


def test_a_file_that_is_there_needs_no_network(host, cache, publish):
    name = named(CONTENTS)
    publish(name)
    cache.mkdir(parents=True)
    (cache / name).write_bytes(CONTENTS)
    assert torchvision_weights.weights_file(BACKBONE, "IMAGENET1K_V1") == cache / name
    assert host.asked == []


def refused(cache, url):
    with pytest.raises(WeightsError) as caught:
        torchvision_weights.weights_file(BACKBONE, "IMAGENET1K_V1")
    name = url.rsplit("/", 1)[-1]
    first, second = str(caught.value).split("\n")
    assert first.startswith(f"{url} cannot be downloaded: ")
    assert second == (
        f"Without a network, download the file elsewhere and copy it to {cache / name}; or set features.weights to its path."
    )
    assert list(cache.iterdir()) == []  # nothing is left behind
    return first


def test_a_download_with_another_hash_is_refused_and_not_kept(host, cache, publish):
    publish("some-0123abcd.pth", CONTENTS)
    with pytest.raises(WeightsError, match="SHA-256 does not start with 0123abcd"):
        torchvision_weights.weights_file(BACKBONE, "IMAGENET1K_V1")
    assert list(cache.iterdir()) == []


def test_a_download_that_breaks_off_is_taken_up_again(host, cache, publish):
    name = named(CONTENTS)
    publish(name, CONTENTS)
    host.break_after = [5]
    assert torchvision_weights.weights_file(BACKBONE, "IMAGENET1K_V1").read_bytes() == CONTENTS
    assert host.asked == [(f"/{name}", None), (f"/{name}", "bytes=5-")]


def test_a_file_that_the_host_lacks_is_refused(host, cache, publish):
    publish("some-0123abcd.pth")
    assert "404" in refused(cache, f"{host.url}/some-0123abcd.pth")


def test_offline_the_error_says_which_file_to_put_where(host, cache, publish):
    with socket.socket() as nobody:  # bound, but listening to no one
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        publish("some-0123abcd.pth", url=url)
        assert "no connection" in refused(cache, f"{url}/some-0123abcd.pth")


def test_a_damaged_file_in_the_cache_is_refused(cache, publish):
    name = named(CONTENTS)
    publish(name)
    cache.mkdir(parents=True)
    (cache / name).write_bytes(CONTENTS[:-1])
    with pytest.raises(WeightsError) as caught:
        torchvision_weights.weights_file(BACKBONE, "IMAGENET1K_V1")
    digest = name.removeprefix("some-").removesuffix(".pth")
    assert str(caught.value) == (
        f"{cache / name} is damaged: its SHA-256 does not start with {digest}. Remove it and rerun to download it again."
    )


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(WeightsError) as caught:
        torchvision_weights.weights_file("resnet50", "IMAGENET1K_V3")
    assert str(caught.value) == (
        "features.weights: resnet50 has no such weights; "
        "got 'IMAGENET1K_V3', expected random, IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT, or a path."
    )


def test_the_studys_resnet50_is_the_one_that_is_fetched():
    assert torchvision.models.get_model_weights("resnet50")["IMAGENET1K_V1"].url.endswith("/resnet50-0676ba61.pth")


def test_every_file_that_torchvision_publishes_has_its_hash_in_its_name():
    names = torchvision.models.list_models(module=torchvision.models)
    files = {member.url.rsplit("/", 1)[-1] for name in names for member in torchvision.models.get_model_weights(name)}
    assert len(files) > 80
    assert [file for file in files if not re.search(r"-[0-9a-f]{8,}\.pth$", file)] == []


def test_a_backbone_gets_its_published_weights(host, cache, publish, tmp_path):
    torch.manual_seed(5)
    network = torchvision.models.get_model(BACKBONE, weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "published")
    contents = (tmp_path / "published").read_bytes()
    publish(named(contents), contents)
    backbone = create_backbone(FeatureSettings(BACKBONE, "IMAGENET1K_V1", "fp32"))
    assert torch.equal(backbone.network.conv1[0].weight, network.conv1[0].weight)
    assert host.asked == [(f"/{named(contents)}", None)]
