"""Predictions for the page, in short steps, so that the steps of several requests can be interleaved."""

import base64
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from actionrec.core.errors import DataError, VideoError
from actionrec.inference import explanation, timeline
from actionrec.inference.explanation import Explanation
from actionrec.inference.predictor import Predictor, Reading, reading
from actionrec.plots.explanation import overlaid, shown_frames
from actionrec.report.prediction import explanation_fields, prediction_fields, timeline_fields, window_fields
from actionrec.video import frame_store
from actionrec.video.clip_reader import read_frame, sample_piece, timed_frames
from actionrec.video.decoder import Video, open_video, read_header
from actionrec.video.frame_settings import Sampling
from actionrec.video.sampling import DEFAULT_RATE, SampledClip, TimedFrame, evenly_spaced
from actionrec.web import video_limits
from actionrec.web.model_registry import ModelRegistry
from actionrec.web.predict_request import Limits, PredictRequest, RequestError

_SHOWN_FRAMES = 8  # of a clip
_MOST_WINDOWS = 2000  # of a timeline; each is as much work as a clip
_MOST_RUNS = 60  # runs of a timeline that get a picture
_SMALL, _LARGE = 160, 320  # pixels of frames, and of frames with a heat map: at most
_QUALITY = 85

Step = dict[str, Any]
"""`doing`: the work in words, with `place` in the queue, or `seconds`, `of_seconds` and `window` of a timeline. `preview`: where it
can be fetched. In the last step `result`: the answer."""


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
        answers: list[dict[str, Any]] = []
        for place, model in enumerate(registry.names, start=1):
            yield {"doing": f"Asking {model}, model {place} of {len(registry.names)}"}
            try:
                predictor = registry.predictor(model)
            except RequestError as error:
                answers.append({"model": model, "error": str(error)})
                continue
            if predictor.sampling not in clips:
                clips[predictor.sampling] = predictor.sample(path)
            clip = clips[predictor.sampling]
            key = predictor.sampling, id(predictor.extractor)  # the registry shares those of equal backbones
            if key not in features:
                features[key] = predictor.extractor(clip.pictures)
            prediction = predictor.answer(features[key])
            answers.append({"model": model, **prediction_fields(replace(prediction, reading=reading(clip)), options.top)})
        result: dict[str, Any] = {"video": name, "answers": answers}
        if options.pictures and clips:
            result["pictures"] = _pictures(path, next(iter(clips)), next(iter(clips.values())))
        yield {"result": result}


def _clip(predictor: Predictor, path: Path, name: str, options: PredictRequest, limits: Limits) -> Iterator[Step]:
    yield {"doing": "Decoding"}
    times = None
    if options.start is None or options.end is None:
        clip, between = predictor.sample(path), {}
    else:
        clip, times = sample_piece(path, options.start, options.end, predictor.sampling, limits.seconds)
        clip = replace(clip, frames=predictor.stored(clip.frames))
        between = {"start_seconds": options.start, "end_seconds": options.end}
    if options.explain:
        yield {"doing": "Explaining which frames mattered, and where in them"}
        explained = explanation.explain(predictor, clip)
        prediction = explained.prediction
    else:
        yield {"doing": f"Predicting from {len(clip.frames)} frames"}
        prediction = predictor.answer(predictor.extractor(clip.pictures))
    result = between | prediction_fields(replace(prediction, reading=reading(clip)), options.top)
    if options.pictures:
        result["pictures"] = _pictures(path, predictor.sampling, clip, times)
    if options.explain:
        result["explanation"] = explanation_fields(explained) | {"seconds": _times(path, clip, times)}
        if options.pictures and explained.heat is not None:
            result["pictures"]["regions"] = _regions(explained, clip, _times(path, clip, times))
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
                kept[int(frame.seconds)] = frame.seconds, _jpeg(frame.picture, _SMALL)
            yield frame

    moments = []
    yield {"doing": "Predicting windows", "seconds": 0.0}
    try:
        with open_video(path) as video:
            for moment in timeline.moments(predictor, limited(video), options.window, stride):
                moments.append(moment)
                if len(moments) > _MOST_WINDOWS:  # the header may be wrong
                    raise _too_many_windows(stride)
                window = window_fields(moment, options.top)
                yield {"doing": "Predicting windows", "seconds": moment.end, "window": window}
            reading = Reading(video.frames_read, 0, video.warning)
    except DataError as error:  # a window with more frames than are held in memory
        raise RequestError(400, str(error).replace("--window", "window")) from None
    runs = timeline.segments(moments)
    result = timeline_fields(moments, runs, options.top, reading)
    if options.pictures:
        middles = [(run.start + run.end) / 2 for run in runs[:_MOST_RUNS]]
        nearest = {min(kept, key=lambda one, middle=middle: abs(kept[one][0] - middle)) for middle in middles}  # type: ignore[misc]
        result["pictures"] = {
            "seconds": runs[-1].end,
            "aspect": _aspect(path, predictor.sampling),
            "frames": [{"seconds": round(kept[one][0], 3), "url": kept[one][1]} for one in sorted(nearest)],
        }
    yield {"result": result}


def _too_many_windows(stride: float) -> RequestError:
    return RequestError(
        400, f"with a stride of {stride:g} s, this video has more than {_MOST_WINDOWS:,} windows. Choose a longer stride."
    )


def _pictures(path: Path, sampling: Sampling, clip: SampledClip, times: Sequence[float] | None = None) -> dict[str, Any]:
    """Some of a clip's sampled frames, evenly spaced, as small JPEGs."""
    frames, seconds = clip.shown[0], _times(path, clip, times)
    chosen = sorted(set(evenly_spaced(len(frames), _SHOWN_FRAMES)))
    return {
        "seconds": _length(path),
        "aspect": _aspect(path, sampling),
        "frames": [{"seconds": seconds[place], "url": _jpeg(frames[place], _SMALL)} for place in chosen],
    }


def _regions(explained: Explanation, clip: SampledClip, seconds: Sequence[float]) -> list[dict[str, Any]]:
    """The most important frames with a heat map of their regions over them, in order of time."""
    frames = clip.shown[0]
    assert explained.heat is not None
    return [
        {"seconds": seconds[place], "url": _jpeg(overlaid(_enlarged(frames[place]), explained.heat[place]), _LARGE)}
        for place in shown_frames(explained.importance)
    ]


def _enlarged(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame of at least _LARGE pixels, on which a heat map is smooth."""
    if len(frame) >= _LARGE:
        return frame
    return np.asarray(cv2.resize(frame, (_LARGE, _LARGE), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _times(path: Path, clip: SampledClip, times: Sequence[float] | None) -> list[float]:
    """Seconds of a clip's shown frames: as decoded, else from their numbers and the rate in the file's header."""
    indices = clip.shown[1]
    if times is not None:
        by_index = dict(zip(clip.indices, times, strict=True))
        return [round(by_index[index], 3) for index in indices]
    rate = read_header(path).frames_per_second or DEFAULT_RATE
    return [round(index / rate, 3) for index in indices]


def _aspect(path: Path, sampling: Sampling) -> float:
    """Width divided by height of what the model's square frames show."""
    if sampling.fit != "squash":
        return 1.0
    try:
        height, width = read_frame(path, 0).shape[:2]
    except VideoError:  # the first frame may be damaged
        return 1.0
    return round(width / height, 4)


def _jpeg(picture: NDArray[np.uint8], side: int) -> str:
    small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA) if len(picture) > side else picture
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
