"""Benchmarks: each runs, says how to run it, and is in the docs. Their figures are not tested."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = {"pairs", "simulations"}  # of other benchmarks
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
