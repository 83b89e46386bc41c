"""The command line: `python -m actionrec <command>`. Each command imports what it needs itself, so that --help is quick."""

import argparse
import json
import logging
import os
import re
import sys
from dataclasses import asdict
from pathlib import Path

# Read when torch starts: see stages/train.py.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from actionrec import entry
from actionrec.errors import DataError

logger = logging.getLogger(__name__)

RECURRENT = ("simple_rnn", "lstm", "gru", "bilstm", "stacked_lstm")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m actionrec", description="Look at data, and use what `dvc repro` trains.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    what = "tell what a data set holds, and what is wrong with it, before training"
    command = commands.add_parser("inspect", help=what, description=f"{what[0].upper()}{what[1:]}.")
    command.add_argument("folder", type=Path, help="the data set, such as data/raw/sample: one folder a class")
    command.add_argument("--decode", action="store_true", help="read each clip to its end, not its header alone")
    command.add_argument("--group", metavar="PATTERN", help="a regular expression for the group in a clip's id, as data.group")
    command.add_argument("--json", action="store_true", help="print the summary as JSON, not as tables")
    command.add_argument("--output", type=Path, help="folder for report, page of plots and table (default: .work/inspect/<name>)")
    command.set_defaults(run=inspect)

    what = "train the models side by side, each as `dvc repro` would"
    command = commands.add_parser("train-all", help=what, description=f"{what[0].upper()}{what[1:]}. Ctrl-C ends them all.")
    command.add_argument("--jobs", type=positive, metavar="N", help="models at a time (default: as many as have cores)")
    command.set_defaults(run=train_all)

    what = "train the same recipes under a random and a group split, and tell what the leak is worth"
    command = commands.add_parser("leak-gap", help=what, description=f"{what[0].upper()}{what[1:]}. Needs data/features.")
    command.add_argument("--models", help="names with commas between them (default: all seven)")
    command.add_argument("--all-folds", action="store_true", help="test each clip once under each split: split.folds times longer")
    command.add_argument("--json", action="store_true", help="print JSON, not a table")
    command.set_defaults(run=leak_gap)

    what = "train and test under every fold of the group split, and gather the folds in one table"
    command = commands.add_parser("cross-validate", help=what, description=f"{what[0].upper()}{what[1:]}. Needs data/features.")
    command.add_argument("--folds", type=positive, metavar="K", help="in place of split.folds; 25 on UCF-50: leave-one-group-out")
    command.add_argument("--models", help="names with commas between them (default: all seven)")
    command.add_argument("--jobs", type=positive, metavar="N", help="training runs at a time (default: as many as have cores)")
    command.add_argument("--json", action="store_true", help="print JSON, not a table")
    command.add_argument("--output", type=Path, help="folder for report and tables (default: .work/cross-validate)")
    command.set_defaults(run=cross_validate)

    what = "make a bundle of a checkpoint of the UCF-50 study's"
    command = commands.add_parser("import-study", help=what, description=f"{what[0].upper()}{what[1:]}.")
    command.add_argument("checkpoint", type=Path, help="a .pth file: {'model_state_dict': {'gru.weight_ih_l0': ...}, ...}")
    command.add_argument("--model", required=True, choices=RECURRENT, help="which of the study's models it is")
    command.add_argument("--classes", required=True, type=Path, help="a text file, one class name a line, in the model's order")
    command.add_argument("--output", required=True, type=Path, help="the bundle's folder; must not be there yet")
    command.set_defaults(run=import_study)

    arguments = parser.parse_args()
    entry.run(lambda: arguments.run(arguments), ends_with_parent=False)


def inspect(arguments: argparse.Namespace) -> None:
    from actionrec import clips, files, paths

    folder = Path(os.path.abspath(arguments.folder))  # noqa: PTH100 - links stay, as their names are the data set's
    try:
        str(folder).encode()
    except UnicodeEncodeError:  # OpenCV crashes on it
        raise DataError(f"{str(folder)!a}: the path is not valid UTF-8. Rename the folder, or link to it.") from None
    try:
        re.compile(arguments.group or "")
    except re.error as error:
        raise DataError(f"--group {arguments.group!r} is no regular expression: {error}.") from None
    found = clips.find_clips(arguments.folder, arguments.group)
    name = folder.name or "root"
    output = arguments.output or paths.WORK / "inspect" / name
    make_writable(output)

    # What takes seconds to load waits until the input is known to be good.
    from actionrec.inspection import probe, summary
    from actionrec.plots import inspection as plots
    from actionrec.report import inspection as texts

    probes = probe.probe(folder, found, decode=arguments.decode)
    known = summary.summarise(name, probes, read_through=arguments.decode)
    report = texts.report(known)
    files.write_text(output / texts.REPORT, report)
    files.write_csv(output / texts.FILES, texts.FILES_HEADER, texts.file_rows(probes, known.suspicious))
    shown = probe.pictures(folder, probes, plots.chosen_classes(clips.class_names(found)))
    with files.whole_file(output / texts.PAGE) as draft:
        draft.write_bytes(plots.page(known, [one.seconds for one in probes if one.seconds], shown))
    say(json.dumps(asdict(known), indent=2, ensure_ascii=False, allow_nan=False) + "\n" if arguments.json else report)
    logger.info("%s, %s and %s are in %s", texts.REPORT, texts.PAGE, texts.FILES, output)


