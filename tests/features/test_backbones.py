import pytest
import safetensors.torch
import torch
import torchvision
from torch import nn

from actionrec.core.errors import ParamsError, WeightsError
from actionrec.features import networks, torchvision_models
from actionrec.features.backbones import MEAN, STD, FeatureSettings, create_backbone, describe
from actionrec.features.state_dicts import state_sha256

SMALL = "shufflenet_v2_x0_5"  # 5 MB


INCEPTION = ("googlenet", "inception_v3")


def settings(backbone, weights="random", precision="fp32"):
    return FeatureSettings(backbone, str(weights), precision)


def frames(count=2, size=64):
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def normalised(pictures):
    """The textbook way: 0 to 1, minus ImageNet's mean, by its deviation: (B, 3, H, W)."""
    pictures = pictures.permute(0, 3, 1, 2) / 255
    return (pictures - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def fresh(backbone, **options):
    """A network of torchvision's with random weights of its own, statistics of batches included."""
    torch.manual_seed(1)
    network = torchvision.models.get_model(backbone, weights=None, **options)
    network.train()
    with torch.no_grad():
        network(normalised(frames(8)))
    return network.eval()


def test_features_of_resnet_are_those_of_its_average_pool(tmp_path):
    network = fresh("resnet18")
    torch.save(network.state_dict(), tmp_path / "some.pth")
    backbone = create_backbone(settings("resnet18", tmp_path / "some.pth"))
    with torch.no_grad():
        expected = nn.Sequential(*list(network.children())[:-1])(normalised(frames())).flatten(1)
    torch.testing.assert_close(backbone(frames()), expected, rtol=1e-4, atol=1e-5)
    assert backbone.gain == create_backbone(settings("resnet18")).gain == 1  # neither trained weights nor ResNets are rescaled


def width_of(name, size=64):
    backbone = create_backbone(settings(name))
    features = backbone(frames(size=size))
    assert features.dtype == torch.float32
    assert not torch.equal(features[0], features[1])
    # Untrained signals die out in some of these networks, and explode in others; float16 must hold them.
    assert 2**-8 < features.abs().max() < 2**12
    assert ((features.half().float() - features).norm() / features.norm()) < 1e-3
    return features.shape[1]


@pytest.mark.parametrize(
    ("name", "width"),
    [("resnet18", 512), ("mobilenet_v2", 1280), ("efficientnet_b0", 1280), ("densenet121", 1024), ("mnasnet0_5", 1280)],
)
def test_backbones_give_a_pooled_feature_that_float16_holds(name, width):
    assert width_of(name) == width


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "width", "size"),
    [
        ("convnext_tiny", 768, 64),
        ("vit_b_16", 768, 224),
        ("swin_t", 768, 64),
        ("googlenet", 1024, 64),
        ("inception_v3", 2048, 224),
        ("alexnet", 4096, 64),
        ("regnet_y_400mf", 440, 64),
    ],
)
def test_larger_backbones_give_a_feature_that_float16_holds(name, width, size):
    assert width_of(name, size) == width


@pytest.mark.slow
def test_every_classification_model_but_squeezenet_ends_in_a_linear_layer():
    for name in torchvision_models.names():
        if name.startswith("regnet"):  # cannot be built without memory
            continue
        with torch.device("meta"):
            network = torchvision.models.get_model(name, weights=None, **({"init_weights": True} if name in INCEPTION else {}))
        if name.startswith("squeezenet"):
            with pytest.raises(ParamsError):
                torchvision_models._last_layer(network, name)
        else:
            assert network.get_submodule(torchvision_models._last_layer(network, name)).out_features == 1000


def test_random_weights_are_seeded_and_the_global_random_state_is_unchanged():
    torch.manual_seed(11)
    state = torch.random.get_rng_state()
    first = create_backbone(settings(SMALL))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(12)
    second = create_backbone(settings(SMALL))
    assert state_sha256(first) == state_sha256(second)
    assert first.gain == second.gain
    assert not any(module.training for module in first.modules())
    assert not any(parameter.requires_grad for parameter in first.parameters())


def test_a_file_for_other_classes_or_without_a_classifier_is_loaded(tmp_path):
    state = torchvision.models.get_model(SMALL, weights=None, num_classes=7).state_dict()
    safetensors.torch.save_file(state, tmp_path / "a.safetensors")
    torch.save({name: tensor for name, tensor in state.items() if not name.startswith("fc.")}, tmp_path / "b.pth")
    first, second = (create_backbone(settings(SMALL, tmp_path / name)) for name in ("a.safetensors", "b.pth"))
    assert state_sha256(first.network) == state_sha256(second.network)


@pytest.mark.parametrize(
    ("name", "classes"), [("resnet18", 7), ("mobilenet_v2", 1000), ("regnet_y_400mf", 7), ("densenet121", 1000)]
)
def test_weights_of_another_backbone_are_recognised(name, classes):
    state = torchvision.models.get_model(name, weights=None, num_classes=classes).state_dict()
    assert torchvision_models.model_of(state) == name


def test_an_error_about_weights_of_another_backbone_names_it(tmp_path):
    torch.save(torchvision.models.get_model("mobilenet_v2", weights=None, num_classes=3).state_dict(), tmp_path / "a.pth")
    with pytest.raises(WeightsError) as caught:
        create_backbone(settings(SMALL, tmp_path / "a.pth"))
    assert str(caught.value).startswith(
        f"features.weights '{tmp_path / 'a.pth'}' for {SMALL} does not fit: conv1.0.weight is missing; "
    )
    assert str(caught.value).endswith(
        "These are weights of mobilenet_v2: set features.backbone to mobilenet_v2, or features.weights to a file of "
        "shufflenet_v2_x0_5."
    )


