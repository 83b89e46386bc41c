import csv
import io
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from fabricate import predictions, trained
from projects import ROOT, edit_params

from actionrec.core import paths
from actionrec.evaluation import suspect_labels
from actionrec.evaluation.calibration import softmax
from actionrec.evaluation.predictions import pooled
from actionrec.evaluation.suspect_labels import HEADER, check_labels, csv_rows
from actionrec.evaluation.trained_models import read_model
from actionrec.io.files import write_rows_for_spreadsheets
from stages import extract_frames, finetune, resnet_features, split, train

CLASSES = 6


def answering(name, labels, *, right, seed, sharpness=3.0):
    """A model that is right on a share of the clips, whatever their labels say, and surer where it is right."""
    random = np.random.default_rng(seed)
    truth = np.arange(len(labels)) % CLASSES
    answers = np.where(random.random(len(labels)) < right, truth, random.integers(0, CLASSES, len(labels)))
    logits = random.normal(0, 0.5, (len(labels), CLASSES)).astype(np.float32)
    logits[np.arange(len(labels)), answers] += np.where(answers == truth, sharpness, sharpness / 2)
    clips = np.array([f"{place:04}.avi" for place in range(len(labels))])
    made = predictions(clips, labels, np.full(len(labels), "test"), logits)
    return replace(trained(name, [True] * 4, classes=CLASSES), predictions=made)


