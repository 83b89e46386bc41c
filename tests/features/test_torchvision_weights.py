import hashlib
import re

import pytest
import torch
import torchvision
from torchvision.models import Weights, WeightsEnum

from actionrec.core.errors import WeightsError
from actionrec.features import torchvision_weights
from actionrec.features.backbones import FeatureSettings, create_backbone
from actionrec.features.frame_requirements import VIDEO_BACKBONES

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

    def publish(name, contents=None):
        if contents is not None:
            host.files[name] = contents
        members = {"IMAGENET1K_V1": Weights(url=f"{host.url}/{name}", transforms=None, meta={})}
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


def test_a_download_with_another_hash_is_refused_and_not_kept(host, cache, publish):
    publish("some-0123abcd.pth", CONTENTS)
    with pytest.raises(WeightsError, match="SHA-256 does not start with 0123abcd"):
        torchvision_weights.weights_file(BACKBONE, "IMAGENET1K_V1")
    assert list(cache.iterdir()) == []


def test_a_failed_download_says_where_to_put_the_file(host, cache, publish):
    publish("some-0123abcd.pth")
    with pytest.raises(WeightsError) as caught:
        torchvision_weights.weights_file(BACKBONE, "IMAGENET1K_V1")
    first, second = str(caught.value).split("\n")
    assert first == f"{host.url}/some-0123abcd.pth cannot be downloaded: the host answered 404 Not Found."
    assert second == (
        f"Without a network, download the file elsewhere and copy it to {cache}/some-0123abcd.pth; or set features.weights to its "
        "path."
    )
    assert list(cache.iterdir()) == []


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


@pytest.mark.parametrize(
    ("backbone", "name", "known"),
    [
        ("resnet50", "IMAGENET1K_V3", "IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT"),
        ("swin3d_b", "IMAGENET1K_V1", "KINETICS400_V1, KINETICS400_IMAGENET22K_V1, DEFAULT"),
    ],
)
def test_an_unknown_name_lists_the_known_ones(backbone, name, known):
    with pytest.raises(WeightsError) as caught:
        torchvision_weights.weights_file(backbone, name)
    expected = f"got '{name}', expected random, {known}, or a path."
    assert str(caught.value) == f"features.weights: {backbone} has no such weights; {expected}"


def test_every_file_that_torchvision_publishes_has_its_hash_in_its_name():
    names = [*torchvision.models.list_models(module=torchvision.models), *VIDEO_BACKBONES]
    files = {member.url.rsplit("/", 1)[-1] for name in names for member in torchvision.models.get_model_weights(name)}
    assert "resnet50-0676ba61.pth" in files  # the study's weights
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