def test_a_file_of_an_unknown_network_is_rejected(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"does not fit: conv1\.0\.weight is missing; .* more\.$"):
        create_backbone(settings(SMALL, tmp_path / "a.pth"))


def test_a_network_without_a_linear_last_layer_is_rejected():
    with pytest.raises(ParamsError) as caught:
        create_backbone(settings("squeezenet1_0"))
    assert str(caught.value) == (
        "params.yaml: features.backbone: the last layer of squeezenet1_0 is not linear, so it cannot be removed automatically. Use "
        "another backbone, or add the file actionrec/features/networks/squeezenet1_0.py."
    )


SQUEEZENET = '''
"""SqueezeNet 1.1 of torchvision: its classifier is a convolution, and is replaced with an average pool."""

import torchvision
from torch import nn

from actionrec.features.networks import FeatureNetwork


def create() -> FeatureNetwork:
    network = torchvision.models.squeezenet1_1(weights=None)
    network.classifier = nn.AdaptiveAvgPool2d(1)
    return FeatureNetwork(network, select=_without_classifier)


def _without_classifier(state):
    return {name: tensor for name, tensor in state.items() if not name.startswith("classifier.")}
'''


def test_a_file_of_networks_adds_a_backbone(tmp_path, monkeypatch):
    network = fresh("squeezenet1_1")
    torch.save(network.state_dict(), tmp_path / "a.pth")
    (tmp_path / "squeezenet1_1.py").write_text(SQUEEZENET)
    monkeypatch.setattr(networks, "__path__", [*networks.__path__, str(tmp_path)])
    assert networks.names() == ["squeezenet1_1"]
    backbone = create_backbone(settings("squeezenet1_1", tmp_path / "a.pth"))
    with torch.no_grad():
        expected = network.features(normalised(frames())).mean(dim=(2, 3))
    torch.testing.assert_close(backbone(frames()), expected, rtol=1e-4, atol=1e-5)
    assert width_of("squeezenet1_1") == 512


@pytest.mark.parametrize("name", ["ResNet50", "fcn_resnet50", ""])
def test_an_unknown_backbone_is_rejected_with_a_list(name):
    with pytest.raises(ParamsError) as caught:
        create_backbone(settings(name))
    start = (
        f"params.yaml: features.backbone is unknown; got {name!r}, expected a classification model of torchvision or a file of "
        "actionrec/features/networks. Known: alexnet, convnext_"
    )
    assert str(caught.value).startswith(start)


@pytest.mark.parametrize(
    ("older", "current"),
    [
        ("encoder.layers.encoder_layer_0.mlp.linear_1.weight", "encoder.layers.encoder_layer_0.mlp.0.weight"),
        ("encoder.layers.encoder_layer_11.mlp.linear_2.bias", "encoder.layers.encoder_layer_11.mlp.3.bias"),
        ("features.denseblock2.denselayer12.conv.2.weight", "features.denseblock2.denselayer12.conv2.weight"),
        ("layer1.0.conv1.weight", "layer1.0.conv1.weight"),
    ],
)
def test_older_names_of_tensors_become_the_current_ones(older, current):
    assert torchvision_models._current_name(older) == torchvision_models._current_name(current) == current


def test_googlenet_takes_pictures_as_its_published_weights_expect_them(tmp_path):
    """Those normalise again inside the network, and hold heads that only training needs."""
    network = fresh("googlenet", aux_logits=True, init_weights=False, transform_input=True)
    torch.save(network.state_dict(), tmp_path / "a.pth")
    backbone = create_backbone(settings("googlenet", tmp_path / "a.pth"))
    network.fc = nn.Identity()
    with torch.no_grad():
        torch.testing.assert_close(backbone(frames()), network(normalised(frames())), rtol=1e-4, atol=1e-5)


def test_pictures_are_normalised_as_each_published_file_expects():
    for name in torchvision_models.names():
        for member in torchvision.models.get_model_weights(name):
            if member.name != "IMAGENET1K_FEATURES":  # VGG-16's, whose layers after the pool have no numbers
                expected = member.transforms()
                assert torchvision_models.normalisation(name) == (tuple(expected.mean), tuple(expected.std)), member


@pytest.mark.parametrize(("weights", "name"), [("random", "random"), ("folder/a.pth", "a.pth")])
def test_the_description_names_the_weights_but_not_the_machine(weights, name):
    chosen = settings(SMALL, weights, "bf16")
    backbone = create_backbone(settings(SMALL))
    assert describe(chosen, backbone) == {
        "backbone": SMALL,
        "weights": name,
        "weights_sha256": state_sha256(backbone.network),
        "precision": "bf16",
        "preprocessing": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "colours": "RGB", "scale": 255},
    }


@pytest.mark.parametrize(
    ("weights", "is_file"),
    [("random", False), ("IMAGENET1K_V1", False), ("a.pth", True), ("a.pt", True), ("a.safetensors", True), ("some/file", True)],
)
def test_paths_and_names_of_weights_are_distinguished(weights, is_file):
    assert settings(SMALL, weights).is_file == is_file


def test_real_weights_tell_real_pictures_apart(shared):
    backbone = create_backbone(settings("mobilenet_v2", shared / "weights/mobilenet_v2_imagenet.safetensors"))
    features = backbone(frames(2, size=96))
    assert features.shape == (2, 1280)
    assert 0.1 < features.std() < 10
