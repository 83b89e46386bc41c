"""What the server tells of a video, step after step: each is short, so that the steps of several people's videos can take turns."""

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
from actionrec.report.prediction import prediction_fields, timeline_fields
from actionrec.video import frame_store
from actionrec.video.clip_reader import timed_frames
from actionrec.video.decoder import Video, open_video, read_header
from actionrec.video.sampling import SampledClip, TimedFrame, evenly_spaced
from actionrec.web import video_limits
from actionrec.web.predict_request import Limits, PredictRequest, RequestError

_SHOWN = 8  # frames of a clip
_MOST_WINDOWS = 2000  # of a film, each as much work as a clip
_MOST_RUNS = 60  # of a timeline that get a picture each
_SIDE, _QUALITY = 160, 85  # of those pictures: pixels, and JPEG's

Step = dict[str, Any]
"""`doing`: a phrase for people, with `seconds` and `of_seconds` of a film; in the end `result`: the answer."""


def steps(find: Callable[[], Predictor], path: Path, name: str, wish: PredictRequest, limits: Limits) -> Iterator[Step]:
    """Predict a video; the last step has the answer, with the same fields as `predict --json`.

    Args:
        find: returns the model, which may have to be loaded.
        name: of the video, for people; its path is never told.

    Raises:
        DataError, VideoError: as the command line has them.
        RequestError: it is too long or too large, or a window of it, or the model is refused.
    """
    predictor = find()
    with _naming(path, name):
        video_limits.check(path, name, limits)
        seconds = _length(path)
        told = {"video": name, "model": predictor.name}
        work = _timeline if wish.window else _clip
        for step in work(predictor, path, name, wish, limits):
            yield {"result": told | step["result"]} if "result" in step else step | {"of_seconds": seconds}


def _clip(predictor: Predictor, path: Path, name: str, wish: PredictRequest, limits: Limits) -> Iterator[Step]:
    yield {"doing": "Decoding"}
    clip = predictor.sample(path)
    if wish.explain:
        yield {"doing": "Finding out which frames mattered, and where in them"}
        found = explanation.explain(predictor, clip)
        prediction = found.prediction
    else:
        yield {"doing": f"Looking at {len(clip.frames)} frames"}
        prediction = predictor.answer(predictor.extractor(clip.frames))
    result = prediction_fields(replace(prediction, reading=reading(clip)), wish.top)
    if wish.explain:
        result["explanation"] = {
            "label": found.label,
            "frames": list(found.indices),
            "importance": found.importance.tolist(),
            "attention": None if found.attention is None else found.attention.tolist(),
        }
    if wish.pictures:
        result["pictures"] = {"seconds": _length(path), "frames": _strip(clip)}
        if wish.explain:
            drawn = explanation_plots.film_strip(found, clip.frames, f"{name}: {prediction.headline}")
            result["pictures"]["explanation"] = _data_url("png", drawn)
    yield {"result": result}


def _timeline(predictor: Predictor, path: Path, name: str, wish: PredictRequest, limits: Limits) -> Iterator[Step]:
    assert wish.window
    stride = wish.stride or wish.window / 2
    if _length(path) > _MOST_WINDOWS * stride:
        raise _too_many_windows(stride)
    kept: dict[int, tuple[float, str]] = {}  # a frame a second

    def watched(video: Video) -> Iterator[TimedFrame]:
        for frame in timed_frames(video, predictor.sampling.resolution):
            if frame.seconds > limits.seconds:  # whatever the header claimed
                raise limits.too_long(name)
            if wish.pictures and int(frame.seconds) not in kept:
                kept[int(frame.seconds)] = frame.seconds, _jpeg(frame.picture)
            yield frame

    found = []
    yield {"doing": "Watching", "seconds": 0.0}
    try:
        with open_video(path) as video:
            for moment in timeline.moments(predictor, watched(video), wish.window, stride):
                found.append(moment)
                if len(found) > _MOST_WINDOWS:  # whatever the header claimed
                    raise _too_many_windows(stride)
                yield {"doing": "Watching", "seconds": moment.end}
            reading = Reading(video.frames_read, 0, video.warning)
    except DataError as error:  # a window with more frames than are held in memory
        raise RequestError(400, str(error).replace("--window", "window")) from None
    runs = timeline.segments(found)
    result = timeline_fields(found, runs, wish.top, reading)
    if wish.pictures:
        middles = [(run.start + run.end) / 2 for run in runs[:_MOST_RUNS]]
        nearest = [min(kept.values(), key=lambda one, middle=middle: abs(one[0] - middle)) for middle in middles]  # type: ignore[misc]
        result["pictures"] = {
            "seconds": runs[-1].end,
            "frames": [{"seconds": round(seconds, 3), "url": url} for seconds, url in nearest],
            "timeline": _data_url("png", timeline_plots.timeline(found, runs, name)),
        }
    yield {"result": result}


def _too_many_windows(stride: float) -> RequestError:
    return RequestError(
        400, f"a stride of {stride:g} s makes more than {_MOST_WINDOWS:,} windows of this video. Choose a longer one."
    )


def _strip(clip: SampledClip) -> list[dict[str, Any]]:
    """Some of a clip's sampled frames, evenly spaced: which each is, and a small JPEG."""
    chosen = sorted(set(evenly_spaced(len(clip.frames), _SHOWN)))
    return [{"frame": clip.indices[place], "url": _jpeg(clip.frames[place])} for place in chosen]


def _jpeg(picture: NDArray[np.uint8]) -> str:
    small = cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return _data_url("jpeg", frame_store.encode_jpeg(np.asarray(small, dtype=np.uint8), _QUALITY))


def _data_url(kind: str, contents: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(contents).decode()}"


def _length(path: Path) -> float:
    """Seconds of a video as its header has it; 0 where it does not tell."""
    header = read_header(path)
    return header.frames / header.frames_per_second if header.frames_per_second else 0.0


@contextmanager
def _naming(path: Path, name: str) -> Iterator[None]:
    """Have errors name the video as its sender does, where the command line would name its path."""
    try:
        yield
    except VideoError as error:
        said = str(error)
        raise VideoError(said.replace(str(path), name) if str(path) in said else f"{name}: {said}.") from None
    except DataError as error:
        raise DataError(str(error).replace(str(path), name)) from None
