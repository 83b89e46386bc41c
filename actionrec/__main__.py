"""The command line: `python -m actionrec <command>`. Each command imports what it needs itself, so that --help is quick."""

import argparse
from pathlib import Path

from actionrec import entry

RECURRENT = ("simple_rnn", "lstm", "gru", "bilstm", "stacked_lstm")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m actionrec", description="Use the models that `dvc repro` trains.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    what = "make a bundle of a checkpoint of the UCF-50 study's"
    command = commands.add_parser("import-study", help=what, description=f"{what[0].upper()}{what[1:]}.")
    command.add_argument("checkpoint", type=Path, help="a .pth file: {'model_state_dict': {'gru.weight_ih_l0': ...}, ...}")
    command.add_argument("--model", required=True, choices=RECURRENT, help="which of the study's models it is")
    command.add_argument("--classes", required=True, type=Path, help="a text file, one class name a line, in the model's order")
    command.add_argument("--output", required=True, type=Path, help="the bundle's folder; must not be there yet")
    command.set_defaults(run=import_study)

    arguments = parser.parse_args()
    entry.run(lambda: arguments.run(arguments), ends_with_parent=False)


def import_study(arguments: argparse.Namespace) -> None:
    from actionrec import bundle, study_checkpoint

    imported = study_checkpoint.read(arguments.checkpoint, arguments.model, study_checkpoint.read_classes(arguments.classes))
    bundle.save_new_bundle(arguments.output, imported)


if __name__ == "__main__":
    main()
