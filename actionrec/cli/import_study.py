"""`import-study`: convert a checkpoint of the UCF-50 study to a bundle."""

import argparse
from pathlib import Path

from actionrec.cli.terminal import Commands, add

RECURRENT = ("simple_rnn", "lstm", "gru", "bilstm", "stacked_lstm")
"""The study's models that this project also has; listed here because importing them takes seconds."""


def register(commands: Commands) -> None:
    command = add(commands, "import-study", "convert a checkpoint of the UCF-50 study to a bundle")
    command.add_argument("checkpoint", type=Path, help="a .pth file: {'model_state_dict': {'gru.weight_ih_l0': ..., ...}, ...}")
    command.add_argument("--model", required=True, choices=RECURRENT, help="which of the study's models it is")
    command.add_argument("--classes", required=True, type=Path, help="a text file, one class name per line, in the model's order")
    command.add_argument("--output", required=True, type=Path, help="the bundle's folder; must not exist yet")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from actionrec.export import study_checkpoint
    from actionrec.training import bundle

    imported = study_checkpoint.read(arguments.checkpoint, arguments.model, study_checkpoint.read_classes(arguments.classes))
    bundle.save_new_bundle(arguments.output, imported)
