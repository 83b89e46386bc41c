"""`repair`: find damaged files, and recompute them."""

import argparse

from actionrec.cli.terminal import Commands, add


def register(commands: Commands) -> None:
    what = "find files that changed on disk after DVC stored them, and recompute them"
    command = add(commands, "repair", what, "Also removes DVC's lock file if a killed process left it unreadable.")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from actionrec.pipeline import repair

    repair.repair()
