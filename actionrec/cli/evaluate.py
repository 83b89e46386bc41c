"""`evaluate`: recompute a trained model's metrics, or compute them on other clips."""

import argparse
import json
import logging
from pathlib import Path

from actionrec.cli.terminal import Commands, add, check_model, pattern, say, share

logger = logging.getLogger(__name__)

SUBSETS = ("train", "val", "test")


def register(commands: Commands) -> None:
    what = "recompute a trained model's metrics, or compute them on another folder of clips with the same classes"
    command = add(commands, "evaluate", what)
    command.add_argument("--model", metavar="M", help="a name, or a bundle's folder (default: the model to deploy)")
    where = command.add_mutually_exclusive_group()
    where.add_argument("--subset", choices=SUBSETS, default="test", help="subset of the project's clips (default: test)")
    where.add_argument("--data", type=Path, metavar="FOLDER", help="other clips, one folder for each class, or tar shards")
    command.add_argument("--group", type=pattern, metavar="PATTERN", help="with --data: a regular expression for a clip's group")
    command.add_argument(
        "--max-failed", type=share, default=0.02, metavar="SHARE", help="share of --data's clips that may fail (default: 0.02)"
    )
    command.add_argument(
        "--backbone", type=Path, metavar="FILE", help="with --data: a file with the backbone's weights, if they are not found"
    )
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON, not tables")
    form.add_argument("--csv", action="store_true", help="print the accuracy of each class as CSV, not tables")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from actionrec.core import paths
    from actionrec.core.errors import DataError
    from actionrec.core.progress import progress
    from actionrec.data import tar_shards
    from actionrec.data.clip_files import ClipFiles
    from actionrec.data.clip_search import find_clips
    from actionrec.inference import recompute_metrics
    from actionrec.inference.predictor import find_bundle, load
    from actionrec.io import files
    from actionrec.report import evaluation as texts
    from actionrec.report.prediction import csv_lines
    from actionrec.training import bundle, training_data

    check_model(arguments.model)
    folder = find_bundle(arguments.model)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such model.")
    if arguments.data:
        shards = tar_shards.scan(arguments.data)
        data_set = find_clips(arguments.data, arguments.group, shards=shards)
        files_of = ClipFiles(arguments.data, shards.members)
        predictor = load(folder, backbone_file=arguments.backbone)
        with progress("Evaluating", len(data_set), "clip") as advance:
            evaluation = recompute_metrics.of_folder(predictor, files_of, data_set, advance, arguments.max_failed)
        differences: list[str] = []
        what = str(arguments.data)
    else:
        evaluation = recompute_metrics.of_subset(
            folder.name, bundle.load_bundle(folder), training_data.read_training_data(), arguments.subset
        )
        metrics = paths.model_metrics(folder.name)
        recorded = files.read_json(metrics) if folder == paths.model_folder(folder.name) and metrics.is_file() else {}
        differences = recompute_metrics.differences(evaluation, arguments.subset, recorded)
        what = f"{arguments.subset} clips"
    if arguments.json:
        say(json.dumps({**evaluation.summary(), "of": what}, indent=2, ensure_ascii=False) + "\n")
    elif arguments.csv:
        say(csv_lines([texts.CLASSES_HEADER, *texts.class_rows(evaluation)]))
    else:
        say(texts.text(evaluation, what))
    for reason in evaluation.failed.values():
        logger.warning("skipped: %s", reason)
    for line in differences:
        logger.warning("differs from metrics.json (another machine or device?): %s", line)
