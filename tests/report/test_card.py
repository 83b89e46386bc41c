import contextlib
import csv
import io
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import finished
import numpy as np
import pytest
from bundles import clips
from commands import actionrec
from fabricate import BASELINES
from ruamel.yaml import YAML

from actionrec.core import paths
from actionrec.models import MODELS
from actionrec.report.card import RIGHTS, card, relocated
from actionrec.video.frame_settings import Snippet
from stages import package

ROOT = Path(__file__).parents[2]
CLASSES = ("Bright", "Dark", "Striped", "wave", "turn_left", "turn_right")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A fabricated run: the current folder of tests that ask for it."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        finished.fabricated(CLASSES)
    return folder


@pytest.fixture
def evidence(run, monkeypatch):
    monkeypatch.chdir(run)
    return package.gather()


def front(text):
    _, yaml, body = text.split("---\n", 2)
    return YAML(typ="safe", pure=True).load(yaml), body


def rows(text):
    """First cell -> the others, of every table in a card."""
    tables = [[cell.strip() for cell in line[2:-2].split(" | ")] for line in text.splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for cells in tables if not cells[0].startswith("--")}


def recorded(name):
    compared = json.loads(paths.COMPARISON.read_text())
    return json.loads(paths.model_metrics(name).read_text()), compared, compared["models"][name]


def percent(share):
    return f"{100 * share:.1f}"


def ends(record, key):
    return f"{percent(record[f'{key}_low'])}–{percent(record[f'{key}_high'])}"


@pytest.mark.parametrize("name", MODELS)
def test_numbers_match_the_run_s_records(evidence, name):
    text = card(evidence[name])
    numbers, compared, standing = recorded(name)
    cells = rows(text)
    assert cells["top-1"] == [percent(numbers["test_top1"]), ends(standing, "top1"), ends(standing, "top1_wilson")]
    assert cells["top-5"] == [percent(numbers["test_top5"]), ends(standing, "top5"), ""]
    assert cells["mean class"][0] == percent(numbers["test_mean_class"])
    assert cells["top-1 on validation clips"][0] == percent(numbers["val_top1"])
    assert cells["always the most frequent class"][0] == percent(compared["most_frequent_class"])
    assert f"number {standing['rank']} of the {len(MODELS)} models" in text
    gains = [gain for gain in compared["gains"] if gain["model"] == name]
    assert {gain["baseline"] for gain in gains} == (set() if standing["order_blind"] else set(BASELINES))
    for gain in gains:
        baseline = compared["models"][gain["baseline"]]
        assert cells[gain["baseline"]][:2] == [percent(baseline["top1"]), f"{round(100 * gain['difference'], 1) + 0.0:+.1f}"]
        assert cells[gain["baseline"]][-1] == gain["verdict"]
    ece, after = percent(numbers["test_ece"]), percent(numbers["test_ece_calibrated"])
    if numbers["temperature_fitted"]:
        assert f"by {ece} points before calibration and by {after} after it" in text
        assert f"a temperature of {numbers['temperature']:.3g}" in text
    else:
        assert numbers["val_top1"] == 1
        assert f"no temperature could be fitted.\nConfidence and accuracy on the test clips differ by {ece} points" in text
    assert numbers["threshold"] == 0
    assert "No threshold was fitted, since that needs 60 correct validation predictions" in text
    [order] = [one for one in compared["order_of_frames"] if one["model"] == name]
    assert f"{percent(order['shuffled'])} % shuffled, {percent(order['reversed'])} % reversed" in text
    assert f"| parameters | {23_508_032 + numbers['parameters']:,} | {numbers['parameters']:,} |" in text
    assert f"| GFLOPs | {261.576720384 + numbers['flops'] / 1e9:,.2f} | {numbers['flops'] / 1e9:,.4f} |" in text
    solved = name in BASELINES
    assert (f"epoch {numbers['best_epoch']} of {numbers['epochs']} was kept" in text) != solved
    assert ("logistic regression, solved exactly: no epoch was chosen" in text) == solved
    assert ("| `learning_rate` |" in text) != solved
    assert f"**{numbers['health']}**" in text
    wrong = round((1 - numbers["test_top1"]) * numbers["test_clips"])
    section = text.split("## Test clips that it gets wrong")[1].split("\n## ")[0]
    assert (f"\n{wrong} of {numbers['test_clips']}, highest confidence first" in section) if wrong else ("None of" in section)
    with paths.CLASS_SCORES.open(newline="") as stream:
        for row in csv.DictReader(stream):
            if row["model"] == name:
                scores = [percent(float(row[key])) for key in ("precision", "recall", "f1")]
                assert cells[row["class"]] == [row["test_clips"], *scores]