def swapped(count, share, seed):
    """Labels of which a share is wrong, and where."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    wrong = random.choice(count, round(share * count), replace=False)
    labels[wrong] = (labels[wrong] + random.integers(1, CLASSES, len(wrong))) % CLASSES
    return labels, set(wrong.tolist())


def two(labels):
    return [answering("gru", labels, right=0.85, seed=1), answering("lstm", labels, right=0.82, seed=2)]


@pytest.mark.parametrize("seed", range(5))
def test_at_least_80_percent_of_swapped_labels_are_in_the_top_tenth(seed):
    labels, wrong = swapped(400, 0.05, seed)
    checks = check_labels(two(labels), ())
    assert len(checks) == 400
    top = {int(one.clip[:4]) for one in checks[:40]}
    assert len(top & wrong) >= 0.8 * len(wrong)
    found = {int(one.clip[:4]) for one in checks if one.suspect}
    assert len(found & wrong) >= 0.5 * len(wrong)  # the list of suspects is short ...
    assert len(found & wrong) >= 0.8 * len(found)  # ... and mostly right


def test_right_labels_that_models_are_sure_of_are_not_suspect():
    labels = np.arange(60) % CLASSES
    sure = [answering("gru", labels, right=1.0, seed=1, sharpness=9.0)]
    assert not any(one.suspect for one in check_labels(sure, ()))


def test_a_check_has_the_mean_of_the_calibrated_probabilities():
    labels, _ = swapped(60, 0.1, 0)
    gru, lstm = two(labels)
    gru = replace(gru, temperature=2.0)
    checks = check_labels([gru, lstm], ())
    mean = (softmax(gru.test.logits, 2.0) + softmax(lstm.test.logits)) / 2
    one = checks[0]
    row = int(one.clip[:4])
    assert one.probability_of_label == pytest.approx(mean[row, labels[row]], rel=1e-5)
    assert one.probability_of_suggestion == pytest.approx(mean[row].max(), rel=1e-5)
    assert (one.label, one.suggestion) == ("abcdef"[labels[row]], "abcdef"[mean[row].argmax()])
    own = [one.probability_of_label for one in checks]
    assert own == sorted(own)


def test_models_to_avoid_have_no_say_unless_there_are_no_others():
    labels, _ = swapped(120, 0.05, 0)
    gru, lstm = two(labels)
    assert check_labels([gru, lstm], {"lstm": "at chance"}) == check_labels([gru], ())
    unreliable = check_labels([gru, lstm], ("gru", "lstm"))
    assert unreliable == [replace(one, suspect=False) for one in check_labels([gru, lstm], ())]


def test_models_that_only_guess_make_no_label_suspect():
    labels = np.arange(60) % CLASSES
    guessing = [answering("gru", labels, right=0.0, seed=1)]
    assert any(one.suspect for one in check_labels(guessing, ()))
    assert not any(one.suspect for one in check_labels(guessing, {"gru": "at chance"}))


def test_a_clip_that_several_folds_test_has_one_check_with_its_mean_probability():
    labels, _ = swapped(60, 0.1, 0)
    [one] = [answering("gru", labels, right=0.85, seed=1)]
    [other] = [answering("gru", labels, right=0.85, seed=2)]
    again = replace(other.predictions, answers=other.predictions.answers.chosen(np.arange(60) < 20))
    again = replace(again, subsets=again.subsets[:20], folds=np.full(20, 1))
    checks = check_labels([replace(one, predictions=pooled(one.predictions, [again]))], ())
    probabilities = softmax(one.test.logits)
    probabilities[:20] = (probabilities[:20] + softmax(other.test.logits)[:20]) / 2
    assert sorted(check.clip for check in checks) == one.test.clips.tolist()
    for check in checks:
        row = int(check.clip[:4])
        assert check.label == "abcdef"[labels[row]]
        assert check.probability_of_label == pytest.approx(probabilities[row, labels[row]], rel=1e-5)
        assert check.probability_of_suggestion == pytest.approx(probabilities[row].max(), rel=1e-5)


def test_blocks_change_nothing_and_float32_finds_the_same_suspects(monkeypatch):
    labels, _ = swapped(400, 0.05, 0)
    models = two(labels)
    once = models[0].predictions
    again = replace(once, answers=once.answers.chosen(np.arange(400) % 3 == 0), folds=np.full(134, 1))
    models = [replace(one, predictions=pooled(one.predictions, [replace(again, subsets=again.subsets[:134])])) for one in models]
    expected = check_labels(models, ())
    monkeypatch.setattr(suspect_labels, "_BLOCK", 7 * 2 * CLASSES)  # 7 clips
    assert check_labels(models, ()) == expected
    monkeypatch.setattr(suspect_labels, "_WIDE", 0)
    found = {one.clip: one for one in check_labels(models, ())}
    assert [found[one.clip].suspect for one in expected] == [one.suspect for one in expected]
    own = [found[one.clip].probability_of_label for one in expected]
    np.testing.assert_allclose(own, [one.probability_of_label for one in expected], rtol=1e-5)


@pytest.mark.parametrize("labels", [np.zeros(5, dtype=int), np.array([0, 0, 3, 3, 3]), np.arange(1)])
def test_few_clips_and_classes_without_clips_are_no_error(labels):
    checks = check_labels([answering("gru", labels, right=1.0, seed=0)], ())
    assert len(checks) == len(labels)


def test_the_table_has_every_clip_and_cannot_run_formulas():
    labels, _ = swapped(60, 0.1, 0)
    checks = check_labels(two(labels), ())
    checks[0] = replace(checks[0], clip="=1+1.avi")
    stream = io.StringIO()
    write_rows_for_spreadsheets(stream, [HEADER, *csv_rows(checks)])
    rows = list(csv.DictReader(stream.getvalue().splitlines()))
    assert rows[0]["clip"] == "'=1+1.avi"
    assert [int(row["rank"]) for row in rows] == list(range(1, 61))
    assert {row["suspect"] for row in rows} == {"yes", "no"}
    assert float(rows[5]["probability_of_label"]) == pytest.approx(checks[5].probability_of_label, abs=1e-4)


@pytest.mark.slow
def test_swapped_labels_of_the_sample_are_in_the_list_s_top_tenth(project, monkeypatch):
    """5 of the sample's 96 clips have the label of another class; a small GRU predicts each clip from the other folds."""
    for name, value in {"ACTIONREC_DEVICE": "cpu", "ACTIONREC_RUNTIME": "torch"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["stages.train", "gru"])
    shutil.copytree(ROOT / "data/raw/sample", paths.RAW / "sample")
    for file in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / file, file)
    edit_params(
        project,
        {
            "evaluation.folds": "all",
            "frames.count": 8,
            "frames.resolution": 112,
            "features.backbone": "resnet18",
            "model.hidden_dim": 64,
        },
    )
    wrong = mislabel(paths.RAW / "sample" / "clips.csv", count=5)
    for stage in (split, extract_frames, finetune, resnet_features, train):
        stage.main()
    checks = check_labels([read_model("gru")], ())
    assert len(checks) == 96
    assert len(wrong & {one.clip for one in checks[:10]}) >= 4


def mislabel(index, count):
    """Give some clips of a clips.csv the label of another class; return the clips."""
    with index.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    labels = sorted({row["label"] for row in rows})
    random = np.random.default_rng(0)
    chosen = random.choice(len(rows), count, replace=False)
    for place in chosen:
        rows[place]["label"] = random.choice([label for label in labels if label != rows[place]["label"]])
    with index.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return {rows[place]["clip"] for place in chosen}
