import re

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


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


def test_features_of_resnet_are_what_its_average_pool_gives(tmp_path):
    network = fresh("resnet18")
    torch.save(network.state_dict(), tmp_path / "some.pth")
    backbone = create_backbone(settings("resnet18", tmp_path / "some.pth"))
    with torch.no_grad():
        wanted = nn.Sequential(*list(network.children())[:-1])(normalised(frames())).flatten(1)
    torch.testing.assert_close(backbone(frames()), wanted, rtol=1e-4, atol=1e-5)


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
        ("resnet50", 2048, 64),
        ("convnext_tiny", 768, 64),
        ("vit_b_16", 768, 224),
        ("swin_t", 768, 64),
        ("googlenet", 1024, 64),
        ("inception_v3", 2048, 224),
        ("alexnet", 4096, 64),
        ("regnet_y_400mf", 440, 64),
    ],
)
def test_larger_backbones_do_as_well(name, width, size):
    assert width_of(name, size) == width


@pytest.mark.slow
def test_every_classification_model_but_squeezenet_ends_in_a_linear_layer():
    refused = []
    for name in torchvision.models.list_models(module=torchvision.models):
        if name.startswith("regnet"):  # cannot be built without memory
            continue
        options = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
        with torch.device("meta"):
            network = torchvision.models.get_model(name, weights=None, **options)
        try:
            assert network.get_submodule(torchvision_models._last_linear(network, name)).out_features == 1000
        except ParamsError:
            refused.append(name)
    assert refused == ["squeezenet1_0", "squeezenet1_1"]


