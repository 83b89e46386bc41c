import json
import math
import subprocess
import sys

import pytest

from actionrec.training.epoch_log import epoch_log

EPOCHS = [
    {"learning_rate": 1e-3, "train/loss": 2.0, "train/top1": 0.1, "held_out/loss": 1 / 3, "gradient_norm": 1.5},
    {"learning_rate": 1e-5, "train/loss": math.nan, "train/top1": 1.0, "held_out/loss": 1e30, "gradient_norm": math.inf},
]


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def logged(folder, epochs=EPOCHS):
    with epoch_log(folder) as log:
        for number, metrics in enumerate(epochs, 1):
            log(number, metrics)
    return contents(folder)


@pytest.mark.usefixtures("project")
def test_the_files_are_those_that_dvclive_writes_where_dvc_runs_the_stage(tmp_path, monkeypatch):
    own = logged(tmp_path / "own")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert own == logged(tmp_path / "dvclive")
    assert own["plots/metrics/held_out/loss.tsv"].decode() == "step\tloss\n1\t0.3333333333333333\n2\t1e+30\n"
    assert json.loads(own["metrics.json"])["train"]["top1"] == 1.0


@pytest.mark.parametrize("by_dvc", [False, True])
@pytest.mark.usefixtures("project")
def test_a_new_log_replaces_an_older_one(tmp_path, monkeypatch, by_dvc):
    logged(tmp_path / "log", [*EPOCHS, *EPOCHS])
    if by_dvc:
        monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert logged(tmp_path / "log") == logged(tmp_path / "fresh")


def test_dvclive_is_loaded_only_where_dvc_runs_the_stage(tmp_path):
    code = "import sys; from pathlib import Path; from actionrec.training.epoch_log import epoch_log\n"
    code += "with epoch_log(Path('log')) as log: log(1, {'loss': 1.0})\n"
    code += "sys.exit('dvclive' in sys.modules or 'dvc' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": ":".join(sys.path)}, check=True)
