"""Predictions from video files: the same frames and features as in training, and errors for invalid bundles."""

import json
import os
import shutil
from dataclasses import replace

import bundles
import numpy as np
import pytest
import small_networks
import torch
from film import write_video
from safetensors.torch import save_file

from actionrec.core import paths
from actionrec.core.errors import DataError, VideoError, WeightsError
from actionrec.evaluation import calibration
from actionrec.features import backbones
from actionrec.features.backbones import FeatureSettings
from actionrec.features.streams import pictures_of
from actionrec.inference.predictor import BACKBONE, Prediction, find_bundle, load, read_backbone, videos_in
from actionrec.training import loop
from actionrec.training.bundle import load_bundle
from actionrec.video import frame_store
from actionrec.video.clip_reader import sample_clip
from actionrec.video.frame_settings import FrameSettings, Snippet


@pytest.fixture(scope="module", autouse=True)
def small_backbones():
    with small_networks.known():
        yield


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return load(bundles.tiny_bundle(tmp_path_factory.mktemp("models") / "gru"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return bundles.clips(tmp_path_factory.mktemp("clips"))


def prediction(*probabilities, threshold=0.0):
    return Prediction(("a", "b", "c")[: len(probabilities)], np.array(probabilities), threshold)


def test_clips_of_different_classes_get_different_answers(predictor, clips):
    assert [predictor.predict(path).label for path in clips] == [path.parent.name for path in clips]


@pytest.mark.parametrize("form", ["raw", "jpeg"])
def test_the_network_sees_what_the_frame_store_would_give_it(tmp_path, clips, form):
    settings = FrameSettings(count=8, resolution=64, format=form, quality=90, shards=1, max_failed=0)
    folder = bundles.tiny_bundle(tmp_path / "gru", frames=settings.sampling())
    with frame_store.FrameWriter(tmp_path / "shard.tar", settings) as writer:
        writer.add("a.avi", "a", sample_clip(clips[0], 8, 64))
    ((_, stored),) = frame_store.read_shard(tmp_path / "shard.tar")
    assert np.array_equal(load(folder).sample(clips[0]).frames, stored)


@pytest.mark.parametrize("backbone", ["small_video", "small_image"])
def test_snippets_pass_through_the_backbone_as_the_bundle_says(tmp_path, clips, backbone):
    about = bundles.VIDEO
    predictor = load(bundles.tiny_bundle(tmp_path / "gru", backbone=backbone, frames=about))
    shown = sample_clip(clips[0], about["count"], about["resolution"], about["fit"], Snippet(**about["snippet"])).pictures
    with torch.inference_mode():
        expected = bundles.features_of(predictor.backbone, shown).numpy()
    features = predictor.extractor(predictor.sample(clips[0]).pictures)
    assert features.shape == (about["count"], small_networks.WIDTH)
    np.testing.assert_allclose(features, expected, rtol=1e-2, atol=1e-2 * np.abs(expected).max())
    assert [predictor.predict(path).label for path in clips] == [path.parent.name for path in clips]


def test_a_bundle_whose_snippets_the_network_cannot_take_is_reported(tmp_path):
    folder = bundles.tiny_bundle(tmp_path / "gru", backbone="small_video", frames=bundles.VIDEO)
    describe(folder, lambda known: known["frames"]["snippet"].update(length=2))
    with pytest.raises(WeightsError, match="small_video cannot process frames of 32 x 32"):
        load(folder)


def test_answers_are_the_models_logits_with_the_bundles_temperature(predictor, clips):
    features = predictor.extractor(predictor.sample(clips[0]).frames)
    logits = loop.predict(predictor.bundle.network, features[None], np.array([0]))
    expected = calibration.softmax(logits, bundles.CALIBRATION["temperature"])[0]
    assert np.array_equal(predictor.predict(clips[0]).probabilities, expected)


def test_many_clips_give_the_answers_of_each_alone_in_their_order(predictor, clips, tmp_path):
    broken = tmp_path / "broken.avi"
    broken.write_bytes(b"no video")
    videos = [*clips[:2], broken, *clips[2:]]
    found = dict(predictor.predict_all(videos))
    assert list(found) == videos
    assert isinstance(found[broken], VideoError)
    assert str(found[broken]).startswith(f"{broken}: not a video file")
    for path in clips:
        assert np.array_equal(found[path].probabilities, predictor.predict(path).probabilities)


def test_classes_come_from_the_most_probable_to_the_least_and_ties_in_their_order():
    found = prediction(0.3, 0.4, 0.3)
    assert found.top(3) == [("b", 0.4), ("a", 0.3), ("c", 0.3)]
    assert found.top(9) == found.top(3)
    assert (found.label, found.confidence) == ("b", 0.4)


def test_below_the_threshold_the_headline_says_that_the_top_class_is_a_guess():
    assert not prediction(0.4, 0.3, 0.3).none_of_these  # without a threshold
    sure, unsure = prediction(0.6, 0.4, threshold=0.6), prediction(0.6, 0.4, threshold=0.61)
    assert (sure.headline, sure.none_of_these, sure.label) == ("a", False, "a")
    assert (unsure.headline, unsure.none_of_these, unsure.label) == ("not sure: a, 60 %", True, "a")
    assert prediction(0.9999, 0.0001, threshold=1.0).headline == "not sure: a, >99 %"


def test_a_name_that_is_not_utf8_is_reported_and_other_clips_go_on(predictor, clips, tmp_path):
    odd = tmp_path / os.fsdecode(b"bad\xff.avi")
    shutil.copy(clips[0], odd)
    found = dict(predictor.predict_all([odd, clips[1]]))
    assert "the path is not valid UTF-8. Rename the file" in str(found[odd])
    assert found[clips[1]].label == "Bright"


def test_what_is_not_a_file_is_reported_and_a_pipe_is_not_waited_for(predictor, tmp_path):
    os.mkfifo(tmp_path / "pipe.avi")
    for path, message in (("pipe.avi", "is not a regular file"), ("nothing.avi", "no such file"), ("", "is a folder")):
        with pytest.raises(DataError, match=message):
            predictor.predict(tmp_path / path)


def test_predicting_leaves_torchs_threads_as_they_were(predictor, clips):
    torch.set_num_threads(1)
    predictor.predict(clips[0])
    assert torch.get_num_threads() == 1


def describe(folder, change):
    """Change model.json."""
    file = folder / "model.json"
    known = json.loads(file.read_text())
    change(known)
    file.write_text(json.dumps(known))
    return folder


def test_a_backbone_with_other_weights_raises_an_error(tmp_path):
    folder = bundles.tiny_bundle(tmp_path / "gru", weights_sha256="ab" * 32)
    with pytest.raises(WeightsError, match=r"other weights than random: got SHA-256 \w{12}…, expected abababababab…"):
        load(folder)


def test_a_backbone_of_another_width_raises_an_error(tmp_path):
    about, _ = bundles.source("resnet50")
    folder = describe(bundles.tiny_bundle(tmp_path / "gru"), lambda known: known["features"].update(about))
    with pytest.raises(WeightsError, match="resnet50 gives 2048 features a frame, but the model takes 512"):
        load(folder)


def test_a_backbone_that_torchvision_does_not_have_raises_an_error(tmp_path):
    folder = describe(bundles.tiny_bundle(tmp_path / "gru"), lambda known: known["features"].update(backbone="nope"))
    with pytest.raises(DataError, match="needs the backbone 'nope', which the installed torchvision does not have"):
        load(folder)


def test_no_bundle_there_names_those_that_are(tmp_path):
    bundles.tiny_bundle(tmp_path / "gru")
    with pytest.raises(DataError, match=r"lstm: no such model\. There are gru\."):
        load(tmp_path / "lstm")


@pytest.fixture
def file_bundle(tmp_path):
    """A bundle whose backbone's weights are a file's, and that file."""
    network = backbones.create_backbone(FeatureSettings("resnet18", "random", "fp32")).network
    state = {name: tensor.contiguous() + 0.001 for name, tensor in network.state_dict().items() if tensor.is_floating_point()}
    file = tmp_path / "mine.safetensors"
    save_file(state, file)
    settings = FeatureSettings("resnet18", str(file), "fp32")
    about = backbones.describe(settings, backbones.create_backbone(settings))
    assert about["weights"] == "mine.safetensors"
    return bundles.tiny_bundle(tmp_path / "models" / "gru", **about), file


def test_a_file_of_weights_is_found_where_it_is_named_in_params_and_in_the_bundle(file_bundle, project):
    folder, file = file_bundle
    with pytest.raises(WeightsError, match=r"a file named mine\.safetensors, which is missing\. Name the file with --backbone"):
        load(folder)
    assert load(folder, backbone_file=file).name == "gru"
    paths.PARAMS.write_text(f"features: {{weights: {file}}}\n")
    assert load(folder).name == "gru"
    paths.PARAMS.unlink()
    file.rename(folder / BACKBONE)
    assert load(folder).name == "gru"


def test_a_named_file_with_other_weights_raises_an_error(file_bundle, tmp_path):
    folder, _ = file_bundle
    network = backbones.create_backbone(FeatureSettings("resnet18", "random", "fp32")).network
    save_file(
        {name: tensor for name, tensor in network.state_dict().items() if tensor.is_floating_point()}, tmp_path / "x.safetensors"
    )
    with pytest.raises(WeightsError, match="with other weights than"):
        load(folder, backbone_file=tmp_path / "x.safetensors")


def test_random_weights_come_from_their_seed_alone(tmp_path, file_bundle):
    _, file = file_bundle
    folder = bundles.tiny_bundle(tmp_path / "seeded")
    with pytest.raises(WeightsError, match="random weights, which come from a seed"):
        load(folder, backbone_file=file)
    file.rename(folder / BACKBONE)  # what lies there is of no use
    assert load(folder).backbone.gain == 1


def test_a_bundle_has_its_folders_name_however_it_is_reached(tmp_path, monkeypatch):
    monkeypatch.chdir(bundles.tiny_bundle(tmp_path / "gru"))
    assert load(find_bundle(".")).name == "gru"


def test_the_best_model_is_the_comparisons(project):
    with pytest.raises(DataError, match=r"metrics/compare\.json is missing"):
        find_bundle(None)
    paths.COMPARISON.parent.mkdir()
    paths.COMPARISON.write_text('{"best": "lstm"}')
    assert find_bundle(None) == paths.MODELS / "lstm"
    assert find_bundle("gru") == paths.MODELS / "gru"
    assert str(find_bundle("elsewhere/gru")) == "elsewhere/gru"


def test_a_comparison_that_names_no_best_model_is_reported(project):
    paths.COMPARISON.parent.mkdir()
    for damaged in ("{}", "[]"):
        paths.COMPARISON.write_text(damaged)
        with pytest.raises(DataError, match="does not say which model is the best"):
            find_bundle(None)


def test_linked_folders_are_followed_and_hidden_files_are_not_seen(tmp_path):
    write_video(tmp_path / "real" / "one.avi", 2)
    write_video(tmp_path / "real" / "._one.avi", 2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "mine" / "back").symlink_to(tmp_path / "mine")
    assert videos_in([tmp_path / "mine"]) == [tmp_path / "mine" / "linked" / "one.avi"]


def test_a_folder_stands_for_its_videos_and_a_file_for_itself(tmp_path):
    for name in ("b/two.mp4", "a/one.AVI", "a/notes.txt"):
        write_video(tmp_path / name, 2) if "txt" not in name else (tmp_path / name).write_text("no video")
    odd = tmp_path / "a" / "notes.txt"
    assert videos_in([tmp_path]) == [tmp_path / "a" / "one.AVI", tmp_path / "b" / "two.mp4"]
    assert videos_in([odd]) == [odd]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty has no videos; expected files named \.avi"):
        videos_in([tmp_path / "empty"])
    with pytest.raises(DataError, match=r"gone\.avi: no such file or folder"):
        videos_in([tmp_path / "gone.avi"])


def test_a_study_checkpoint_has_no_hash_and_takes_no_other_file(tmp_path, file_bundle):
    _, file = file_bundle
    folder = bundles.tiny_bundle(tmp_path / "study")
    bundle = load_bundle(folder)
    about = {**bundle.features, "weights": "IMAGENET1K_V1", "weights_sha256": None}
    with pytest.raises(WeightsError, match="does not contain the hash"):
        read_backbone(folder, replace(bundle, features=about), file)


@pytest.mark.parametrize("streams", [("diff",), ("rgb", "diff"), ("diff", "rgb")], ids="+".join)
def test_a_bundle_on_streams_gets_their_features_side_by_side(tmp_path, clips, streams):
    plain = load(bundles.tiny_bundle(tmp_path / "plain", backbone="small_image"))
    assert "streams" not in json.loads((tmp_path / "plain/model.json").read_text())["features"]
    assert plain.streams == ("rgb",)
    predictor = load(bundles.tiny_bundle(tmp_path / "own", backbone="small_image", streams=streams))
    assert predictor.streams == streams
    frames = predictor.sample(clips[0]).frames
    expected = [plain.extractor(pictures_of(frames, stream)) for stream in streams]
    np.testing.assert_array_equal(predictor.extractor(frames), np.concatenate(expected, axis=1))
    wrong = json.loads((tmp_path / "own/model.json").read_text())
    wrong["features"]["streams"] = ["rgb"] if len(streams) > 1 else ["rgb", "diff"]
    (tmp_path / "own/model.json").write_text(json.dumps(wrong))
    with pytest.raises(WeightsError, match=r"small_image gives \d+ features a frame, but the model takes \d+"):
        load(tmp_path / "own")
