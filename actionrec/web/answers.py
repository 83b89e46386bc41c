"""Predictions for the page, in short steps, so that the steps of several requests can be interleaved."""

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from actionrec.core.errors import DataError, VideoError
from actionrec.inference import explanation, timeline
from actionrec.inference.predictor import Predictor, Reading, reading
from actionrec.plots import explanation as explanation_plots
from actionrec.plots import timeline as timeline_plots
from actionrec.report.prediction import explanation_fields, prediction_fields, timeline_fields
from actionrec.video import frame_store
from actionrec.video.clip_reader import timed_frames
from actionrec.video.decoder import Video, open_video, read_header
from actionrec.video.frame_settings import Sampling
from actionrec.video.sampling import SampledClip, TimedFrame, evenly_spaced
from actionrec.web import video_limits
from actionrec.web.model_registry import ModelRegistry
from actionrec.web.predict_request import Limits, PredictRequest, RequestError

_SHOWN_FRAMES = 8  # of a clip
_MOST_WINDOWS = 2000  # of a timeline; each is as much work as a clip
_MOST_RUNS = 60  # runs of a timeline that get a picture
_SIDE, _QUALITY = 160, 85  # of the pictures: pixels, and JPEG quality

Step = dict[str, Any]
"""`doing`: the work in words, with `seconds` and `of_seconds` of a timeline; in the last step `result`: the answer."""


def steps(load: Callable[[], Predictor], path: Path, name: str, options: PredictRequest, limits: Limits) -> Iterator[Step]:
    """Predict a video; the last step has the answer, with the same fields as `predict --json`.

    Args:
        load: returns the model; loads it if necessary.
        path: of the video.
        name: of the video, for the answer and for errors, which never show its path.
        options: of the prediction.
        limits: of the video.

    Raises:
        DataError, VideoError: as on the command line.
        RequestError: the video or a window is too long or too large, or the model is damaged.
    """
    predictor = load()
    with _errors_with(name, path):
        video_limits.check(path, name, limits)
        seconds = _length(path)
        common = {"video": name, "model": predictor.name}
        work = _timeline if options.window else _clip
        for step in work(predictor, path, name, options, limits):
            yield {"result": common | step["result"]} if "result" in step else step | {"of_seconds": seconds}


def steps_of_all(registry: ModelRegistry, path: Path, name: str, options: PredictRequest, limits: Limits) -> Iterator[Step]:
    """Predict a clip with all models; the last step has their answers, in the order of the registry.

    The clip is decoded once for each way of sampling frames, and a backbone runs once for all models that share it. A model that
    cannot be used has an error instead of an answer.

    Args:
        path, name, options, limits: as for `steps`.

    Raises:
        DataError, VideoError, RequestError: as for `steps`.
    """
    with _errors_with(name, path):
        video_limits.check(path, name, limits)
        clips: dict[Sampling, SampledClip] = {}
        features: dict[tuple[Sampling, int], NDArray[np.float16]] = {}
        found: list[dict[str, Any]] = []
        for place, model in enumerate(registry.names, start=1):
            yield {"doing": f"Asking {model}, model {place} of {len(registry.names)}"}
            try:
                predictor = registry.predictor(model)
            except RequestError as error:
                found.append({"model": model, "error": str(error)})
                continue
            if predictor.sampling not in clips:
                clips[predictor.sampling] = predictor.sample(path)
            clip = clips[predictor.sampling]
            key = predictor.sampling, id(predictor.extractor)  # the registry shares those of equal backbones
            if key not in features:
                features[key] = predictor.extractor(clip.pictures)
            prediction = predictor.answer(features[key])
            found.append({"model": model, **prediction_fields(replace(prediction, reading=reading(clip)), options.top)})
        result: dict[str, Any] = {"video": name, "answers": found}
        if options.pictures and clips:
            result["pictures"] = {"seconds": _length(path), "frames": _strip(next(iter(clips.values())))}
        yield {"result": result}