def train_all(arguments: argparse.Namespace) -> None:
    from actionrec import train_all

    train_all.train_all(arguments.jobs or train_all.default_jobs())


def leak_gap(arguments: argparse.Namespace) -> None:
    from dataclasses import dataclass

    from actionrec import features, leak_gap, machine, params, paths
    from actionrec.clips import read_clips
    from actionrec.models import MODELS
    from actionrec.progress import progress
    from actionrec.recipes import read_recipe
    from actionrec.splits import SplitSettings

    @dataclass(frozen=True)
    class Params:
        seed: int
        split: SplitSettings

    names = arguments.models.split(",") if arguments.models else list(MODELS)
    settings = params.read(Params)
    recipes = {name: read_recipe(name) for name in names}
    folds = range(settings.split.folds) if arguments.all_folds else [settings.split.fold % settings.split.folds]
    stored = features.read_features(paths.FEATURES)
    runs = [*leak_gap.tasks(read_clips(paths.CLIPS), stored, settings.split, settings.seed, folds)]
    with progress("Training", len(runs) * len(names), "model") as advance:
        gaps = leak_gap.measure(runs, recipes, machine.device(), advance)
    say(json.dumps([asdict(one) for one in gaps], indent=2) + "\n" if arguments.json else leak_gap.text(gaps))


def cross_validate(arguments: argparse.Namespace) -> None:
    from dataclasses import dataclass

    from actionrec import cross_validation, features, files, fold_results, machine, params, paths, train_all
    from actionrec.clips import read_clips
    from actionrec.errors import TrainingError
    from actionrec.models import MODELS
    from actionrec.recipes import read_recipe
    from actionrec.report import cross_validation as texts
    from actionrec.splits import SplitSettings

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
    stored, features_sum = features.read_features(paths.FEATURES), cross_validation.digest_of(paths.FEATURES)
    clips = read_clips(paths.CLIPS)
    runs = cross_validation.runs(clips, stored, features_sum, settings.split, folds, settings.seed, recipes, machine.device())
    found, failed = cross_validation.complete(runs, jobs)
    if found:
        results = fold_results.summarise(found, cross_validation.parameters(runs))
        setting = texts.Setting.of(settings.data.dataset, settings.split.validation, settings.seed, stored, found)
        report = texts.text(results, setting)
        files.write_text(output / texts.REPORT, report)
        files.write_csv(output / texts.MODELS, texts.MODELS_HEADER, texts.model_rows(results, setting))
        files.write_csv(output / texts.FOLDS, texts.FOLDS_HEADER, texts.fold_rows(results))
        say(texts.as_json(results, setting) if arguments.json else report)
        logger.info("%s, %s and %s are in %s", texts.REPORT, texts.MODELS, texts.FOLDS, output)
    if failed:
        listed = "\n".join(f"  {model}, {why}" for model, why in failed.items())
        raise TrainingError(f"{len(failed)} of {len(recipes)} models failed, and are not in the table:\n{listed}")


def import_study(arguments: argparse.Namespace) -> None:
    from actionrec import bundle, study_checkpoint

    imported = study_checkpoint.read(arguments.checkpoint, arguments.model, study_checkpoint.read_classes(arguments.classes))
    bundle.save_new_bundle(arguments.output, imported)


def positive(text: str) -> int:
    """A whole number from 1, as an argument."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"wanted a whole number from 1; got {text!r}")
    return int(text)


def make_writable(folder: Path) -> None:
    """Make a folder where there is none, before the work whose results it is for."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: no folder can be made there ({error.strerror}). Choose another with --output.") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"{folder} cannot be written to (permission denied). Choose another with --output.")


def say(text: str) -> None:
    """Print a command's result, whatever the terminal's encoding; a reader such as `head` may leave before the end."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends


if __name__ == "__main__":
    main()
