"""`learning-curve`: train one model on parts of the training clips, to see whether more clips would help."""

import argparse
import logging
from pathlib import Path

from actionrec.cli.terminal import Commands, add, check_model, make_writable, positive, say

logger = logging.getLogger(__name__)


def register(commands: Commands) -> None:
    what = "train a model on 1/4, 2/4, 3/4 and all of the training sources, and report whether more clips would help"
    command = add(commands, "learning-curve", what, "Needs data/features.")
    command.add_argument("--model", help="the model to train (default: the model to deploy)")
    command.add_argument("--seeds", type=_seeds, metavar="0,1,2", help="one training per number (default: train.seeds)")
    command.add_argument(
        "--jobs", type=positive, metavar="N", help="training runs at a time (default: one for each two cores; 2 on a GPU)"
    )
    command.add_argument("--json", action="store_true", help="print JSON, not a table")
    command.add_argument("--output", type=Path, help="folder for report, plot and table (default: .work/learning-curve)")
    command.set_defaults(run=run)


def _seeds(text: str) -> tuple[int, ...]:
    """Argument type: different whole numbers from 0, separated by commas."""
    parts = text.split(",")
    if not all(part.isdecimal() for part in parts) or len(set(map(int, parts))) < len(parts):
        raise argparse.ArgumentTypeError(f"expected different whole numbers from 0, separated by commas; got {text!r}")
    return tuple(map(int, parts))


def run(arguments: argparse.Namespace) -> None:
    from dataclasses import dataclass, replace

    from actionrec.core import paths
    from actionrec.data.splits import SplitSettings
    from actionrec.evaluation.settings import CompareSettings
    from actionrec.experiments import learning_curve, part_runs
    from actionrec.features.tuned_backbone import refuse_tuned
    from actionrec.io import files, machine, params
    from actionrec.models import MODELS
    from actionrec.pipeline import train_all
    from actionrec.plots import learning_curve as plots
    from actionrec.report import learning_curve as texts
    from actionrec.training.recipes import read_recipe
    from actionrec.training.training_data import read_training_data

    @dataclass(frozen=True)
    class Params:
        data: params.DataSettings
        split: SplitSettings
        compare: CompareSettings

    settings = params.read(Params)
    check_model(arguments.model)
    model = arguments.model or learning_curve.default_model(files.read_json(paths.SUMMARY), list(MODELS))
    recipe = read_recipe(model)
    if arguments.seeds:
        recipe = replace(recipe, train=replace(recipe.train, seeds=arguments.seeds))
    output = arguments.output or part_runs.STORE
    make_writable(output)
    data, features_sum = read_training_data(), part_runs.digest_of(paths.FEATURES)
    refuse_tuned(data.features.source, "It has seen the labels of all training clips, so parts of them would seem to be enough.")
    runs = learning_curve.runs(data, features_sum, model, recipe, machine.device())
    curve = learning_curve.curve(runs, part_runs.complete(runs, arguments.jobs or train_all.default_jobs()))
    phrase = learning_curve.phrase(settings.data.dataset, settings.split, data)
    report = texts.text(curve, phrase, settings.compare.margin)
    files.write_text(output / texts.REPORT, report)
    files.write_spreadsheet(output / texts.POINTS, texts.POINTS_HEADER, texts.point_rows(curve))
    with files.whole_file(output / texts.PLOT) as draft:
        draft.write_bytes(plots.learning_curve(curve, phrase))
    say(texts.as_json(curve, settings.compare.margin) if arguments.json else report)
    logger.info("%s, %s and %s are in %s", texts.REPORT, texts.POINTS, texts.PLOT, output)