@pytest.mark.parametrize("name", MODELS)
def test_front_matter_has_the_entries_that_hugging_face_reads(evidence, name):
    about, body = front(card(evidence[name]))
    numbers, _, _ = recorded(name)
    assert (about["library_name"], about["license"], about["pipeline_tag"]) == ("actionrec", "mit", "video-classification")
    [model] = about["model-index"]
    [result] = model["results"]
    assert model["name"] == name
    assert result["task"]["type"] == "video-classification"
    assert {"type", "name"} <= set(result["dataset"])
    assert [one["value"] for one in result["metrics"]] == [
        numbers[key] for key in ("test_top1", "test_top5", "test_mean_class", "test_ece_calibrated")
    ]
    assert body.startswith(f"\n# {name}, trained on sample\n")


def test_ties_wins_and_losses_match_the_comparison(evidence):
    _, compared, _ = recorded("transformer")
    text = card(evidence["transformer"])  # at chance, by fabrication
    better = [pair["a"] for pair in compared["pairs"] if pair["b"] == "transformer" and pair["verdict"] != "no difference shown"]
    assert len(better) == 9
    assert "**Significantly less accurate than " in text
    assert all(name in text for name in better)
    assert "**Not shown to be better than always predicting" in text
    assert "**The comparison advises against this model**: not shown to be better than always" in text
    best = card(evidence[compared["best"]])
    assert "ranked first on these same test clips" in best
    [ahead] = re.findall(r"Significantly more accurate than (.*)\.", best)
    assert set(re.split(", | and ", ahead)) == {
        pair["b"] for pair in compared["pairs"] if pair["a"] == compared["best"] and pair["verdict"] != "no difference shown"
    }


def test_misclassified_clips_match_the_predictions(evidence):
    one = evidence["stacked_lstm"]
    test = one.model.test
    wrong = np.flatnonzero(test.logits.argmax(axis=1) != test.labels)
    assert len(wrong)
    text = card(one)
    for row in wrong:
        label, answer = CLASSES[test.labels[row]], CLASSES[test.logits[row].argmax()]
        assert rows(text)[str(test.clips[row])][:2] == [label, answer]


@pytest.mark.slow
def test_commands_and_python_lines_of_the_card_run(run, monkeypatch, tmp_path):
    """Here for a model whose backbone is there without a download."""
    monkeypatch.chdir(tmp_path)
    finished.fabricated(CLASSES, weights="random")
    text = card(package.gather()["gru"])
    clips(tmp_path, count=1, frames=30)[0].rename("clip.mp4")
    Path("film.mp4").symlink_to("clip.mp4")
    [console] = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    answers = []
    for line in console.splitlines():
        done = actionrec(*line.removeprefix("$ actionrec ").split(), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        answers.append(done.stdout)
    assert Path("why.png").is_file()
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, {})
    [(label, share), *_] = eval(printed.getvalue())
    assert label in CLASSES
    assert f"{100 * share:.1f} %" in answers[0]


def test_threshold_and_missing_temperature_are_stated(evidence):
    one = evidence["gru"]
    text = card(replace(one, metrics={**one.metrics, "temperature": 1.0, "temperature_fitted": False, "threshold": 0.42}))
    assert "**Not calibrated**: all 16 validation clips are classified correctly, so no temperature could be fitted." in text
    assert "a temperature of" not in text
    assert "A prediction with a confidence below 42.0 % is marked as unsure" in text


