"""A model's metrics again: the same digits on the same clips, whichever way they are reached."""

import dataclasses
import shutil

import bundles
import numpy as np
import pytest
from tar_files import write_tar

from actionrec.core.errors import DataError, VideoError
from actionrec.data import tar_shards
from actionrec.data.clip_files import ClipFiles
from actionrec.data.clip_search import find_clips
from actionrec.evaluation import metrics
from actionrec.evaluation.predictions import Answers
from actionrec.features.feature_store import FeatureSet
from actionrec.inference import recompute_metrics
from actionrec.inference.predictor import load
from actionrec.training import record
from actionrec.training.bundle import load_bundle
from actionrec.training.training_data import make_training_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    bundles.clips(folder, 3)
    return folder


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return load(bundles.tiny_bundle(tmp_path_factory.mktemp("models") / "gru"))


@pytest.fixture(scope="module")
def data(predictor, folder):
    """Training data as the stages make it: source 1 of each class for training, 2 for validation, 3 for the test."""
    clips = find_clips(folder)
    features = np.stack([predictor.extractor(predictor.sample(folder / clip.id).frames) for clip in clips])
    split = {clip.id: {"g01": "train", "g02": "val", "g03": "test"}[clip.group] for clip in clips}
    return make_training_data(clips, split, FeatureSet([clip.id for clip in clips], features, predictor.bundle.features))


def of_folder(predictor, folder, **options):
    return recompute_metrics.of_folder(predictor, ClipFiles(folder), find_clips(folder), lambda count: None, **options)


@pytest.mark.parametrize("subset", ["train", "val", "test"])
def test_a_subset_has_the_metrics_that_training_records(predictor, data, subset):
    found = recompute_metrics.of_subset("gru", predictor.bundle, data, subset)
    assert list(found.clips) == [
        clip for clip in data.features.clips if {"train": "g01", "val": "g02", "test": "g03"}[subset] in clip
    ]
    answers = Answers(np.array(found.clips), found.labels, found.clusters, found.logits, found.logits[None], {})
    recorded = record.accuracies(subset, answers)
    assert recompute_metrics.differences(found, subset, recorded) == []
    recorded[f"{subset}_loss"] += 1e-9
    assert len(recompute_metrics.differences(found, subset, recorded)) == 1


def test_a_folder_of_clips_has_the_metrics_of_their_cached_features(predictor, data, folder, tmp_path):
    """The same clips, decoded again: those of validation and test, which training predicts together."""
    for clip in folder.rglob("*_g0[23]_*.avi"):
        (tmp_path / "again" / clip.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, tmp_path / "again" / clip.parent.name)
    done = []
    found = recompute_metrics.of_folder(predictor, ClipFiles(tmp_path / "again"), find_clips(tmp_path / "again"), done.append)
    assert sum(done) == 6
    write_tar(tmp_path / "tar/a.tar", {clip: (tmp_path / "again" / clip).read_bytes() for clip in found.clips})
    shards = tar_shards.scan(tmp_path / "tar")
    files, clips = ClipFiles(tmp_path / "tar", shards.members), find_clips(tmp_path / "tar", shards=shards)
    of_shards = recompute_metrics.of_folder(predictor, files, clips, done.append)
    assert of_shards.clips == found.clips
    assert np.array_equal(of_shards.logits, found.logits)
    cached = [recompute_metrics.of_subset("gru", predictor.bundle, data, subset) for subset in ("val", "test")]
    for one in cached:
        rows = np.isin(found.clips, one.clips)
        assert np.array_equal(found.logits[rows], one.logits)
        assert np.array_equal(found.labels[rows], one.labels)


def test_clips_that_cannot_be_decoded_are_counted_and_not_scored(predictor, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "raw")
    broken = tmp_path / "raw" / "Bright" / "broken.avi"
    broken.write_bytes(b"no video")
    found = of_folder(predictor, tmp_path / "raw", max_failed=0.2)
    assert list(found.failed) == ["Bright/broken.avi"]
    assert len(found.clips) == 9
    assert found.summary()["failed"] == 1
    with pytest.raises(VideoError, match=r"1 of 10 clips cannot be decoded \(allowed: 2\.0% of them\)(?s:.*)--max-failed"):
        of_folder(predictor, tmp_path / "raw")


def test_a_class_that_the_model_does_not_know_raises_an_error(predictor, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "raw")
    (tmp_path / "raw" / "Dark").rename(tmp_path / "raw" / "Gloomy")
    with pytest.raises(DataError, match=r"classes that gru does not know: Gloomy\. It knows Bright, Dark, Striped"):
        of_folder(predictor, tmp_path / "raw")


def test_a_folder_may_have_some_of_the_classes(predictor, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "raw")
    shutil.rmtree(tmp_path / "raw" / "Bright")
    found = of_folder(predictor, tmp_path / "raw")
    assert set(found.labels) == {1, 2}
    assert found.logits.shape == (6, 3)


def test_features_of_another_making_are_refused(predictor, data, tmp_path):
    other = load_bundle(bundles.tiny_bundle(tmp_path / "other", weights_sha256="cd" * 32))
    with pytest.raises(DataError, match="trained on other features than those in data/features"):
        recompute_metrics.of_subset("gru", other, data, "test")
    other = load_bundle(bundles.tiny_bundle(tmp_path / "more", class_names=["Bright", "Dark", "Plain"]))
    with pytest.raises(DataError, match=r"know different classes \(not in both: Plain, Striped"):
        recompute_metrics.of_subset("gru", other, data, "test")


def test_an_empty_subset_raises_an_error(predictor, data):
    without = dataclasses.replace(data, rows={**data.rows, "val": data.rows["val"][:0]})
    with pytest.raises(DataError, match="no val clips; it has"):
        recompute_metrics.of_subset("gru", predictor.bundle, without, "val")


def test_the_summary_counts_sources_and_answers(predictor, data):
    found = recompute_metrics.of_subset("gru", predictor.bundle, data, "test")
    known = found.summary()
    assert known["clips"] == known["sources"] == 3
    assert known["top1"] == metrics.top_k(found.logits, found.labels, 1)
    assert known["top1_low"] <= known["top1"] <= known["top1_high"]
    assert known["answered"] == 1.0
    assert [name for name, _, _ in found.per_class()] == bundles.CLASSES
