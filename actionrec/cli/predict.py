"""`predict`: predict the actions in videos with a trained model."""

import argparse
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from actionrec.cli.terminal import Commands, add, check_model, complain, positive, say

if TYPE_CHECKING:
    from actionrec.inference.explanation import Explanation
    from actionrec.inference.predictor import Predictor
    from actionrec.inference.timeline import Moment

logger = logging.getLogger(__name__)

AUTO = "auto"
NOTHING = "-"


def register(commands: Commands) -> None:
    more = "Takes several files or folders. Use - instead of a video to check the model and describe it."
    command = add(commands, "predict", "predict the actions in videos with a trained model", more)
    command.add_argument("video", nargs="*", metavar="VIDEO", help="a video file, a folder of them, or -")
    command.add_argument("--model", metavar="M", help="a name, or a bundle's folder (default: the model to deploy)")
    command.add_argument("--top", type=positive, default=5, metavar="K", help="number of classes to print (default: 5)")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print a line of JSON for each video")
    form.add_argument(
        "--csv", action="store_true", help="print CSV, one row for each video and class, or for each part of the timeline"
    )
    window = "print a timeline: a prediction for each window of S seconds; auto: as long as the training clips"
    command.add_argument("--window", type=seconds_or_auto, metavar="S", help=f"{window} (default with --camera: auto)")
    stride = "seconds from window to window (default: half a window; with --camera, a quarter)"
    command.add_argument("--stride", type=seconds, metavar="S", help=stride)
    command.add_argument("--plot", type=Path, metavar="PNG", help="write a plot of the timeline")
    command.add_argument(
        "--explain", type=Path, metavar="PNG", help="write a picture of the frames and regions that mattered; print attention"
    )
    command.add_argument("--camera", metavar="N", help="predict live from a camera number, or from a file or URL")
    command.add_argument("--backbone", type=Path, metavar="FILE", help="a file with the backbone's weights, if they are not found")
    command.set_defaults(run=run)


def seconds(text: str) -> float:
    """Argument type: seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds above 0; got {text!r}")
    return value


def seconds_or_auto(text: str) -> float | str:
    """Argument type: seconds above 0, or AUTO."""
    try:
        return AUTO if text == AUTO else seconds(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"expected seconds above 0, or {AUTO}; got {text!r}") from None


def run(arguments: argparse.Namespace) -> None:
    from actionrec.core.errors import DataError

    named = [Path(name) for name in arguments.video if name != NOTHING]
    check(arguments, named)
    from actionrec.inference.predictor import find_bundle, load, videos_in

    videos = videos_in(named)
    if arguments.explain and len(videos) > 1:
        raise DataError(f"--explain takes one video; got {len(videos)}.")
    if arguments.plot and len(videos) > 1:
        raise DataError(f"--plot takes one video; got {len(videos)}.")
    predictor = load(find_bundle(arguments.model), backbone_file=arguments.backbone)
    if arguments.camera is not None:
        watch(arguments, predictor)
    elif not videos:
        describe(arguments, predictor)
    elif arguments.window:
        print_timelines(arguments, predictor, videos)
    else:
        print_predictions(arguments, predictor, videos)


def check(arguments: argparse.Namespace, named: list[Path]) -> None:
    """Raise an error for arguments that conflict, before anything is loaded."""
    from actionrec.core.errors import DataError

    if not arguments.video and arguments.camera is None:
        raise DataError("no video given. Name files or folders, a camera with --camera, or - for no video.")
    if "" in arguments.video:
        raise DataError("a video's name is empty. Name a file or folder, such as . for this one.")
    if named and arguments.camera is not None:
        raise DataError("videos and --camera cannot be combined.")
    if arguments.stride and not arguments.window and arguments.camera is None:
        raise DataError("--stride needs --window, the length of a window in seconds, or auto.")
    if arguments.plot and not (arguments.window and named):
        raise DataError("--plot draws a timeline, and needs a video and --window.")
    if arguments.explain and not named and arguments.camera is None:
        raise DataError("--explain needs a video.")
    if arguments.explain and (arguments.window or arguments.camera is not None):
        raise DataError("--explain needs a whole clip, not a timeline. Cut the piece out of the video, and explain that.")
    for picture in (arguments.plot, arguments.explain):
        if picture and not picture.parent.is_dir():
            raise DataError(f"{picture}: the folder {picture.parent} does not exist.")
        if picture and picture.is_dir():
            raise DataError(f"{picture} is a folder; expected a picture's name, such as {picture / 'picture.png'}.")
    check_model(arguments.model)


def print_predictions(arguments: argparse.Namespace, predictor: "Predictor", videos: list[Path]) -> None:
    """Print one prediction for each video, explained if asked for.

    Errors of unreadable videos are printed at once, and counted at the end.
    """
    from actionrec.core.errors import ActionrecError
    from actionrec.core.progress import progress
    from actionrec.report import prediction as texts

    if arguments.csv:
        say(texts.csv_lines([texts.CLIP_HEADER]))
    failed: list[ActionrecError] = []
    with progress("Predicting", len(videos), "video") as advance:
        for path, answer in predictor.predict_all(videos):
            advance(1)
            if isinstance(answer, ActionrecError):
                failed.append(answer)
                complain(answer)
                continue
            explained = explain(arguments.explain, predictor, path) if arguments.explain else None
            if arguments.json:
                say(texts.clip_json(str(path), predictor.name, answer, arguments.top, explained))
            elif arguments.csv:
                say(texts.csv_lines(texts.clip_rows(str(path), answer, arguments.top)))
            else:
                say(texts.clip_text(str(path), answer, arguments.top, predictor.bundle))
                say(texts.attention_text(explained) if explained else "")
    refuse(failed, len(videos))


def explain(picture: Path, predictor: "Predictor", path: Path) -> "Explanation":
    """Explain the answer for a video, and draw the explanation."""
    from actionrec.inference import explanation
    from actionrec.io import files
    from actionrec.plots import explanation as plots

    clip = predictor.sample(path)
    explained = explanation.explain(predictor, clip)
    with files.whole_file(picture) as draft:
        draft.write_bytes(plots.film_strip(explained, clip.shown[0], f"{path.name}: {explained.prediction.headline}"))
    logger.info("%s shows which frames mattered, and where in them", picture)
    if shares := explained.stream_shares:
        logger.info("what mattered: %s", ", ".join(f"{name} {share:.0%}" for name, share in shares.items()))
    return explained


def print_timelines(arguments: argparse.Namespace, predictor: "Predictor", videos: list[Path]) -> None:
    """Print a timeline for each video."""
    from actionrec.core.errors import ActionrecError, DataError, VideoError
    from actionrec.core.progress import progress
    from actionrec.inference import timeline
    from actionrec.inference.predictor import Reading, check_file
    from actionrec.io import files
    from actionrec.plots import timeline as plots
    from actionrec.report import prediction as texts
    from actionrec.video.clip_reader import timed_frames
    from actionrec.video.decoder import open_video

    window = window_of(arguments, predictor)
    stride = arguments.stride or window / 2
    if arguments.csv:
        say(texts.csv_lines([texts.RUN_HEADER]))
    failed: list[ActionrecError] = []
    for path in videos:
        try:
            check_file(path)
            with progress(f"Predicting {path.name}", None, "window") as advance, open_video(path) as video:
                moments = []
                frames = timed_frames(video, predictor.sampling.resolution, predictor.sampling.fit)
                for moment in timeline.moments(predictor, frames, window, stride):
                    moments.append(moment)
                    advance(1)
                reading = Reading(video.frames_read, 0, video.warning)
        except (VideoError, DataError) as error:
            reason = str(error).removeprefix(f"{path}: ").removesuffix(".")
            failed.append(type(error)(f"{path}: {reason}."))
            complain(failed[-1])
            continue
        except Exception as error:  # a bug in reading one file must not stop the others
            logger.exception("%s: unexpected error", path)
            failed.append(VideoError(f"{path}: unexpected error: {type(error).__name__}: {error}."))
            complain(failed[-1])
            continue
        runs = timeline.segments(moments)
        if arguments.json:
            say(texts.timeline_json(str(path), predictor.name, moments, runs, arguments.top, reading))
        elif arguments.csv:
            say(texts.csv_lines(texts.run_rows(str(path), runs)))
        else:
            say(texts.timeline_text(str(path), runs, reading.warning))
        if arguments.plot:
            with files.whole_file(arguments.plot) as draft:
                draft.write_bytes(plots.timeline(moments, runs, path.name))
    refuse(failed, len(videos))


def window_of(arguments: argparse.Namespace, predictor: "Predictor") -> float:
    """Seconds of a window: as asked for, else the model's default, which is logged."""
    if arguments.window not in (None, AUTO):
        return float(arguments.window)
    logger.info("windows of %g s", predictor.default_window)
    return predictor.default_window


