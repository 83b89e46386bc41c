import math
import os
import re
import subprocess
import sys

import pytest
from test_bare_imports import MISSING, ROOT, WITHOUT

from benchmarks import gpu_tables
from benchmarks.gpu_tables import EAGER, SEEKS, Found, TrainingRun, makespan

MODELS = ("lstm", "gru")
BROUGHT = ("av", "ruamel")  # as wheels


def cells(printed, row):
    """The cells of a row whose first cell starts with this text."""
    return [cell.strip() for cell in re.search(rf"^\| {re.escape(row)}(.*)\|$", printed, re.MULTILINE)[1].split("|")]


def test_jobs_start_in_their_order_on_the_first_free_place():
    assert makespan([3, 2, 2], jobs=2) == 4
    assert makespan([1, 1, 5], jobs=2) == 6
    assert makespan([3, 2, 2], jobs=1) == 7
    assert makespan([3, 2], jobs=9) == 3


def test_twenty_epochs_are_the_first_one_and_nineteen_further_ones():
    assert TrainingRun(start=5, first_epoch=3, further_epoch=2, end=4).whole == 50


def test_the_whole_is_the_sum_of_the_stages_and_the_best_way_to_train():
    found = Found(rates={"extract_frames": 668.1, "resnet_features": 10_000, SEEKS: 6.681, EAGER: 320})
    found.starts |= {"extract_frames": 1.0, "resnet_features": 2.0}
    found.study |= {"lstm": 100.0, "gru": 200.0}
    found.trainings[1] = dict.fromkeys(MODELS, TrainingRun(1, 1, 1, 1))  # 22 s each
    found.trainings[2] = dict.fromkeys(MODELS, TrainingRun(1, 2, 1.5, 1.5))  # 33 s each
    found.processor["extract_frames"] = 31.25
    printed = gpu_tables.tables(found, MODELS, epochs=3)
    assert cells(printed, "extract_frames: processor time")[-1] == "31.2 ms"
    assert cells(printed, "2 trainings, 20 epochs, one after the other, s")[-3:] == ["300", "44", "70"]
    assert cells(printed, "the same, 2 at a time, s")[-3:] == ["300", "33", "35"]
    ours = 1 + 10 + 2 + 6681 * 32 / 10_000 + 33
    study = 1000 + 6681 * 32 / 320 + 300
    assert cells(printed, "clips to trained models, s")[-3:-1] == [f"{study:,.0f}", f"{ours:.3g}"]


@pytest.mark.parametrize("found", [Found(), Found(rates={SEEKS: 3.0})])
def test_what_was_not_measured_is_a_gap(found):
    found.trainings[1] = {"gru": TrainingRun(1, 1, 1, 1)}  # the other model failed
    printed = gpu_tables.tables(found, MODELS, epochs=3)
    for row in ("features, images/s", "extract_frames, clips/s", "2 trainings, 20 epochs", "clips to trained models"):
        assert cells(printed, row)[-2] == ""
    assert cells(printed, "gru")[-2:] == ["22", ""]


@pytest.fixture
def bare_machine(tmp_path):
    """Runs the benchmark in small sizes, without some packages, in its own and all other processes."""

    def run(*missing, parts):
        (tmp_path / "sitecustomize.py").write_text(WITHOUT.replace(str(MISSING), str(missing)))
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "ACTIONREC_DEVICE": "cpu"}
        command = [sys.executable, "-m", "benchmarks.gpu", "--quick", "--seconds", "600", "--parts", parts]
        return subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, check=False)

    return run


@pytest.mark.slow
def test_frames_are_measured_on_a_machine_without_dvc(bare_machine):
    done = bare_machine(*(name for name in MISSING if name not in BROUGHT), parts="frames")
    assert done.returncode == 0, done.stdout
    study, _ours, target = cells(done.stdout, "extract_frames, clips/s")[-3:]  # 2 clips tell nothing about ours
    assert (float(study) > 0, target) == (True, "400")
    assert "extract_frames: its start in all" in done.stdout
    assert "extract_frames: processor time of" in done.stdout


@pytest.mark.slow
def test_a_part_that_fails_leaves_gaps_and_the_others_are_measured(bare_machine):
    done = bare_machine(*(name for name in MISSING if name != "ruamel"), parts="frames,features,training")
    assert done.returncode == 1
    assert "frames: ImportError: av is not installed here" in done.stdout
    assert cells(done.stdout, "extract_frames, clips/s")[-3:-1] == ["", ""]
    for row in ("features, images/s", "2 trainings, 20 epochs", "the same"):
        assert all(math.isfinite(float(cell.replace(",", ""))) for cell in cells(done.stdout, row)[-3:-1])
    start, first, further, end, whole, _study = map(float, (cell.replace(",", "") for cell in cells(done.stdout, "gru")[1:]))
    assert min(start, first, further, end) > 0
    assert whole == pytest.approx(start + first + 19 * further + end, rel=0.02)