def _clip(predictor: Predictor, path: Path, name: str, options: PredictRequest, limits: Limits) -> Iterator[Step]:
    yield {"doing": "Decoding"}
    clip = predictor.sample(path)
    if options.explain:
        yield {"doing": "Explaining which frames mattered, and where in them"}
        explained = explanation.explain(predictor, clip)
        prediction = explained.prediction
    else:
        yield {"doing": f"Predicting from {len(clip.frames)} frames"}
        prediction = predictor.answer(predictor.extractor(clip.pictures))
    result = prediction_fields(replace(prediction, reading=reading(clip)), options.top)
    if options.explain:
        result["explanation"] = explanation_fields(explained)
    if options.pictures:
        result["pictures"] = {"seconds": _length(path), "frames": _strip(clip)}
        if options.explain:
            drawn = explanation_plots.film_strip(explained, clip.shown[0], f"{name}: {prediction.headline}")
            result["pictures"]["explanation"] = _data_url("png", drawn)
    yield {"result": result}


def _timeline(predictor: Predictor, path: Path, name: str, options: PredictRequest, limits: Limits) -> Iterator[Step]:
    assert options.window
    stride = options.stride or options.window / 2
    if _length(path) > _MOST_WINDOWS * stride:
        raise _too_many_windows(stride)
    kept: dict[int, tuple[float, str]] = {}  # second -> its first frame

    def limited(video: Video) -> Iterator[TimedFrame]:
        for frame in timed_frames(video, predictor.sampling.resolution, predictor.sampling.fit):
            if frame.seconds > limits.seconds:  # the header may be wrong
                raise limits.too_long(name)
            if options.pictures and int(frame.seconds) not in kept:
                kept[int(frame.seconds)] = frame.seconds, _jpeg(frame.picture)
            yield frame

    moments = []
    yield {"doing": "Predicting windows", "seconds": 0.0}
    try:
        with open_video(path) as video:
            for moment in timeline.moments(predictor, limited(video), options.window, stride):
                moments.append(moment)
                if len(moments) > _MOST_WINDOWS:  # the header may be wrong
                    raise _too_many_windows(stride)
                yield {"doing": "Predicting windows", "seconds": moment.end}
            reading = Reading(video.frames_read, 0, video.warning)
    except DataError as error:  # a window with more frames than are held in memory
        raise RequestError(400, str(error).replace("--window", "window")) from None
    runs = timeline.segments(moments)
    result = timeline_fields(moments, runs, options.top, reading)
    if options.pictures:
        middles = [(run.start + run.end) / 2 for run in runs[:_MOST_RUNS]]
        nearest = [min(kept.values(), key=lambda one, middle=middle: abs(one[0] - middle)) for middle in middles]  # type: ignore[misc]
        result["pictures"] = {
            "seconds": runs[-1].end,
            "frames": [{"seconds": round(seconds, 3), "url": url} for seconds, url in nearest],
            "timeline": _data_url("png", timeline_plots.timeline(moments, runs, name)),
        }
    yield {"result": result}


def _too_many_windows(stride: float) -> RequestError:
    return RequestError(
        400, f"with a stride of {stride:g} s, this video has more than {_MOST_WINDOWS:,} windows. Choose a longer stride."
    )


def _strip(clip: SampledClip) -> list[dict[str, Any]]:
    """Some of a clip's sampled frames, evenly spaced: their numbers and small JPEGs."""
    frames, indices = clip.shown
    chosen = sorted(set(evenly_spaced(len(frames), _SHOWN_FRAMES)))
    return [{"frame": indices[place], "url": _jpeg(frames[place])} for place in chosen]


def _jpeg(picture: NDArray[np.uint8]) -> str:
    small = cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return _data_url("jpeg", frame_store.encode_jpeg(np.asarray(small, dtype=np.uint8), _QUALITY))


def _data_url(kind: str, contents: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(contents).decode()}"


def _length(path: Path) -> float:
    """Seconds of a video by its header; 0 if unknown."""
    header = read_header(path)
    return header.frames / header.frames_per_second if header.frames_per_second else 0.0


@contextmanager
def _errors_with(name: str, path: Path) -> Iterator[None]:
    """Replace the path in errors by the name under which the video was sent."""
    try:
        yield
    except VideoError as error:
        message = str(error)
        raise VideoError(message.replace(str(path), name) if str(path) in message else f"{name}: {message}.") from None
    except DataError as error:
        raise DataError(str(error).replace(str(path), name)) from None
