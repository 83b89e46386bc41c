import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import fabricate
import numpy as np
import pytest

from actionrec.core import paths
from actionrec.core.errors import DataError
from actionrec.evaluation import trained_models
from actionrec.models import MODELS
from stages import compare

CLASSES = ("walk", "run", "jump", "wave", "turn_left", "turn_right")


@pytest.fixture(autouse=True)
def in_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def outputs():
    return {str(path): path.read_bytes() for path in [*Path("metrics").glob("*.*"), *Path("plots").iterdir()]}


def test_it_writes_what_the_contract_names_and_the_same_bytes_again():
    fabricate.results(CLASSES)
    compare.main()
    first = outputs()
    overviews = ("model_comparison", "all_models_grid", "accuracy_intervals", "accuracy_against_cost", "order_of_frames")
    pictures = {f"plots/{name}.png" for name in (*overviews, "reliability", "missed_by_all")}
    pictures |= {f"plots/{model}_{what}.png" for model in MODELS for what in ("curves", "confusion")}
    assert pictures == {path for path in first if path.startswith("plots/")}
    assert {"metrics/compare.json", "metrics/report.md", "metrics/results_table.csv", "metrics/results_table.tex"} <= set(first)

    summary = json.loads(first["metrics/compare.json"])
    assert list(summary["models"]) == list(MODELS)
    assert len(summary["pairs"]) == 21
    for one in summary["models"].values():
        assert one["top1_low"] <= one["top1"] <= one["top1_high"]
        assert "val_top1" in one

    report = first["metrics/report.md"].decode()
    links = re.findall(r"\(\.\./(plots/[^)]+)\)", report)
    assert pictures - set(links) <= {"plots/missed_by_all.png"}  # which is about nothing where no clip is
    assert set(links) <= pictures
    rows = list(csv.DictReader(first["metrics/results_table.csv"].decode().splitlines()))
    assert [row["model"] for row in rows] == sorted(MODELS, key=lambda name: summary["models"][name]["rank"])

    # New timings change the report, never compare.json.
    slow = {"train_seconds": 9999.0, "clips_per_second": 1.0, "device": "cpu", "latency_ms": 500.0, "memory_mb": 80.0}
    fabricate.write(paths.model_timing("gru"), slow)
    compare.main()
    second = outputs()
    different = {path for path in first if first[path] != second[path]}
    assert different == {
        "metrics/report.md",
        "metrics/results_table.csv",
        "metrics/results_table.tex",
        "plots/model_comparison.png",
        "plots/accuracy_against_cost.png",
    }


def test_models_from_before_the_resolution_was_renamed_are_compared_with_new_ones():
    fabricate.results(CLASSES)
    for name, key in zip(MODELS, ("size", *["resolution"] * 6), strict=True):
        bundle = paths.model_folder(name) / "model.json"
        fabricate.write(bundle, {**json.loads(bundle.read_text()), "frames": {"count": 32, key: 224}})
    assert compare.gather()


def test_several_seeds_give_a_mean_and_a_deviation():
    fabricate.results(CLASSES, seeds=(0, 1, 2))
    compare.write_numbers(compare.gather())
    gru = json.loads(paths.COMPARISON.read_text())["models"]["gru"]
    assert gru["top1_std"] > 0
    assert "± seeds" in paths.REPORT.read_text()
    assert "Each model was trained 3 times" in paths.REPORT.read_text()


def test_every_model_is_read_against_both_baselines_and_with_its_frames_in_other_orders():
    fabricate.results(CLASSES)
    compare.write_numbers(compare.gather())
    summary = json.loads(paths.COMPARISON.read_text())
    assert {(gain["model"], gain["baseline"]) for gain in summary["gains"]} == {
        (model, baseline) for model in MODELS for baseline in ("mean_pool", "middle_frame")
    }
    assert {row["model"] for row in summary["order_of_frames"]} == set(MODELS)
    assert [one["name"] for one in summary["ensembles"]] == ["all", "best pair", "best triple"]


def test_without_validation_the_report_says_so():
    fabricate.results(("a$_", "b|*"), test=20, val=0, epochs=1, split={"protocol": "random"})
    compare.write_numbers(compare.gather())
    assert "**The epoch was chosen on the test clips**" in paths.REPORT.read_text()
    summary = json.loads(paths.COMPARISON.read_text())
    assert summary["epoch_chosen_on"] == "test"
    assert "val_top1" not in summary["models"]["gru"]


