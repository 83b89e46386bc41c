"""Benchmarks: each runs, says how to run it, and is in the docs. Their figures are not tested."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import fabricate
import pytest

from benchmarks import scale

ROOT = Path(__file__).parents[1]
PARTS = {"gpu_baselines", "gpu_tables", "pairs", "simulations", "timed_stage"}  # of other benchmarks
SCRIPTS = sorted({path.stem for path in (ROOT / "benchmarks").glob("*.py")} - PARTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_benchmark_says_how_to_run_it(name):
    module = importlib.import_module(f"benchmarks.{name}")
    assert f"python -m benchmarks.{name}" in module.__doc__


def test_every_benchmark_is_in_the_docs():
    text = "".join((ROOT / "docs" / page).read_text() for page in ("performance.md", "protocols.md"))
    assert [name for name in SCRIPTS if f"python -m benchmarks.{name}" not in text] == []


def run(*command):
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_runs_are_compared_model_by_model(tmp_path, monkeypatch):
    for folder, skill in (("before", 0.2), ("after", 0.9)):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        fabricate.results(("a", "b"), skill=dict.fromkeys(fabricate.SKILL, skill))
    printed = run("benchmarks.two_runs", str(tmp_path / "before"), str(tmp_path / "after"))
    rows = {cells[0].strip(): cells for line in printed.splitlines()[2:] if (cells := line.strip("| ").split("|"))}
    assert set(rows) == {*fabricate.SKILL, "mean of all"}
    for _, before, after, gain, *_, verdict in rows.values():
        assert float(gain) == pytest.approx(float(after) - float(before), abs=0.11)
        assert verdict.strip() == "better"
    same = run("benchmarks.two_runs", str(tmp_path / "after"), str(tmp_path / "after"))
    assert "better" not in same
    assert "+0.0" in same


def test_two_runs_need_a_model_in_common(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.two_runs", tmp_path, tmp_path], cwd=ROOT, text=True, capture_output=True
    )
    assert done.returncode == 2
    assert "no model was trained in both" in done.stderr


@pytest.mark.slow
def test_split_is_measured_on_files_and_on_tar_shards():
    printed = run("benchmarks.scale", "--clips", "1400,2800", "--stages", "split")
    rows = re.findall(r"^\| (split.*?) \| ([\d.]+) s, ([\d.]+) GiB \| [\d.]+ s, [\d.]+ GiB \| [\d.]+ \|$", printed, re.MULTILINE)
    assert [name for name, *_ in rows] == ["split", "split, hashes remembered", "split, tar shards"]
    assert all(0 < float(seconds) < 60 and 0 < float(gib) < 4 for _, seconds, gib in rows)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [((1, 10, 100), "1.00"), ((1, 10, 1000), "10.00"), ((1, 2, 2), "0.10"), ((1, 20, None), "2.00"), ((None, 2, None), "")],
)
def test_growth_is_that_of_the_last_two_sizes_that_finished(seconds, expected):
    found = [scale.Measured(one, 1.0) if one else None for one in seconds]
    assert scale.growth((10, 100, 1000), found) == expected


@pytest.mark.slow
def test_training_at_full_size_is_measured():
    printed = run("benchmarks.full_size", "--clips", "250", "--epochs", "1", "--models", "simple_rnn")
    seconds, rate, share, memory, top1 = re.search(r"simple_rnn +([\d.]+) +([\d.]+) +(\d+)% +([\d.]+) +([\d.]+)", printed).groups()
    assert float(rate) == pytest.approx(150 / float(seconds), rel=0.2)  # of 250 clips 150 or so train
    assert 0 < int(share) <= 110
    assert 0.2 < float(memory) < 3
    assert 0 <= float(top1) <= 100


@pytest.mark.slow
def test_training_is_measured_beside_the_studys_loop():
    printed = run("benchmarks.training", "--clips", "16", "--repeats", "1", "--models", "simple_rnn,swin_transformer")
    study, ours, ratio = map(float, re.search(r"^all +([\d.]+) +([\d.]+) +([\d.]+)$", printed, re.MULTILINE).groups())
    assert ratio == pytest.approx(ours / study, abs=0.01)
