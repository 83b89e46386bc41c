"""`leak-gap`: measure how much accuracy the leak of a random split adds."""

import argparse
import json
from dataclasses import asdict

from actionrec.cli.terminal import Commands, add, say


def register(commands: Commands) -> None:
    what = "train the same recipes under a random and a group split, and report how much accuracy the leak adds"
    command = add(commands, "leak-gap", what, "Needs data/features.")
    command.add_argument("--models", help="comma-separated names (default: all)")
    command.add_argument(
        "--folds",
        choices=("one", "all"),
        default="one",
        help="all: test each clip once under each split, so that both test the same clips; takes split.folds times as long "
        "(default: one, split.fold)",
    )
    command.add_argument("--json", action="store_true", help="print JSON, not a table")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from dataclasses import dataclass

    from actionrec.core import paths
    from actionrec.core.progress import progress
    from actionrec.data.clips import read_clips
    from actionrec.data.splits import SplitSettings
    from actionrec.experiments import leak_gap
    from actionrec.features import feature_store
    from actionrec.features.tuned_backbone import refuse_tuned
    from actionrec.io import machine, params
    from actionrec.models import MODELS
    from actionrec.report import leak_gap as texts
    from actionrec.training.recipes import read_recipe

    @dataclass(frozen=True)
    class Params:
        seed: int
        split: SplitSettings

    names = arguments.models.split(",") if arguments.models else list(MODELS)
    settings = params.read(Params)
    recipes = {name: read_recipe(name) for name in names}
    folds = range(settings.split.folds) if arguments.folds == "all" else [settings.split.fold % settings.split.folds]
    stored = feature_store.read_features(paths.FEATURES)
    refuse_tuned(stored.source, "It has seen the labels of clips that other splits test.")
    runs = [*leak_gap.tasks(read_clips(paths.CLIPS), stored, settings.split, settings.seed, folds)]
    trainings = len(runs) * sum(len(recipe.train.seeds) for recipe in recipes.values())
    with progress("Training", trainings, "model") as advance:
        gaps = leak_gap.measure(runs, recipes, machine.device(), advance)
    say(json.dumps([asdict(one) for one in gaps], indent=2) + "\n" if arguments.json else texts.text(gaps))