def watch(arguments: argparse.Namespace, predictor: "Predictor") -> None:
    """Print live predictions until the camera ends or Ctrl-C."""
    from actionrec.report import prediction as texts

    if arguments.csv:
        say(texts.csv_lines([texts.MOMENT_HEADER]))
    for moment in live(predictor, arguments.camera, window_of(arguments, predictor), arguments.stride):
        if arguments.json:
            say(texts.moment_json(moment, arguments.top))
        elif arguments.csv:
            say(texts.csv_lines([texts.moment_row(moment)]))
        else:
            say(texts.moment_text(moment, arguments.top))


def live(predictor: "Predictor", source: str, window: float, stride: float | None) -> Iterator["Moment"]:
    """Yield a prediction for the last `window` seconds every `stride` seconds, by default a quarter of the window."""
    from actionrec.core.errors import VideoError
    from actionrec.inference import timeline
    from actionrec.inference.camera import Camera

    stride = stride or window / 4
    due = window
    predictor.extractor  # noqa: B018 - created before the first frame arrives
    sampling = predictor.sampling
    with Camera(source, sampling.resolution, window, sampling.fit) as camera:
        logger.info("watching %s; Ctrl-C ends it", f"camera {source}" if source.isdecimal() else source)
        more = True
        last_seconds = -1.0
        while more:
            seen, more = camera.wait(due)
            if not seen:
                continue
            newest = seen[-1].seconds
            if newest <= last_seconds:
                continue
            last_seconds = newest
            *_, cut = timeline.windows(seen, sampling.count, window, window, sampling.snippet)
            prediction = predictor.answer(predictor.extractor(predictor.stored(cut.pictures)))
            yield timeline.Moment(seen[0].seconds, newest, prediction)
            due = max(due + stride, newest)
    if last_seconds < 0:
        raise VideoError(f"{source} has no frame that can be decoded.")


def describe(arguments: argparse.Namespace, predictor: "Predictor") -> None:
    from actionrec.report import prediction as texts

    say(texts.model_json(predictor) if arguments.json else texts.model_text(predictor))


def refuse(failed: Sequence[Exception], total: int) -> None:
    """Exit with the status of bad input if some videos could not be read. Their errors have already been printed."""
    from actionrec.core.errors import VideoError

    if failed and total == 1:
        raise SystemExit(2)  # the message was printed
    if failed:
        raise VideoError(f"{len(failed)} of {total} videos could not be read; see above.")
