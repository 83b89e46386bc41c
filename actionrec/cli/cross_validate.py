"""`cross-validate`: every fold of the group split."""

import argparse
import logging
from pathlib import Path

from actionrec.cli.terminal import Commands, add, make_writable, positive, say

logger = logging.getLogger(__name__)


def register(commands: Commands) -> None:
    what = "train and test under every fold of the group split, and report all folds in one table"
    command = add(commands, "cross-validate", what, "Needs data/features.")
    command.add_argument(
        "--folds", type=positive, metavar="K", help="number of folds (default: split.folds); 25 on UCF-50 is leave-one-group-out"
    )
    command.add_argument("--models", help="comma-separated names (default: all)")
    command.add_argument("--jobs", type=positive, metavar="N", help="training runs at a time (default: one for each two cores)")
    command.add_argument("--json", action="store_true", help="print JSON, not a table")
    command.add_argument("--output", type=Path, help="folder for report and tables (default: .work/cross-validate)")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from dataclasses import dataclass

    from actionrec.core import paths
    from actionrec.core.errors import TrainingError
    from actionrec.data.clips import read_clips
    from actionrec.data.splits import SplitSettings
    from actionrec.experiments import cross_validation, fold_results
    from actionrec.features import feature_store
    from actionrec.io import files, machine, params
    from actionrec.models import MODELS
    from actionrec.pipeline import train_all
    from actionrec.report import cross_validation as texts
    from actionrec.training.recipes import read_recipe

    @dataclass(frozen=True)
    class Params:
        seed: int
        data: params.DataSettings
        split: SplitSettings

    settings = params.read(Params)
    recipes = {name: read_recipe(name) for name in (arguments.models.split(",") if arguments.models else MODELS)}
    folds, jobs = arguments.folds or settings.split.folds, arguments.jobs or train_all.default_jobs()
    output = arguments.output or cross_validation.STORE
    make_writable(output)
    stored, features_sum = feature_store.read_features(paths.FEATURES), cross_validation.digest_of(paths.FEATURES)
    clips = read_clips(paths.CLIPS)
    split = cross_validation.group_split(settings.split, folds)
    runs = cross_validation.runs(clips, stored, features_sum, split, settings.seed, recipes, machine.device())
    predictions, failed = cross_validation.complete(runs, jobs)
    if predictions:
        results = fold_results.summarise(predictions, cross_validation.parameters(runs))
        context = texts.FoldContext.of(settings.data.dataset, settings.split.validation, settings.seed, stored, predictions)
        report = texts.text(results, context)
        files.write_text(output / texts.REPORT, report)
        files.write_spreadsheet(output / texts.MODELS, texts.MODELS_HEADER, texts.model_rows(results, context))
        files.write_spreadsheet(output / texts.FOLDS, texts.FOLDS_HEADER, texts.fold_rows(results))
        say(texts.as_json(results, context) if arguments.json else report)
        logger.info("%s, %s and %s are in %s", texts.REPORT, texts.MODELS, texts.FOLDS, output)
    if failed:
        listed = "\n".join(f"  {model}, {why}" for model, why in failed.items())
        raise TrainingError(f"{len(failed)} of {len(recipes)} models failed and are not in the table:\n{listed}")
