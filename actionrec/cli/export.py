"""`export`: write a trained model as ONNX for other programs."""

import argparse
import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from actionrec.cli.terminal import Commands, add, check_model, make_writable, positive, say

if TYPE_CHECKING:
    from actionrec.data.clips import Clip
    from actionrec.export.onnx_graph import Form, Pieces
    from actionrec.export.onnx_int8 import QuantisationReport
    from actionrec.inference.predictor import Predictor

logger = logging.getLogger(__name__)

FILES: dict["Form", str] = {"whole": "{}.onnx", "head": "{}-head.onnx"}
CALIBRATED = 32  # training clips; default of --calibrate


def register(commands: Commands) -> None:
    more = "Maps frames or features to probabilities. See docs/export.md."
    command = add(commands, "export", "write a trained model as ONNX, checked against torch", more)
    command.add_argument("--model", metavar="M", help="a name, or a bundle's folder (default: the model to deploy)")
    command.add_argument("--output", type=Path, metavar="DIR", help="folder for the files (default: .work/export/<model>)")
    command.add_argument(
        "--only", choices=("whole", "head"), help="whole: frames to probabilities; head: features to probabilities (default: both)"
    )
    command.add_argument(
        "--check", type=Path, nargs="+", default=[], metavar="VIDEO", help="videos for the check (default: test clips)"
    )
    command.add_argument(
        "--int8", action="store_true", help="also write a model with an 8-bit backbone, and measure its speed and accuracy"
    )
    command.add_argument(
        "--calibrate", type=positive, metavar="N", help=f"with --int8: number of training clips for calibration ({CALIBRATED})"
    )
    command.add_argument(
        "--measure", type=positive, metavar="N", help="with --int8: number of test clips to measure (default: all)"
    )
    command.add_argument("--space", type=Path, metavar="DIR", help="write a demo page to host elsewhere, instead of ONNX")
    command.add_argument("--backbone", type=Path, metavar="FILE", help="a file with the backbone's weights, if they are not found")
    command.add_argument("--json", action="store_true", help="print JSON, not a table")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    check(arguments)
    from actionrec.inference.predictor import find_bundle

    folder = find_bundle(arguments.model)
    if arguments.space:
        from actionrec.web.space import write_space

        write_space(arguments.space, folder, arguments.backbone)
        logger.info("written to %s. Run `python app.py` there to start the page.", arguments.space)
        return
    write_onnx(arguments, folder)


def check(arguments: argparse.Namespace) -> None:
    """Raise an error for arguments that conflict, before anything is loaded."""
    from actionrec.core.errors import DataError

    check_model(arguments.model)
    if arguments.int8 and arguments.only == "head":
        raise DataError("--int8 quantises the backbone, which --only head leaves out. Drop one of them.")
    if (arguments.calibrate or arguments.measure) and not arguments.int8:
        raise DataError("--calibrate and --measure need --int8.")
    if arguments.space and (arguments.int8 or arguments.only or arguments.check or arguments.output or arguments.json):
        raise DataError("--space can be combined only with --model and --backbone.")


def write_onnx(arguments: argparse.Namespace, folder: Path) -> None:
    from actionrec.core import paths
    from actionrec.export import onnx_export, onnx_graph, reference_clips
    from actionrec.inference.predictor import load, videos_in
    from actionrec.io import files
    from actionrec.report import export as texts
    from actionrec.training import bundle

    predictor = load(folder, backbone_file=arguments.backbone, device="cpu")
    labelled = label_clips(arguments, predictor) if arguments.int8 else None  # reports missing clips before the long work
    output = arguments.output or paths.WORK / "export" / predictor.name
    make_writable(output)
    reference = reference_clips.to_check(predictor, videos_in(arguments.check))
    pieces = onnx_graph.trace(predictor)
    answered = onnx_export.answer(pieces, reference.frames)
    weights = files.sha256_of(folder / bundle.WEIGHTS)
    written = []
    for form, name in FILES.items():
        if arguments.only in (None, form):
            path = output / name.format(predictor.name)
            about = onnx_export.metadata(predictor, form, weights)
            check = partial(onnx_export.check, inputs=answered.inputs(form), expected=answered.probabilities)
            result = onnx_export.write(path, pieces.graph(form), about, check)
            written.append(texts.Written(path, about["input"], path.stat().st_size, files.sha256_of(path), result))
    said = [predictor.answer(predictor.extractor(clip)).probabilities for clip in reference.frames]
    from_predict = onnx_export.compare(said, answered.probabilities)
    done = texts.Export(predictor.name, reference.description, written, from_predict, predictor.bundle.features["precision"])
    if not arguments.json:
        say(texts.text(done))
    cost = write_int8(output, predictor, pieces, weights, *labelled) if labelled else None
    if arguments.json:
        say(texts.as_json(done, cost))
    elif cost:
        say(f"\n{texts.cost_text(cost)}")
    logger.info("written to %s", output)


def label_clips(arguments: argparse.Namespace, predictor: "Predictor") -> tuple[list["Clip"], list["Clip"]]:
    """Training clips for calibration and test clips for measuring."""
    from actionrec.export import reference_clips

    training = reference_clips.labelled_clips(predictor, "train", arguments.calibrate or CALIBRATED)
    return training, reference_clips.labelled_clips(predictor, "test", arguments.measure)


def write_int8(
    output: Path, predictor: "Predictor", pieces: "Pieces", weights: str, training: list["Clip"], tested: list["Clip"]
) -> "QuantisationReport":
    """Write the 8-bit model, its accuracy, and in a separate file its speed."""
    from actionrec.core.progress import progress
    from actionrec.export import onnx_export, onnx_int8, reference_clips
    from actionrec.io import files, machine
    from actionrec.report import export as texts

    with progress("Calibrating", len(training), "clip") as advance:
        graph, calibrated = onnx_int8.quantise(pieces, (frames for _, frames in reference_clips.stored_frames(training, advance)))
    place = {label: number for number, label in enumerate(predictor.class_names)}
    with progress("Measuring", len(tested), "clip") as advance:
        clips = ((frames, place[clip.label]) for clip, frames in reference_clips.stored_frames(tested, advance))
        measure = partial(
            onnx_int8.measure, whole=output / FILES["whole"].format(predictor.name), clips=clips, calibrated=calibrated
        )
        about = onnx_export.metadata(predictor, "whole", weights, "int8")
        cost = onnx_export.write(output / f"{predictor.name}-int8.onnx", graph, about, measure)
    files.write_json(output / f"{predictor.name}-int8.json", texts.accuracy(cost))
    files.write_json(output / f"{predictor.name}-int8-timing.json", texts.timing(cost, machine.device_name("cpu")))
    return cost
