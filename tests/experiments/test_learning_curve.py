import csv
import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from commands import actionrec
from fabricate import train_settings
from projects import edit_params

from actionrec.core import paths
from actionrec.core.errors import DataError, ParamsError
from actionrec.data.clips import Clip, write_clips
from actionrec.data.splits import SplitSettings, divide, write_split
from actionrec.evaluation.predictions import Answers, Predictions
from actionrec.experiments import learning_curve, part_runs
from actionrec.features import feature_store
from actionrec.features.feature_store import FeatureSet
from actionrec.models import MODELS
from actionrec.training.recipes import Recipe
from actionrec.training.training_data import TrainingData

ROOT = Path(__file__).parents[2]
RECIPE = Recipe(0, train_settings(), {"hidden_dim": 4, "dropout": 0.0})


def training_data(groups: dict[str, list[int]], *, held_out=4) -> TrainingData:
    """Classes with training groups of these sizes, and a few validation and test clips."""
    names = sorted(groups)
    clips, labels, clusters, subsets = [], [], [], []
    cluster = 0
    for number, name in enumerate(names):
        for subset, sizes in (("train", groups[name]), ("val", [1] * held_out), ("test", [1] * held_out)):
            for size in sizes:
                for _ in range(size):
                    clips.append(f"{name}/{len(clips):03}.avi")
                    labels.append(number)
                    clusters.append(cluster)
                    subsets.append(subset)
                cluster += 1
    rows = {subset: np.flatnonzero(np.array(subsets) == subset) for subset in ("train", "val", "test")}
    features = FeatureSet(clips, np.zeros((len(clips), 2, 3), dtype=np.float16), {"backbone": "resnet50", "weights": "random"})
    return TrainingData(np.array(labels), names, np.array(clusters), rows, features)


DATA = training_data({"a": [2] * 12, "b": [1, 3, 2, 2, 5, 1, 1, 2], "c": [4] * 9})


def test_subsets_are_nested_whole_sources_that_grow_by_a_quarter():
    subsets = learning_curve.nested_subsets(DATA, 0)
    assert [len(np.unique(DATA.clusters[rows])) for rows in subsets] == pytest.approx([29 / 4, 29 / 2, 29 * 3 / 4, 29], abs=2)
    assert np.array_equal(subsets[-1], DATA.rows["train"])
    for smaller, larger in pairwise(subsets):
        assert set(smaller) < set(larger)
    for rows in subsets:
        others = np.setdiff1d(DATA.rows["train"], rows)
        assert not set(DATA.clusters[rows]) & set(DATA.clusters[others])
        assert set(DATA.labels[rows]) == {0, 1, 2}


def test_each_class_grows_by_about_a_quarter():
    subsets = learning_curve.nested_subsets(DATA, 0)
    for label in range(3):
        clips = [int((DATA.labels[rows] == label).sum()) for rows in subsets]
        assert clips == pytest.approx([clips[-1] * share for share in (0.25, 0.5, 0.75, 1)], abs=4)


