"""`train-all`: train the models side by side."""

import argparse

from actionrec.cli.terminal import Commands, add, positive


def register(commands: Commands) -> None:
    command = add(commands, "train-all", "train the models side by side, each as `dvc repro` would", "Ctrl-C stops them all.")
    command.add_argument("--jobs", type=positive, metavar="N", help="models at a time (default: one for each two cores)")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from actionrec.pipeline import train_all

    train_all.train_all(arguments.jobs or train_all.default_jobs())
