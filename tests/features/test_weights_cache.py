import socket
import time

import pytest
import torchvision

from actionrec.core.errors import WeightsError
from actionrec.features import weights_cache
from actionrec.features.frame_requirements import VIDEO_BACKBONES
from actionrec.features.settings import RANDOM, FeatureSettings


def named(weights, backbone="resnet50"):
    return FeatureSettings(backbone, weights, "fp32")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub/checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def offline(monkeypatch):
    """torchvision's host refuses connections."""
    with socket.socket() as nobody:  # bound, but listening to no one
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr(weights_cache, "HOST", f"http://127.0.0.1:{nobody.getsockname()[1]}/models/")
        yield


def test_the_cache_is_torchs(monkeypatch, tmp_path):
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert str(weights_cache.folder()) == f"{torchvision.torch.hub.get_dir()}/checkpoints"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert str(weights_cache.folder()) == f"{torchvision.torch.hub.get_dir()}/checkpoints"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch home"))
    assert str(weights_cache.folder()) == f"{torchvision.torch.hub.get_dir()}/checkpoints"


@pytest.mark.usefixtures("offline")
def test_without_a_network_published_weights_that_are_not_here_are_refused_at_once(cache):
    start = time.monotonic()
    with pytest.raises(WeightsError) as caught:
        weights_cache.require_weights(named("IMAGENET1K_V1"))
    assert time.monotonic() - start < 2
    assert str(caught.value).startswith(f"features.weights: IMAGENET1K_V1 of resnet50 is not in {cache}, and http://127.0.0.1:")
    assert "no connection (127.0.0.1: Connection refused)" in str(caught.value)
    assert "set features.weights to the path of a file" in str(caught.value)


@pytest.mark.usefixtures("offline")
def test_every_published_file_in_the_cache_needs_no_network(cache):
    for backbone in [*torchvision.models.list_models(module=torchvision.models), *VIDEO_BACKBONES]:
        for member in torchvision.models.get_model_weights(backbone):
            file = cache / member.url.rsplit("/", 1)[-1]
            file.touch()
            weights_cache.require_weights(named(member.name, backbone))
            file.unlink()


@pytest.mark.usefixtures("offline", "cache")
def test_random_weights_and_files_need_no_network(tmp_path):
    weights_cache.require_weights(named(RANDOM))
    (tmp_path / "mine.pth").touch()
    weights_cache.require_weights(named(str(tmp_path / "mine.pth")))


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(WeightsError, match=r"^features.weights: none/such\.pth: the weights file does not exist\.$"):
        weights_cache.require_weights(named("none/such.pth"))