def test_the_seed_decides_the_subsets():
    first, again, other = (learning_curve.nested_subsets(DATA, seed)[0].tolist() for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_a_class_with_a_single_source_is_in_every_subset():
    data = training_data({"a": [2] * 12, "b": [2] * 12, "lonely": [3]})
    for seed in range(5):
        for rows in learning_curve.nested_subsets(data, seed):
            assert (data.labels[rows] == 2).sum() == 3


@pytest.mark.parametrize("groups", [{"a": [9], "b": [9, 9]}, {name: [3] for name in "abcdef"}])
def test_too_few_sources_are_refused(groups):
    with pytest.raises(DataError, match=r"data/split.csv: too few training sources for a learning curve; got \d for \d classes"):
        learning_curve.nested_subsets(training_data(groups), 0)


@pytest.mark.parametrize("clips", [10, 23, 31, 40])
def test_all_trainings_take_about_the_same_number_of_steps(clips):
    train = train_settings(epochs=20, step_size=5, warmup_epochs=1.5, batch_size=1)
    own = learning_curve.equal_steps(Recipe(0, train, {}), clips, 40).train
    assert own.epochs * clips == pytest.approx(20 * 40, rel=0.03)
    assert own.step_size * clips == pytest.approx(5 * 40, rel=0.1)
    assert own.warmup_epochs * clips == pytest.approx(1.5 * 40)
    assert clips < 40 or own == train


def test_the_runs_differ_in_their_training_clips_alone():
    runs = learning_curve.runs(DATA, "features", "gru", RECIPE, "cpu")
    assert [run.part for run in runs] == [f"{part} of the training sources" for part in ("1/4", "2/4", "3/4", "all")]
    assert runs[-1].recipe == RECIPE
    assert len({run.predictions for run in runs}) == 4
    for run in runs:
        assert np.array_equal(run.task.rows["test"], DATA.rows["test"])
        assert np.array_equal(run.task.rows["val"], DATA.rows["val"])
    again = learning_curve.runs(DATA, "features", "gru", RECIPE, "cpu")
    others = learning_curve.runs(DATA, "other features", "gru", RECIPE, "cpu")
    assert [run.predictions for run in runs] == [run.predictions for run in again]
    assert not {run.predictions for run in runs} & {run.predictions for run in others}


def test_arguments_that_do_not_fit_are_refused_before_training():
    recipe = replace(RECIPE, arguments={"d_model": 6, "num_heads": 4, "num_layers": 1, "ff_dim": 8, "dropout": 0.0})
    with pytest.raises(ParamsError, match=r"models\.transformer"):
        learning_curve.runs(DATA, "", "transformer", recipe, "cpu")


def predictions(correct: list[list[bool]]) -> Predictions:
    """(S, n) answers to the test clips of classes 0 and 1 in turn, each clip from a source of its own."""
    count = len(correct[0])
    labels = np.arange(count) % 2
    logits = np.zeros((len(correct), count, 2), dtype=np.float32)
    for seed, row in enumerate(correct):
        for place, hit in enumerate(row):
            logits[seed, place, labels[place] if hit else 1 - labels[place]] = 1
    clips = np.array([f"{place:03}.avi" for place in range(count)])
    answers = Answers(clips, labels, np.arange(count), logits[0], logits, {})
    subsets, folds = np.array(["test"] * count), np.zeros(count, dtype=np.int64)
    return Predictions(answers, subsets, tuple(range(len(correct))), folds, 0)


def curve_of(*shares: float, count: int = 60, seeds: int = 1) -> learning_curve.Curve:
    """A curve with these accuracies."""
    runs = learning_curve.runs(DATA, "", "gru", RECIPE, "cpu")
    answered = [predictions([[place < share * count for place in range(count)]] * seeds) for share in shares]
    return learning_curve.curve(runs, answered)


def test_the_curve_has_the_accuracies_and_the_gain_of_the_last_quarter():
    curve = curve_of(0.3, 0.5, 0.6, 0.9)
    assert [point.top1 for point in curve.points] == pytest.approx([0.3, 0.5, 0.6, 0.9])
    assert [point.clips for point in curve.points][-1] == len(DATA.rows["train"])
    assert [point.sources for point in curve.points][-1] == 29
    assert all(point.interval.low < point.top1 < point.interval.high for point in curve.points)
    assert curve.gain.difference == pytest.approx(0.3)
    assert curve.gain.is_real
    assert (curve.test_clips, curve.test_sources, curve.majority_accuracy) == (60, 60, 0.5)


def test_over_seeds_the_mean_is_counted():
    runs = learning_curve.runs(DATA, "", "gru", RECIPE, "cpu")
    curve = learning_curve.curve(runs, [predictions([[True] * 8, [True] * 4 + [False] * 4])] * 4)
    assert curve.seeds == (0, 1)
    assert (curve.points[0].top1, curve.points[0].by_seed) == (0.75, (1.0, 0.5))


@pytest.mark.parametrize("summary", [None, [], {}, {"best": "nothing"}, {"best": ["gru"]}])
def test_without_a_best_model_one_must_be_named(summary):
    with pytest.raises(DataError, match=r"metrics/summary.json does not say which model is the best\. .* with --model"):
        learning_curve.default_model(summary, list(MODELS))
    assert learning_curve.default_model({"best": "gru"}, list(MODELS)) == "gru"


def test_the_protocol_is_in_one_line():
    group, official = SplitSettings("group", 5, 2, 0.2), SplitSettings("official", 5, 1, 0.2)
    assert learning_curve.phrase("mine", group, DATA) == (
        "mine, group split, fold 2 of 5; epoch chosen on validation clips; resnet50, UNTRAINED"
    )
    without = replace(DATA, rows={**DATA.rows, "val": DATA.rows["val"][:0]})
    assert "official split 1; epoch chosen on test clips" in learning_curve.phrase("mine", official, without)


@pytest.fixture
def featured(project):
    """A project with features, in which each source adds something: a class has a direction, blurred by its sources."""
    random = np.random.default_rng(0)
    clips, shard = [], {}
    for label in ("a", "b"):
        for group in range(1, 31):
            offset = random.normal(0.7 if label == "a" else -0.7, 1.0, 8)
            name = f"{label}/v_{label}_g{group:02d}_c01.avi"
            clips.append(Clip(name, label, f"g{group:02d}", 1, name))
            shard[name] = (offset + random.normal(0, 0.1, (4, 8))).astype(np.float16)
    write_clips(paths.CLIPS, clips)
    write_split(paths.SPLIT, divide(clips, SplitSettings("group", 5, 0, 0.2), 0))
    paths.FEATURES.mkdir(parents=True)
    feature_store.write_shard(paths.FEATURES / "shard-0000.safetensors", shard, {"backbone": "resnet50", "weights": "random"})
    shutil.copy(ROOT / "params.yaml", project)
    edit_params(project, {"train.epochs": 3, "train.batch_size": 4, "model.hidden_dim": 4, "data.dataset": "made"})
    return project


@pytest.mark.slow
def test_the_command_trains_once_and_writes_report_table_and_plot(featured):
    before = (featured / "params.yaml").read_bytes()
    paths.SUMMARY.parent.mkdir()
    paths.SUMMARY.write_text(json.dumps({"best": "mean_pool"}))
    done = actionrec("learning-curve", "--seeds", "0,1", "--jobs", 1, cwd=featured)
    assert done.returncode == 0, done.stderr
    output = featured / part_runs.STORE
    assert done.stdout == (output / "report.md").read_text()
    assert done.stdout.startswith("# Learning curve of mean_pool\n\n**")
    assert (output / "curve.png").read_bytes().startswith(b"\x89PNG")
    with (output / "curve.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["part"], row["seed"]) for row in rows] == [(part, seed) for part in learning_curve.PARTS for seed in "01"]
    trained = {file.name: file.stat().st_mtime_ns for file in output.glob("*.npz")}
    assert len(trained) == 4

    again = actionrec("learning-curve", "--seeds", "0,1", "--json", "--output", "elsewhere", cwd=featured)
    assert again.returncode == 0, again.stderr
    assert "4 of 4 training runs are cached from an earlier run" in again.stderr
    assert {file.name: file.stat().st_mtime_ns for file in output.glob("*.npz")} == trained
    known = json.loads(again.stdout)
    assert (known["model"], known["seeds"], len(known["points"])) == ("mean_pool", [0, 1], 4)
    assert (featured / "elsewhere/report.md").read_text() == done.stdout
    assert (featured / "params.yaml").read_bytes() == before
    assert not paths.MODELS.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "metrics/summary.json is missing."),
        (["--model", "gruu"], "unknown model 'gruu'"),
        (["--model", ""], "--model is empty."),
        (["--seeds", "0,0"], "expected different whole numbers from 0, separated by commas; got '0,0'"),
        (["--seeds", "a"], "expected different whole numbers from 0, separated by commas; got 'a'"),
    ],
)
def test_bad_input_is_one_clear_error(featured, arguments, message):
    done = actionrec("learning-curve", *arguments, cwd=featured)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_failing_training_is_named(featured):
    edit_params(featured, {"train.learning_rate": 3e38})
    done = actionrec("learning-curve", "--model", "simple_rnn", "--jobs", 1, cwd=featured)
    assert done.returncode == 2
    assert "error: simple_rnn, 1/4 of the training sources: the loss is not finite in the first epoch" in done.stderr
    assert not (featured / part_runs.STORE / "report.md").exists()
