"""`inspect`: summarise a data set and report its problems, before training."""

import argparse
import json
import logging
import os
from dataclasses import asdict
from pathlib import Path

from actionrec.cli.terminal import Commands, add, make_writable, pattern, say
from actionrec.core.errors import DataError

logger = logging.getLogger(__name__)


def register(commands: Commands) -> None:
    command = add(commands, "inspect", "summarise a data set and report its problems, before training")
    command.add_argument("folder", type=Path, help="the data set, such as data/raw/sample: one folder a class, or tar shards")
    command.add_argument("--decode", action="store_true", help="decode each clip to its end, not only its header")
    command.add_argument(
        "--group", type=pattern, metavar="PATTERN", help="a regular expression for a clip's group; replaces data.group"
    )
    command.add_argument("--json", action="store_true", help="print the summary as JSON, not as tables")
    command.add_argument("--output", type=Path, help="folder for report, page of plots and table (default: .work/inspect/<name>)")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from actionrec.core import paths
    from actionrec.data import clip_search, clips, tar_shards
    from actionrec.data.clip_files import ClipFiles
    from actionrec.inspection import split_preview
    from actionrec.io import files

    folder = Path(os.path.abspath(arguments.folder))  # noqa: PTH100 - links are not resolved: a link's name is the data set's
    try:
        str(folder).encode()
    except UnicodeEncodeError:  # OpenCV crashes on it
        raise DataError(f"{str(folder)!a}: the path is not valid UTF-8. Rename the folder, or link to it.") from None
    plan = split_preview.read_plan(arguments.group)
    shards = tar_shards.scan(arguments.folder)
    memory = paths.HASHES if paths.PARAMS.is_file() else None  # a project has a folder .work
    data_set = clip_search.find_clips(arguments.folder, plan.group_pattern, shards=shards, memory=memory)
    clip_files = ClipFiles(folder, shards.members)
    name = folder.name or "root"
    output = arguments.output or paths.WORK / "inspect" / name
    make_writable(output)

    # These imports take seconds, so the input is checked before them.
    from actionrec.inspection import probe, summary
    from actionrec.plots import inspection as plots
    from actionrec.report import class_table
    from actionrec.report import inspection as texts

    probes = probe.probe(clip_files, data_set, decode=arguments.decode)
    known = summary.summarise(name, probes, read_through=arguments.decode)
    planned = split_preview.preview(folder, data_set, plan)
    report = texts.report(known, planned)
    files.write_text(output / texts.REPORT, report)
    files.write_spreadsheet(output / texts.FILES, texts.FILES_HEADER, texts.file_rows(probes, known.suspicious))
    if class_table.is_cut(len(known.classes)):
        files.write_spreadsheet(output / texts.CLASSES, texts.CLASSES_HEADER, texts.class_rows(known))
    pictures = probe.pictures(clip_files, probes, plots.chosen_classes(clips.class_names(data_set)))
    with files.whole_file(output / texts.PAGE) as draft:
        draft.write_bytes(plots.page(known, [one.seconds for one in probes if one.seconds], pictures))
    document = {**asdict(known), "split": asdict(planned)}
    say(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n" if arguments.json else report)
    logger.info("%s, %s and %s are in %s", texts.REPORT, texts.PAGE, texts.FILES, output)
