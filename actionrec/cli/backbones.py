"""`backbones`: list the backbones, what they cost, and the options that select them."""

import argparse
import json
from dataclasses import asdict

from actionrec.cli.terminal import Commands, add, say


def register(commands: Commands) -> None:
    command = add(commands, "backbones", "list the backbones, what they cost, and the options that select them")
    kind = command.add_mutually_exclusive_group()
    kind.add_argument("--image", action="store_true", help="only networks that see one frame at a time")
    kind.add_argument("--video", action="store_true", help="only networks that see snippets of frames")
    command.add_argument("--json", action="store_true", help="print JSON, not a table")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from actionrec.features import catalogue
    from actionrec.report import backbones as texts

    chosen = [entry for entry in catalogue.entries() if not (arguments.image if entry.is_video else arguments.video)]
    document = [{**asdict(entry), "options": entry.overrides} for entry in chosen]
    say(json.dumps(document, indent=2) + "\n" if arguments.json else texts.text(chosen))