def test_an_untrained_backbone_is_stated_first(evidence):
    one = evidence["gru"]
    assert "untrained" not in card(one).lower()
    text = card(replace(one, context=replace(one.context, weights="random")))
    about, body = front(text)
    assert "untrained-backbone" in about["tags"]
    assert body.strip().splitlines()[2].startswith("**The backbone is untrained**")
    assert "UNTRAINED" in rows(text)["backbone"][0]


def test_without_validation_clips_the_card_is_whole_and_warns_the_reader(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finished.fabricated(("a", "b|*", "c"), test=21, val=0, split={"protocol": "random", "duplicated_clips": 2})
    text = card(package.gather()["lstm"])
    assert "**Not calibrated**" in text
    assert rows(text)["epoch chosen on"] == ["**the test clips**"]
    assert "**The epoch was chosen on the test clips**: every accuracy here is too high" in text
    assert "top-1 on validation clips" not in text
    assert "2 clips are byte-for-byte copies" in text
    assert "None" not in text.replace("None of", "")
    assert all(line.count(" | ") == 3 for line in text.splitlines() if line.startswith("| top-1"))


def test_with_several_seeds_the_card_has_the_bundle_s_accuracy_and_the_mean(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finished.fabricated(CLASSES, seeds=(0, 1, 2))
    text = card(package.gather()["gru"])
    numbers, _, standing = recorded("gru")
    cells = rows(text)
    assert cells["top-1, this bundle"] == [percent(numbers["test_top1"]), "", ""]
    assert cells["top-1, 3 seeds"][0] == f"{percent(numbers['test_top1_mean'])} ± {percent(numbers['test_top1_std'])}"
    assert cells["top-1, 3 seeds"][1] == ends(standing, "top1")
    assert "3 training runs; this is the one with seed 0;" in text


def test_an_official_split_and_weights_from_a_file_are_named(evidence):
    one = evidence["gru"]
    official = replace(one.context, protocol="official", fold=2, dataset="hmdb51", weights="mine.safetensors")
    text = card(replace(one, context=official))
    assert rows(text)["split"] == ["official split 2, seed 0"]
    assert "Lists that come with the data set say" in text
    assert "CC BY 4.0" in text
    assert "pass it with `--backbone`, or copy it into the bundle's folder as `backbone.safetensors`" in text


def test_streams_are_named_unless_they_are_rgb_alone(evidence):
    one = evidence["gru"]
    text = card(one)
    assert "streams" not in rows(text)
    assert "recognises scenes, not motion" in text
    both, alone = (card(replace(one, context=replace(one.context, streams=streams))) for streams in (("rgb", "diff"), ("diff",)))
    assert rows(both)["streams"] == ["rgb, diff"]
    assert "a frame's features are those of rgb, then diff, side by side." in both
    assert "The features of one frame show motion, too, so these changes hide only the order of the frames." in both
    assert rows(alone)["streams"] == ["diff"]
    assert "sees the differences of neighbouring frames (`diff`) instead of the frames." in alone


def test_snippets_are_described(evidence):
    one = evidence["gru"]
    assert "8 frames, evenly spaced over the clip, pass one by one through a frozen image network" in card(one)
    assert "snippet" not in card(one)
    context = replace(one.context, backbone="r3d_18", snippet=Snippet(16, 15.0))
    video = card(replace(one, context=context))
    assert (
        "8 snippets of 16 frames at 15 frames per second, evenly spaced over the clip, pass through a frozen video network" in video
    )
    assert "Whole snippets were shuffled, reversed or repeated; the frames within a snippet kept their order." in video
    assert "The features of one snippet show motion, too, so these changes hide only the order of the snippets." in video
    image = card(replace(one, context=replace(context, backbone="resnet18")))
    assert "frozen image network, resnet18; the features of a snippet are the mean over its frames." in image
    assert "A model that is as accurate with the middle frame alone recognises scenes, not motion." in image


def test_leaks_and_gaps_of_the_split_are_limits(evidence):
    one = evidence["gru"]
    leaky = replace(one.context, sibling_share=0.25, clips_without_group=7, classes_without_test_clips=("x_1",), padded=3)
    limits = card(replace(one, context=leaky)).split("\n## Limits")[1].split("\n## ")[0]
    assert "**The split leaks**: 25.0 %" in limits
    assert "The names of 7 of" in limits
    assert "No test clips, so no results, for: x_1." in limits
    assert "3 clips are too short for 8 different frames" in limits


def test_rights_match_the_docs():
    table = (ROOT / "docs/data.md").read_text()
    for name, rights in RIGHTS.items():
        [row] = [line for line in table.splitlines() if line.startswith(f"| `{name}`")]
        assert row.endswith(f"| {rights} |")


@pytest.mark.parametrize("folder", ["metrics/cards", "data/best"])
def test_links_work_from_both_folders(evidence, folder):
    links = re.findall(r"\]\(([^)]+)\)", card(evidence["gru"]))
    assert links
    there = [ROOT / folder / link for link in links]
    assert all(Path(os.path.normpath(path)).is_file() for path in there)


def test_names_that_look_like_links_stay_unchanged():
    assert relocated("[all](per_class.csv), [how](../docs/protocols.md)") == (
        "[all](../../metrics/per_class.csv), [how](../../docs/protocols.md)"
    )
    assert relocated("a\\](b.csv)") == "a\\](b.csv)"


def test_only_the_first_in_rank_is_said_to_be_ranked_first(evidence):
    """A cheaper model within the margin can be the one to deploy."""
    ranks = {name: one.entry["rank"] for name, one in evidence.items()}
    second = next(name for name, rank in ranks.items() if rank == 2)
    for name, one in evidence.items():
        text = card(replace(one, comparison={**one.comparison, "best": second}))
        assert ("It was ranked first on these same test clips" in text) == (ranks[name] == 1)


def test_a_baseline_is_not_said_to_use_the_order_of_frames(evidence):
    """Even if shuffling costs accuracy, as where middle_frame sees another frame."""
    one = evidence["middle_frame"]
    orders = [{**row, "verdict": "better", "p": 0.001} for row in one.comparison["order_of_frames"]]
    text = card(replace(one, comparison={**one.comparison, "order_of_frames": orders}))
    assert "The baseline middle_frame reads the 8 feature vectors" in text
    assert "**It ignores the order of frames**: it is a baseline" in text
    assert "It uses the order of frames" not in text
    gru = evidence["gru"]
    assert "**It uses the order of frames** (p 0.001" in card(
        replace(gru, comparison={**gru.comparison, "order_of_frames": orders})
    )


def test_over_all_folds_the_card_tells_the_bundle_s_numbers_from_those_of_all_folds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finished.fabricated(CLASSES, test=60, folds=3)
    one = package.gather()["stacked_lstm"]
    text = card(one)
    numbers, _, standing = recorded("stacked_lstm")
    own, cells = one.model.predictions.saved_test, rows(text)
    clips, sources = len(own.labels), len(set(own.clusters.tolist()))
    assert 0 < clips < 60
    assert cells["split"] == ["group split, fold 0 of 5, seed 0"]
    data = rows(text.split("## Data and protocol")[1].split("\n## ")[0])
    assert data["test clips"] == [f"{clips}, from {sources} source videos or persons"]
    assert cells["test clips of all 5 folds"] == [f"60, from {len(set(one.model.test.clusters.tolist()))} source videos or persons"]
    assert cells["top-1, this bundle on fold 0"] == [percent(numbers["test_top1"]), "", ""]
    assert cells["top-1, 3 folds"][:2] == [percent(standing["top1"]), ends(standing, "top1")]
    assert cells["top-5, 3 folds"][0] == percent(standing["top5"])
    assert cells["mean class, 3 folds"][0] == percent(standing["mean_class"])
    assert f"Measured on the {clips} test clips of fold 0." in text
    wrong = int((own.logits.argmax(axis=1) != own.labels).sum())
    assert wrong
    section = text.split("## Test clips that it gets wrong")[1].split("\n## ")[0]
    assert f"group split, fold 0 of 5, {clips} test clips" in section
    assert f"\n{wrong} of {clips} of fold 0, highest confidence first" in section
    assert "test clips of fold 0.**" in text.split("## Leaks")[1].split("\n## ")[0]
