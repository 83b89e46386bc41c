"""The command line: `python -m actionrec <command>`."""

import argparse

from actionrec.cli import cross_validate, evaluate, export, import_study, inspect, leak_gap, predict, repair, serve, train_all
from actionrec.core import entry

COMMANDS = (
    inspect,
    train_all,
    cross_validate,
    leak_gap,
    predict,
    serve,
    evaluate,
    export,
    import_study,
    repair,
)  # in the order of use


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m actionrec", description="Inspect data sets, train models, and use them.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.register(commands)
    arguments = parser.parse_args()
    entry.run(lambda: arguments.run(arguments), ends_with_dvc=False)


if __name__ == "__main__":
    main()
