"""Shapes of the answers, used only to describe the API; `report.prediction` and `answers` create the answers."""

from dataclasses import dataclass
from typing import Any

WHY = {
    400: "A field is invalid.",
    403: "The request comes from another site's page.",
    404: "No such model, sample or test clip, or its file is missing.",
    408: "The upload is too slow.",
    413: "The file or its pictures are too large, or the video is too long.",
    415: "The file name does not end like a video's.",
    422: "The file cannot be decoded.",
    500: "The model's files do not match.",
    503: "Too many requests are waiting, or the server is stopping.",
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
class Collected:
    """A saved video."""

    label: str


def require_one_source(document: dict[str, Any]) -> dict[str, Any]:
    """Complete an OpenAPI document: a form has a video, a sample or a clip, and no other fields than it says."""
    for name, form in document["components"]["schemas"].items():
        if name.startswith("Body_predict"):
            sources = [{"required": [source]} for source in ("video", "sample", "clip")]
            form |= {"oneOf": sources, "additionalProperties": False}
    return document


def refusals(*only: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of `POST /predict`, or some of them, as FastAPI's `responses`."""
    content = {"application/json": {"schema": {"type": "object", "properties": {"error": TEXT}, "required": ["error"]}}}
    return {status: {"description": WHY[status], "content": content} for status in only or WHY}


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