def spoil(path, change):
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def store(**changes):
    path = paths.predictions("gru")
    with np.load(path) as stored:
        arrays = {**stored, **changes}
    np.savez(path, **arrays)


def nan_logits():
    logits = np.zeros((56, 6), dtype=np.float32)
    logits[3, 1] = np.nan
    return logits


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda: paths.predictions("gru").unlink(), "data/predictions/gru.npz is missing. Run `dvc repro`"),
        (lambda: paths.predictions("gru").write_bytes(b"PK\x03\x04 cut"), "data/predictions/gru.npz: not a readable npz file"),
        (lambda: store(label=np.full(56, 6)), "data/predictions/gru.npz: labels from 6 to 6; expected 0 to 5"),
        (lambda: store(logits=np.zeros((56, 5), dtype=np.float32)), "shapes do not fit n clips and 6 classes"),
        (lambda: store(seeds=np.array([7])), "gru and bilstm were trained with different seeds ((7,) and (0,))"),
        (lambda: store(unit=np.arange(56)), "gru and bilstm disagree about the true class or the source of"),
        (lambda: paths.predictions("mean_pool").unlink(), "data/predictions/mean_pool.npz is missing. Run `dvc repro`"),
        (lambda: spoil(paths.BASELINE_METRICS, lambda old: {}), "metrics/baseline.json: lacks mean_pool_parameters"),
        (lambda: store(logits=np.zeros((56, 6), dtype=complex)), "gru.npz: unexpected types of numbers or text in logits"),
        (lambda: spoil(paths.AUDIT, lambda old: {**old, "near": [1]}), "metrics/audit.json: damaged ("),
        (lambda: spoil(paths.BASELINE_METRICS, lambda old: [1]), "metrics/baseline.json: must hold keys and values; got [1]."),
        (
            lambda: spoil(paths.model_timing("gru"), lambda old: {**old, "latency_ms": "fast"}),
            "metrics/gru/timing.json: latency_ms must be a number; got 'fast'.",
        ),
        (lambda: spoil(paths.SPLIT_METRICS, lambda old: {**old, "fold": "x"}), "metrics/split.json: fold must be a whole number"),
        (lambda: store(logits=nan_logits()), "logits of 1 clips are NaN or infinite (first: wave/v_00003.avi)"),
        (lambda: store(clip=np.array(["x"] * 56)), "gru and bilstm have predictions for different clips"),
        (lambda: store(clip=np.array([{}] * 56, dtype=object)), "data/predictions/gru.npz: not a readable npz file"),
        (
            lambda: spoil(paths.model_metrics("gru"), lambda old: {"test_top1": 1}),
            "metrics/gru/metrics.json: lacks best_epoch, epochs, parameters, flops, train_clips, health, health_notes. Run `dvc",
        ),
        (
            lambda: spoil(paths.model_metrics("gru"), lambda old: {**old, "epochs": 9}),
            "metrics/gru/epochs: logs of [6] epochs, but metrics.json says 9, the best of them 4.",
        ),
        (
            lambda: spoil(paths.SPLIT_METRICS, lambda old: {"dataset": "sample"}),
            "lacks 'protocol'. Run `dvc repro`",
        ),
        (
            lambda: (paths.model_epochs("gru") / "plots/metrics/held_out/top1.tsv").unlink(),
            "metrics/gru/epochs/plots/metrics/held_out/top1.tsv is missing",
        ),
        (
            lambda: (paths.model_epochs("gru") / "plots/metrics/held_out/top1.tsv").write_text("step\tloss\n1\t2\n"),
            "held_out/top1.tsv: no column of numbers named top1",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused_in_words(break_it, message):
    fabricate.results(CLASSES)
    break_it()
    with pytest.raises(DataError) as error:
        compare.main()
    assert message in str(error.value)
    assert not paths.COMPARISON.exists()


def test_it_reads_what_dvclive_writes(tmp_path):
    from dvclive import Live

    with Live(dir=str(paths.model_epochs("gru")), dvcyaml=None, save_dvc_exp=False, report=None) as live:
        for top1 in (0.25, 0.5):
            live.step += 1
            live.log_metric("val/top1", top1)
    assert trained_models.read_log("gru", "val/top1") == (0.25, 0.5)


def test_the_stage_starts_from_the_command_line_and_fails_in_one_line():
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "stages.compare"], env={"PYTHONPATH": str(root), "PATH": ""}, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == "error: data/models/bilstm/model.json is missing. Run `dvc repro` to make it.\n"
