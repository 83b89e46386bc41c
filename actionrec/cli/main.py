"""Entry point of the command line: `actionrec <command>`."""

import argparse
from collections.abc import Callable

from actionrec.cli import (
    backbones,
    evaluate,
    export,
    import_study,
    inspect,
    leak_gap,
    learning_curve,
    predict,
    repair,
    serve,
    train_all,
)
from actionrec.core import entry
from actionrec.core.errors import DataError

COMMANDS = (
    inspect,
    backbones,
    train_all,
    leak_gap,
    learning_curve,
    predict,
    serve,
    evaluate,
    export,
    import_study,
    repair,
)  # in the order of use

EXTRAS = {"fastapi": "web", "starlette": "web", "uvicorn": "web", "onnx": "export", "onnxruntime": "export", "onnxscript": "export"}
"""Optional packages that commands import -> the extra of pyproject.toml that installs them."""


def main(prog: str = "actionrec") -> None:
    """Run a command with the arguments of this process.

    Args:
        prog: the program's name in the help.
    """
    parser = argparse.ArgumentParser(prog=prog, description="Inspect data sets, train models, and use them.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.register(commands)
    arguments = parser.parse_args()
    entry.run(lambda: run(arguments.run, arguments), ends_with_dvc=False)


def run(command: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> None:
    """Run a command; name the extra to install where an optional package is missing.

    Raises:
        DataError: an optional package is missing.
    """
    try:
        command(arguments)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        extra = EXTRAS[error.name]
        raise DataError(f"the package {error.name} is not installed. Run `pip install 'actionrec[{extra}]'`.") from None
