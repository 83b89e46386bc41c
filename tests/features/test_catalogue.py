"""The catalogue of backbones, against torchvision's networks."""

import pytest
import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

from actionrec.features import catalogue, torchvision_models
from actionrec.features.frame_requirements import VIDEO_BACKBONES, limits_of

ENTRIES = list(catalogue.entries())

# Frames of a snippet, its pixels; parameters in millions and billions of multiplications for it.
KNOWN = {
    "r3d_18": (16, 112, 33.4, 40.7),
    "mc3_18": (16, 112, 11.7, 43.3),
    "r2plus1d_18": (16, 112, 31.5, 40.5),
    "s3d": (16, 224, 8.3, 18.0),
    "mvit_v1_b": (16, 224, 36.6, 70.6),
    "mvit_v2_s": (16, 224, 34.5, 64.2),
    "swin3d_t": (16, 224, 28.2, 43.9),
    "swin3d_s": (16, 224, 49.8, 82.8),
    "swin3d_b": (16, 224, 88.0, 140.7),
}


def entry(backbone, weights):
    [found] = [one for one in ENTRIES if (one.backbone, one.weights) == (backbone, weights)]
    return found


def test_all_published_weights_that_fit_a_network_are_listed():
    known = [*torchvision_models.names(), *VIDEO_BACKBONES]
    listed = {(one.backbone, one.weights) for one in ENTRIES}
    published = {(name, member.name) for name in known for member in torchvision.models.get_model_weights(name)}
    assert listed <= published
    assert len(listed) == len(ENTRIES)
    missing = published - listed
    assert missing == {
        ("squeezenet1_0", "IMAGENET1K_V1"),  # their last layer is not linear
        ("squeezenet1_1", "IMAGENET1K_V1"),
        ("vgg16", "IMAGENET1K_FEATURES"),  # its last layers have no numbers
        ("vit_b_16", "IMAGENET1K_SWAG_E2E_V1"),  # of other resolutions than the networks
        ("vit_h_14", "IMAGENET1K_SWAG_E2E_V1"),
        ("vit_l_16", "IMAGENET1K_SWAG_E2E_V1"),
    }


def test_images_come_before_videos():
    assert [one.is_video for one in ENTRIES] == sorted(one.is_video for one in ENTRIES)
    assert {one.backbone for one in ENTRIES if one.is_video} == set(VIDEO_BACKBONES)


def test_an_image_backbone():
    one = entry("resnet50", "IMAGENET1K_V1")
    assert (one.feature_dim, one.parameters, one.gmacs, one.top1_percent) == (2048, 25557032, 4.089, 76.13)
    assert one.overrides == "-S features.backbone=resnet50 -S features.weights=IMAGENET1K_V1 -S frames.resolution=224"
    assert entry("efficientnet_b7", "IMAGENET1K_V1").overrides.endswith(" -S frames.resolution=600")


def test_a_video_backbone():
    one = entry("r3d_18", "KINETICS400_V1")
    assert (one.feature_dim, one.parameters, one.gmacs, one.top1_percent) == (512, 33371472, 40.697, 63.2)
    assert one.overrides == (
        "-S features.backbone=r3d_18 -S features.weights=KINETICS400_V1 -S frames.count=8 -S frames.resolution=112 "
        "-S 'frames.fit=[128,171]' -S frames.snippet.length=16 -S frames.snippet.rate=15"
    )
    assert entry("mvit_v2_s", "KINETICS400_V1").overrides.endswith(
        "-S frames.count=8 -S frames.resolution=224 -S frames.fit=crop -S frames.snippet.length=16 -S frames.snippet.rate=7.5"
    )


@pytest.mark.parametrize("backbone", VIDEO_BACKBONES)
def test_parameters_operations_and_features_of_video_backbones_are_those_of_the_network(backbone):
    length, pixels, millions, gmacs = KNOWN[backbone]
    with torch.device("meta"):
        network = torchvision.models.get_model(backbone, weights=None).eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, length, pixels, pixels, device="meta"))
    one = entry(backbone, "KINETICS400_V1")
    assert one.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert round(one.parameters / 1e6, 1) == millions
    counted = counter.get_total_flops() / 2e9
    assert round(counted, 1) == gmacs
    assert one.gmacs == pytest.approx(counted * one.frames.length / length, rel=1e-4)  # metadata has five digits
    assert limits_of(backbone).problems(one.frames.resolution, one.frames.length) == {}


@pytest.mark.slow
@pytest.mark.parametrize("backbone", [name for name in torchvision_models.names() if not name.startswith(("squeezenet", "regnet"))])
def test_feature_dims_are_those_of_the_networks(backbone):
    inception = {"init_weights": True} if backbone in ("googlenet", "inception_v3") else {}
    with torch.device("meta"):
        network = torchvision.models.get_model(backbone, weights=None, **inception)
    assert network.get_submodule(torchvision_models._last_layer(network, backbone)).in_features == catalogue.FEATURE_DIMS[backbone]


def test_feature_dims_of_regnets_are_the_widths_of_their_last_stages(monkeypatch):
    """They cannot be built without memory."""
    widths = {}

    def last_width(parameters, *arguments, **options):
        widths[name] = parameters.widths[-1]
        raise NotImplementedError

    monkeypatch.setattr(torchvision.models.regnet, "_regnet", last_width)
    names = [name for name in torchvision_models.names() if name.startswith("regnet")]
    for name in names:
        with pytest.raises(NotImplementedError):
            torchvision.models.get_model(name, weights=None)
    assert widths == {name: catalogue.FEATURE_DIMS[name] for name in names}
