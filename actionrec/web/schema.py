"""Shapes of the answers, used only to describe the API; `report.prediction` and `answers` create the answers."""

from dataclasses import dataclass
from typing import Any

from fastapi.responses import FileResponse

from actionrec.web.collected_clips import LONGEST_LABEL

_BUSY = 503

WHY = {
    400: "A field is invalid.",
    403: "The request comes from another site's page.",
    404: "No such model, sample or test clip, or its file is missing.",
    408: "The upload is too slow.",
    413: "The file or its pictures are too large, or the video is too long.",
    415: "The file name does not end like a video's.",
    422: "The file cannot be decoded.",
    500: "The model cannot be used, or the server failed.",
    _BUSY: "Too many requests are waiting, or the server is stopping.",
}
"""Status of a refused request -> why."""

TEXT = {"type": "string"}

FIELDS = ("video", "sample", "clip", "model", "top", "window", "stride", "start", "end", "explain", "pictures", "preview")
"""Fields of the form of `POST /predict`."""
QUERY = ("models",)
"""Parameters of its address."""


@dataclass
class Share:
    """A class and its probability."""

    label: str
    probability: float


@dataclass
class Answer:
    """A model's answer for some frames."""

    headline: str
    answer: str
    none_of_these: bool
    label: str
    confidence: float
    threshold: float
    top: list[Share]


@dataclass
class TimelineWindow(Answer):
    """The answer for one window of a video."""

    start_seconds: float
    end_seconds: float


@dataclass
class TimelineSegment:
    """Neighbouring windows of a video with the same answer."""

    start_seconds: float
    end_seconds: float
    headline: str
    answer: str
    none_of_these: bool
    confidence: float
    windows: int


@dataclass
class FrameExplanation:
    """Which of a clip's frames mattered to the label."""

    label: str
    frames: list[int]
    seconds: list[float]
    importance: list[float]
    attention: list[float] | None
    streams: dict[str, float] | None = None
    stream_shares: dict[str, float] | None = None


@dataclass
class Frame:
    """A frame as a data URL, with its time in the video."""

    url: str
    seconds: float


@dataclass
class Pictures:
    """Frames as data URLs, the video's length in seconds, and the width of its pictures divided by their height."""

    seconds: float
    aspect: float
    frames: list[Frame]
    regions: list[Frame] | None = None


@dataclass(kw_only=True)
class ClipAnswer(Answer):
    """The answer without `window`."""

    video: str
    model: str
    frames_read: int
    padded: int
    warning: str
    start_seconds: float | None = None
    end_seconds: float | None = None
    explanation: FrameExplanation | None = None
    pictures: Pictures | None = None


@dataclass(kw_only=True)
class TimelineAnswer:
    """The answer with `window`."""

    video: str
    model: str
    frames_read: int
    warning: str
    runs: list[TimelineSegment]
    windows: list[TimelineWindow]
    pictures: Pictures | None = None


@dataclass(kw_only=True)
class ModelAnswer:
    """One model's answer, or why it has none."""

    model: str
    error: str | None = None
    headline: str | None = None
    answer: str | None = None
    none_of_these: bool | None = None
    label: str | None = None
    confidence: float | None = None
    threshold: float | None = None
    top: list[Share] | None = None
    frames_read: int | None = None
    padded: int | None = None
    warning: str | None = None


@dataclass(kw_only=True)
class AllAnswers:
    """The answer with `?models=all`."""

    video: str
    answers: list[ModelAnswer]
    pictures: Pictures | None = None


@dataclass
class SampleClip:
    """A clip to try."""

    sample: int
    label: str
    video: str
    thumbnail: str


@dataclass
class Collected:
    """A saved video."""

    label: str


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """Add to an OpenAPI document what FastAPI does not know: the rules between the fields of a form."""
    forms = {name.split("_")[1]: form for name, form in document["components"]["schemas"].items() if name.startswith("Body_")}
    for form in forms.values():
        form["additionalProperties"] = False
        for field in form["properties"].values():
            _remove_null(field)
    for operation in (operation for methods in document["paths"].values() for operation in methods.values()):
        for parameter in operation.get("parameters", ()):
            _remove_null(parameter["schema"])
    forms["predict"] |= _PREDICT_RULES
    if "collect" in forms:
        forms["collect"]["required"] = ["video", "label", "consent"]
        forms["collect"]["properties"]["label"] |= {"minLength": 1, "maxLength": LONGEST_LABEL}
        forms["collect"]["properties"]["consent"]["const"] = True
    return document


_PREDICT_RULES: dict[str, Any] = {
    "oneOf": [{"required": [source]} for source in ("video", "sample", "clip")],
    "dependentRequired": {"stride": ["window"], "start": ["end"], "end": ["start"]},
    "allOf": [
        {"not": {"required": ["window", "start"]}},
        {"not": {"required": ["window", "explain"], "properties": {"explain": {"const": True}}}},
    ],
}


def _remove_null(schema: dict[str, Any]) -> None:
    """Remove the alternative null, which neither a form nor an address can send."""
    kinds = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if len(kinds) == 1:
        del schema["anyOf"]
        schema |= kinds[0]


def refusals(*only: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of `POST /predict`, or some of them, as FastAPI's `responses`."""
    content = {"application/json": {"schema": {"type": "object", "properties": {"error": TEXT}, "required": ["error"]}}}
    answers: dict[int | str, dict[str, Any]] = {status: {"description": WHY[status], "content": content} for status in only or WHY}
    if _BUSY in answers:
        seconds = {"description": "Seconds after which to try again.", "required": True, "schema": {"type": "integer"}}
        answers[_BUSY] = {**answers[_BUSY], "headers": {"Retry-After": seconds}}
    return answers


def files(media_type: str) -> dict[str, Any]:
    """Arguments of a route that sends a file of a type, such as video/mp4, or a range of its bytes."""
    content = {media_type: {"schema": {"type": "string", "contentMediaType": media_type}}}
    sent: dict[int | str, dict[str, Any]] = {
        200: {"description": "The file.", "content": content},
        206: {"description": "The range of bytes that the request names.", "content": content},
        416: {"description": "The file does not have this range."},
    }
    return {"response_class": FileResponse, "responses": {**sent, **refusals(400, 404, 422, 500)}}


def lines() -> dict[str, Any]:
    """JSON Schema of a line of the streamed answer, with references to the shapes above."""
    shapes = [{"$ref": f"#/components/schemas/{one.__name__}"} for one in (ClipAnswer, TimelineAnswer, AllAnswers)]
    times = {name: {"type": "number"} for name in ("seconds", "of_seconds")}
    window = {"$ref": "#/components/schemas/TimelineWindow"}
    waits = {"place": {"type": "integer"}, "preview": TEXT}
    return {
        "description": "One line for each step; the last line has only `result` or `error`.",
        "type": "object",
        "properties": {"doing": TEXT, **waits, **times, "window": window, "result": {"anyOf": shapes}, "error": TEXT},
    }