def test_a_backbone_is_frozen_and_in_evaluation_mode():
    backbone = create_backbone(settings("mobilenet_v2"))
    assert not any(module.training for module in backbone.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_random_weights_are_seeded_and_leave_the_global_random_state_alone():
    torch.manual_seed(11)
    state = torch.random.get_rng_state()
    first = create_backbone(settings(SMALL))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(12)
    second = create_backbone(settings(SMALL))
    assert state_sha256(first) == state_sha256(second)
    assert first.gain == second.gain


def test_trained_weights_are_never_rescaled(tmp_path):
    torch.save(fresh(SMALL).state_dict(), tmp_path / "a.pth")
    assert create_backbone(settings(SMALL, tmp_path / "a.pth")).gain == 1


def test_random_resnets_are_not_rescaled():
    assert create_backbone(settings("resnet18")).gain == 1


@pytest.fixture
def stored(tmp_path):
    """A small network's state dict in several forms: suffix -> path."""
    state = fresh(SMALL).state_dict()
    paths = {name: tmp_path / name for name in ("a.pth", "a.safetensors", "wrapped.pt", "parallel.pth", "headless.pth")}
    torch.save(state, paths["a.pth"])
    safetensors.torch.save_file(state, paths["a.safetensors"])
    torch.save({"state_dict": state, "epoch": 3}, paths["wrapped.pt"])
    torch.save({"model_state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, paths["parallel.pth"])
    torch.save({name: tensor for name, tensor in state.items() if not name.startswith("fc.")}, paths["headless.pth"])
    return paths


def test_every_form_of_the_same_file_gives_the_same_features(stored):
    made = [create_backbone(settings(SMALL, path)) for path in stored.values()]
    assert len({state_sha256(backbone.network) for backbone in made}) == 1
    assert all(torch.equal(backbone(frames()), made[0](frames())) for backbone in made)


def test_a_file_that_was_trained_for_other_classes_does(tmp_path):
    torch.save(torchvision.models.get_model(SMALL, weights=None, num_classes=7).state_dict(), tmp_path / "a.pth")
    create_backbone(settings(SMALL, tmp_path / "a.pth"))


def test_another_networks_file_is_refused(stored):
    with pytest.raises(WeightsError) as caught:
        create_backbone(settings("mobilenet_v2", stored["a.pth"]))
    assert str(caught.value).startswith(
        f"features.weights '{stored['a.pth']}' for mobilenet_v2 does not fit: features.0.0.weight is missing; "
    )


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "regnet_y_400mf", "vgg11_bn", "densenet121"])
@pytest.mark.parametrize("classes", [1000, 7])
def test_weights_of_another_backbone_are_recognised(name, classes):
    state = torchvision.models.get_model(name, weights=None, num_classes=classes).state_dict()
    assert torchvision_models.model_of(state) == name


def test_weights_of_another_backbone_name_the_parameter_to_change(tmp_path):
    torch.save(torchvision.models.get_model("mobilenet_v2", weights=None, num_classes=3).state_dict(), tmp_path / "a.pth")
    with pytest.raises(WeightsError) as caught:
        create_backbone(settings(SMALL, tmp_path / "a.pth"))
    assert str(caught.value).endswith(
        "These are weights of mobilenet_v2: set features.backbone to mobilenet_v2, or features.weights to a file of "
        "shufflenet_v2_x0_5."
    )


def test_weights_of_no_known_backbone_are_of_none():
    assert torchvision_models.model_of({"weight": torch.zeros(3)}) is None


def test_a_file_with_a_wrong_shape_is_refused(stored, tmp_path):
    state = {**torch.load(stored["a.pth"]), "conv1.0.weight": torch.zeros(24, 1, 3, 3)}
    torch.save(state, tmp_path / "wrong.pth")
    with pytest.raises(WeightsError, match=r"conv1\.0\.weight has shape \(24, 1, 3, 3\), expected \(24, 3, 3, 3\)\.$"):
        create_backbone(settings(SMALL, tmp_path / "wrong.pth"))


def test_a_missing_file_is_refused():
    with pytest.raises(WeightsError, match=r"^none/such\.pth: the weights file does not exist\.$"):
        create_backbone(settings(SMALL, "none/such.pth"))


@pytest.mark.parametrize("name", ["squeezenet1_0", "squeezenet1_1"])
def test_a_network_without_a_linear_last_layer_is_refused(name):
    with pytest.raises(ParamsError) as caught:
        create_backbone(settings(name))
    assert str(caught.value) == (
        f"params.yaml: features.backbone: the last layer of {name} is not linear, so it cannot be removed automatically. Use "
        f"another backbone, or add the file actionrec/features/networks/{name}.py."
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


@pytest.mark.parametrize("name", ["resnet51", "ResNet50", "fcn_resnet50", "r3d_18", ""])
def test_an_unknown_backbone_is_rejected_with_a_list(name):
    with pytest.raises(ParamsError) as caught:
        create_backbone(settings(name))
    start = (
        f"params.yaml: features.backbone is unknown; got {name!r}, expected a classification model of torchvision or a file of "
        "actionrec/features/networks. Known: alexnet, convnext_"
    )
    assert str(caught.value).startswith(start)


def test_torchvisions_older_names_of_densenet_are_understood(tmp_path):
    """Its published files say norm.1 where the code says norm1."""
    network = fresh("densenet121")
    state = network.state_dict()
    older = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", name): state[name] for name in state}
    assert "features.denseblock1.denselayer1.norm.1.weight" in older
    torch.save(older, tmp_path / "a.pth")
    torch.save(state, tmp_path / "b.pth")
    first, second = (create_backbone(settings("densenet121", tmp_path / name)) for name in ("a.pth", "b.pth"))
    assert state_sha256(first.network) == state_sha256(second.network)


@pytest.mark.parametrize(
    ("older", "current"),
    [
        ("encoder.layers.encoder_layer_0.mlp.linear_1.weight", "encoder.layers.encoder_layer_0.mlp.0.weight"),
        ("encoder.layers.encoder_layer_11.mlp.linear_2.bias", "encoder.layers.encoder_layer_11.mlp.3.bias"),
        ("features.denseblock2.denselayer12.conv.2.weight", "features.denseblock2.denselayer12.conv2.weight"),
        ("features.norm0.weight", "features.norm0.weight"),
        ("layer1.0.conv1.weight", "layer1.0.conv1.weight"),
    ],
)
def test_older_names_become_todays(older, current):
    assert torchvision_models._current_name(older) == current
    assert torchvision_models._current_name(current) == current


def test_googlenet_takes_pictures_as_its_published_weights_expect_them(tmp_path):
    """Those normalise again inside the network, and hold heads that only training needs."""
    network = fresh("googlenet", aux_logits=True, init_weights=False, transform_input=True)
    torch.save(network.state_dict(), tmp_path / "a.pth")
    backbone = create_backbone(settings("googlenet", tmp_path / "a.pth"))
    network.fc = nn.Identity()
    with torch.no_grad():
        torch.testing.assert_close(backbone(frames()), network(normalised(frames())), rtol=1e-4, atol=1e-5)


def test_pictures_are_normalised_as_each_published_file_expects():
    for name in torchvision.models.list_models(module=torchvision.models):
        for member in torchvision.models.get_model_weights(name):
            if member.name == "IMAGENET1K_FEATURES":  # VGG-16's, whose layers after the pool hold no numbers
                continue
            wanted = member.transforms()
            assert torchvision_models.normalisation(name) == (tuple(wanted.mean), tuple(wanted.std)), member


def test_the_description_names_the_weights_but_not_the_machine(stored):
    chosen = settings(SMALL, stored["a.pth"], "bf16")
    backbone = create_backbone(chosen)
    assert describe(chosen, backbone) == {
        "backbone": SMALL,
        "weights": "a.pth",
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


@pytest.mark.parametrize(
    ("name", "message"),
    [("truncated_weights.pth", "cut off, damaged, or not a weights file"), ("lfs_pointer.pth", "is a Git LFS pointer")],
)
def test_broken_files_are_refused(shared, name, message):
    with pytest.raises(WeightsError, match=message):
        create_backbone(settings("resnet18", shared / "data/broken" / name))
