"""On the sample: hiding the frames that are called important changes the answer more than hiding others."""

import dataclasses

import numpy as np
import pytest
import torch

from actionrec.data.clip_search import find_clips
from actionrec.data.datasets import sample
from actionrec.data.splits import SplitSettings, divide
from actionrec.evaluation import calibration
from actionrec.features.backbones import FeatureSettings, create_backbone, describe
from actionrec.features.extractors import create_extractor
from actionrec.inference import explanation
from actionrec.inference.predictor import load
from actionrec.io import machine
from actionrec.training import loop
from actionrec.training.bundle import Architecture, Bundle, save_bundle
from actionrec.training.recipes import read_recipe
from actionrec.video.clip_reader import sample_clip

HIDDEN = 8  # frames of 32


@pytest.mark.slow
@pytest.mark.parametrize("model", ["gru", "swin_transformer"])
def test_hiding_important_frames_changes_the_answer_more_than_hiding_others(trained, model):
    predictor, features, labels = trained(model)
    important, others = [], []
    random = np.random.default_rng(0)
    for clip, label in zip(features, labels, strict=True):
        before = share(predictor, clip, label)
        order = np.argsort(-explanation.occlusion(predictor, clip, label))
        important.append(before - share(predictor, explanation.hide(predictor.network, clip, order[:HIDDEN]), label))
        rest = [random.permutation(order[HIDDEN:])[:HIDDEN] for _ in range(5)]
        others.append(np.mean([before - share(predictor, explanation.hide(predictor.network, clip, one), label) for one in rest]))
    print(f"{model}: important {np.mean(important):.3f}, others {np.mean(others):.3f}")
    assert np.mean(important) > 2 * np.mean(others)
    assert np.mean(important) > 0.05


def share(predictor, features, label):
    logits = loop.predict(predictor.network, features[None], np.array([0]))
    return calibration.softmax(logits, predictor.temperature)[0, label]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Models trained on the drawn sample with a small backbone, and features and labels of half of the test clips."""
    folder = tmp_path_factory.mktemp("sample")
    sample.generate(folder / "raw", sample.SEED)
    clips = find_clips(folder / "raw")
    settings = FeatureSettings("resnet18", "random", "fp32")
    backbone = create_backbone(settings)
    about = {**describe(settings, backbone), "frames": {"count": 32, "resolution": 64, "format": "raw", "quality": 95}}
    extractor = create_extractor(backbone, precision="fp32", size=64, device="cpu", threads=machine.cores())
    features = np.stack([extractor(sample_clip(folder / "raw" / clip.id, 32, 64).frames) for clip in clips])
    split = divide(clips, SplitSettings("group", 5, 0, 0.2), 0)
    names = sorted({clip.label for clip in clips})
    labels = np.array([names.index(clip.label) for clip in clips])
    subsets = np.array([split[clip.id] for clip in clips])

    def train(model):
        recipe = read_recipe(model)
        architecture = Architecture(model, recipe.arguments, features.shape[2], names)
        loop.reproducible(0, "cpu")
        network = architecture.create()
        rows = np.flatnonzero(subsets == "train")
        network.standardise.fit(features, rows)
        run = dataclasses.replace(recipe.train, epochs=20)
        examples = loop.Examples(features, torch.from_numpy(labels), rows, np.flatnonzero(subsets == "val"))
        loop.fit(network, examples, run, 0, lambda _: None)
        save_bundle(folder / model, Bundle(architecture, network, about, None))
        test = np.flatnonzero(subsets == "test")[::2]
        return load(folder / model), features[test], labels[test]

    return train
