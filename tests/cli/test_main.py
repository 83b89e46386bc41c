"""The command line, as a person runs it."""

import json

import torch
from commands import actionrec

from actionrec.cli.import_study import RECURRENT
from actionrec.export import study_checkpoint
from actionrec.models import create_model


def test_help_lists_the_commands_and_no_command_is_bad_input(project):
    assert "import-study" in actionrec("--help", cwd=project).stdout
    assert actionrec(cwd=project).returncode == 2


def test_every_model_that_can_be_imported_is_offered():
    assert tuple(study_checkpoint.LAYER) == RECURRENT


def test_a_study_checkpoint_becomes_a_bundle(tmp_path):
    state = create_model("gru", {"hidden_dim": 4}, feature_dim=8, class_count=2).state_dict()
    torch.save({"model_state_dict": state}, tmp_path / "best.pth")
    (tmp_path / "classes.txt").write_text("Dive\nFence\n")
    command = ["import-study", tmp_path / "best.pth", "--model", "gru", "--classes", tmp_path / "classes.txt"]
    done = actionrec(*command, "--output", tmp_path / "bundle", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "bundle" / "model.json").read_text())["class_names"] == ["Dive", "Fence"]

    again = actionrec(*command, "--output", tmp_path / "bundle", cwd=tmp_path)
    assert again.returncode == 2
    assert again.stderr.startswith("error: ")
    assert "Traceback" not in again.stderr
