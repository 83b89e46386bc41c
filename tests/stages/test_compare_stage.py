import csv
import json
import re
import shutil
from pathlib import Path

import fabricate
import numpy as np
import pytest
from dvclive import Live

from actionrec.core import entry, paths
from actionrec.core.errors import DataError
from actionrec.evaluation import trained_models
from actionrec.models import MODELS
from stages import compare, package

CLASSES = ("walk", "run", "jump", "wave", "turn_left", "turn_right")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What the stages before `compare` write, fabricated once."""
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fabricate.results(CLASSES)
    return folder


@pytest.fixture
def in_project(results, project):
    shutil.copytree(results, ".", dirs_exist_ok=True)


def outputs():
    return {str(path): path.read_bytes() for path in [*Path("metrics").glob("*.*"), *Path("plots").iterdir()]}


@pytest.mark.usefixtures("in_project")
def test_it_writes_the_contract_s_files_and_new_timings_change_the_report_alone():
    compare.main()
    first = outputs()
    overviews = ("model_comparison", "all_models_grid", "accuracy_intervals", "accuracy_against_cost", "order_of_frames")
    pictures = {f"plots/{name}.png" for name in (*overviews, "reliability", "risk_coverage", "missed_by_all", "suspect_labels")}
    pictures |= {f"plots/{model}_{what}.png" for model in MODELS for what in ("curves", "confusion")}
    assert pictures == {path for path in first if path.startswith("plots/")}
    assert {"metrics/compare.json", "metrics/report.md", "metrics/results_table.csv", "metrics/results_table.tex"} <= set(first)

    summary = json.loads(first["metrics/compare.json"])
    assert list(summary["models"]) == list(MODELS)
    assert len(summary["pairs"]) == len(MODELS) * (len(MODELS) - 1) // 2
    assert summary["backbone_flops"] == fabricate.BACKBONE.flops
    for name, row in summary["models"].items():
        assert row["total_params"] == fabricate.BACKBONE.parameters + fabricate.PARAMETERS[name]
    for row in summary["models"].values():
        assert row["top1_low"] <= row["top1"] <= row["top1_high"]
        assert "val_top1" in row
    assert {(gain["model"], gain["baseline"]) for gain in summary["gains"]} == {
        (model, baseline) for model in set(MODELS) - set(fabricate.BASELINES) for baseline in fabricate.BASELINES
    }
    assert {row["model"] for row in summary["order_of_frames"]} == set(MODELS)
    assert [ensemble["name"] for ensemble in summary["ensembles"]] == ["all", "best pair", "best triple"]

    report = first["metrics/report.md"].decode()
    links = re.findall(r"\(\.\./(plots/[^)]+)\)", report)
    assert pictures - set(links) <= {"plots/missed_by_all.png"}  # not linked if no clip is missed by all
    assert set(links) <= pictures
    rows = list(csv.DictReader(first["metrics/results_table.csv"].decode().splitlines()))
    assert [row["model"] for row in rows] == sorted(MODELS, key=lambda name: summary["models"][name]["rank"])

    slow = {"train_seconds": 9999.0, "clips_per_second": 1.0, "device": "cpu", "latency_ms": 500.0, "memory_mb": 80.0}
    fabricate.write(paths.model_timing("gru"), slow)
    fabricate.write(paths.CLIP_TIMING, {"decode_ms": 900.0, "backbone_ms": 9000.0, "device": "cpu (slow)"})
    compare.write_numbers(compare.gather())
    second = outputs()
    changed = {path for path in first if first[path] != second[path]} - {str(paths.CLIP_TIMING)}
    assert changed == {
        "metrics/report.md",
        "metrics/details.md",
        "metrics/results_table.csv",
        "metrics/results_table.tex",
    }


@pytest.mark.usefixtures("in_project")
def test_models_from_before_the_resolution_was_renamed_are_compared_with_new_ones():
    for name, key in zip(MODELS, ("size", *["resolution"] * (len(MODELS) - 1)), strict=True):
        bundle = paths.model_folder(name) / "model.json"
        fabricate.write(bundle, {**json.loads(bundle.read_text()), "frames": {"count": 32, key: 224}})
    assert compare.gather()


@pytest.mark.usefixtures("project")
def test_several_seeds_give_a_mean_and_a_deviation():
    fabricate.results(CLASSES, seeds=(0, 1, 2))
    compare.write_numbers(compare.gather())
    gru = json.loads(paths.COMPARISON.read_text())["models"]["gru"]
    assert gru["top1_std"] > 0
    assert "± seeds" in paths.REPORT.read_text()
    assert "mean and standard deviation over 3 training runs" in paths.REPORT.read_text()


@pytest.mark.usefixtures("project")
def test_without_validation_the_report_says_so():
    fabricate.results(("a$_", "b|*"), test=20, val=0, epochs=1, split={"protocol": "random"})
    compare.write_numbers(compare.gather())
    assert "**The epoch was chosen on the test clips**" in paths.REPORT.read_text()
    summary = json.loads(paths.COMPARISON.read_text())
    assert summary["epoch_chosen_on"] == "test"
    assert "val_top1" not in summary["models"]["gru"]


def change(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def store(**changes):
    path = paths.predictions("gru")
    with np.load(path) as stored:
        arrays = {**stored, **changes}
    np.savez(path, **arrays)


TOP1_LOG = paths.model_epochs("gru") / "plots/metrics/held_out/top1.tsv"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda: paths.predictions("gru").unlink(), "data/predictions/gru.npz is missing. Run `dvc repro`"),
        (lambda: paths.predictions("gru").write_bytes(b"PK\x03\x04 cut"), "data/predictions/gru.npz: not a readable npz file"),
        (lambda: store(seeds=np.array([7])), "gru and bilstm were trained with different seeds ((7,) and (0,))"),
        (lambda: store(clip=np.array([{}] * 56, dtype=object)), "data/predictions/gru.npz: not a readable npz file"),
        (
            lambda: store(logits=np.full((56, 6), np.nan, np.float32)),
            "logits of 56 clips are NaN or infinite (first: walk/v_00000.avi)",
        ),
        (lambda: change(paths.AUDIT, near=[1]), "metrics/audit.json: damaged ("),
        (lambda: change(paths.model_timing("gru"), latency_ms="fast"), "timing.json: latency_ms must be a number; got 'fast'."),
        (
            lambda: change(paths.CLIP_COST, backbone="vgg16"),
            "metrics/clip_cost.json: wrong backbone; got vgg16, expected resnet50.",
        ),
        (paths.CLIP_TIMING.unlink, "metrics/clip_timing.json is missing"),
        (lambda: change(paths.model_metrics("gru"), threshold=1.5), "threshold must be from 0 to 1; got 1.5."),
        (lambda: change(paths.SPLIT_METRICS, fold="x"), "metrics/split.json: fold must be a whole number"),
        (lambda: fabricate.write(paths.SPLIT_METRICS, {"dataset": "sample"}), "lacks 'protocol'. Run `dvc repro`"),
        (
            lambda: fabricate.write(paths.model_metrics("gru"), {"test_top1": 1}),
            "lacks best_epoch, epochs, parameters, flops, train_clips, health, health_notes, order_blind. Run `dvc",
        ),
        (
            lambda: change(paths.model_metrics("gru"), epochs=9),
            "metrics/gru/epochs: logs of [6] epochs, but metrics.json says 9, the best of them 4.",
        ),
        (TOP1_LOG.unlink, "metrics/gru/epochs/plots/metrics/held_out/top1.tsv is missing"),
        (lambda: TOP1_LOG.write_text("step\tloss\n1\t2\n"), "held_out/top1.tsv: no column of numbers named top1"),
    ],
)
@pytest.mark.usefixtures("in_project")
def test_results_that_do_not_match_are_rejected(damage, message):
    damage()
    with pytest.raises(DataError) as error:
        compare.main()
    assert message in str(error.value)
    assert not paths.COMPARISON.exists()


@pytest.mark.usefixtures("project")
def test_it_reads_the_logs_of_dvclive():
    with Live(dir=str(paths.model_epochs("gru")), dvcyaml=None, save_dvc_exp=False, report=None) as live:
        for top1 in (0.25, 0.5):
            live.step += 1
            live.log_metric("val/top1", top1)
    assert trained_models.read_log("gru", "val/top1") == (0.25, 0.5)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("stage", [compare, package])
def test_a_stage_without_its_inputs_fails_in_one_line(capsys, stage):
    with pytest.raises(SystemExit) as end:
        entry.run(stage.main, ends_with_dvc=False)
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: data/models/bilstm/model.json is missing. Run `dvc repro` to make it.\n"


@pytest.mark.usefixtures("project")
def test_over_all_folds_the_report_says_so_and_the_details_have_each_fold():
    fabricate.results(CLASSES, folds=5, seeds=(0, 1))
    gathered = compare.gather()
    compare.write_numbers(gathered)
    report, details = paths.REPORT.read_text(), paths.DETAILS.read_text()
    assert "sample, group split, all 5 folds, 40 test clips" in report
    assert "evaluation.folds=all" not in report
    assert "The saved models are those of fold 0." in report
    row = gathered.result.leaderboard[0]
    [predictions] = [model.predictions for model in gathered.models if model.name == row.name]
    correct, folds = predictions.correct(), predictions.test_folds
    assert correct.shape == (2, 40)
    assert row.fold_top1 == tuple(correct[:, folds == fold].mean() for fold in range(5))
    assert json.loads(paths.COMPARISON.read_text())["models"][row.name]["fold_top1"] == list(row.fold_top1)
    shares = [f"{100 * share:.1f}" for share in (*row.fold_top1, np.mean(row.fold_top1), np.std(row.fold_top1, ddof=1))]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in details.splitlines()]
    assert [row.name, *shares] in cells
    assert f"On the {(folds == 0).sum()} test clips of fold 0, whose models are saved." in details


@pytest.mark.usefixtures("project")
def test_plots_of_the_saved_models_alone_name_their_fold(monkeypatch):
    fabricate.results(CLASSES, folds=5)
    phrases = {}
    for module, function in (
        (compare.reliability, "reliability_diagram"),
        (compare.risk_plot, "risk_coverage_curves"),
        (compare.curves, "all_models_grid"),
        (compare.curves, "model_curves"),
        (compare.confusion, "confusion_matrix"),
        (compare.overview, "model_comparison"),
        (compare.intervals, "accuracy_intervals"),
        (compare.order, "order_of_frames"),
        (compare.pareto, "accuracy_against_cost"),
        (compare.contact_sheet, "missed_clips"),
        (compare.contact_sheet, "suspect_labels"),
    ):

        def note(*arguments, name=function):
            [context] = [one for one in arguments if isinstance(one, compare.EvaluationContext)]
            phrases[name] = context.phrase
            return b""

        monkeypatch.setattr(module, function, note)
    monkeypatch.setattr(compare, "read_frames", lambda *_: {})
    gathered = compare.gather()
    compare.draw(gathered)
    own = len(gathered.models[0].predictions.saved_test.labels)
    of_saved = {"reliability_diagram", "risk_coverage_curves", "all_models_grid", "model_curves"}
    for name, phrase in phrases.items():
        assert phrase == (
            f"sample, group split, fold 0 of 5, {own} test clips"
            if name in of_saved
            else "sample, group split, all 5 folds, 40 test clips"
        )
