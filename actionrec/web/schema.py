"""The answers' shape, for the description of the API alone: what is sent is made by `report.prediction` and `answers`."""

from dataclasses import dataclass
from typing import Any

WHY = {
    400: "A field is wrong.",
    403: "A page elsewhere asks.",
    404: "No such model or sample.",
    408: "The upload is too slow.",
    413: "The file or its pictures are too large, or the video is too long.",
    415: "The file's name is not a video's.",
    422: "The file cannot be decoded.",
    500: "The model's files do not fit each other.",
    503: "Too many are waiting, or the server ends.",
}
"""Statuses of refusals."""

TEXT = {"type": "string"}


@dataclass
class Share:
    """A class and its probability."""

    label: str
    probability: float


@dataclass
class Answer:
    """What a model says of some frames."""

    headline: str
    answer: str
    none_of_these: bool
    label: str
    confidence: float
    threshold: float
    top: list[Share]


@dataclass
class TimelineWindow(Answer):
    """An answer for a piece of a film."""

    start_seconds: float
    end_seconds: float


@dataclass
class TimelineSegment:
    """A stretch of a film with one answer."""

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
    importance: list[float]
    attention: list[float] | None


@dataclass
class Frame:
    """A picture as a data URL, with its number in a clip or its time in a film."""

    url: str
    frame: int | None = None
    seconds: float | None = None


@dataclass
class Pictures:
    """Frames and plots, as data URLs."""

    seconds: float
    frames: list[Frame]
    explanation: str | None = None
    timeline: str | None = None


@dataclass(kw_only=True)
class ClipAnswer(Answer):
    """The answer without `window`."""

    video: str
    model: str
    frames_read: int
    padded: int
    warning: str
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


def refusals(*only: int) -> dict[int | str, dict[str, Any]]:
    """Statuses of refusals, those of `POST /predict` or some of them, as FastAPI takes descriptions of responses."""
    content = {"application/json": {"schema": {"type": "object", "properties": {"error": TEXT}, "required": ["error"]}}}
    return {status: {"description": WHY[status], "content": content} for status in only or WHY}


def lines() -> dict[str, Any]:
    """A line of the answer to those who want to hear of each step: JSON Schema beside the shapes above, as FastAPI names them."""
    shapes = [{"$ref": f"#/components/schemas/{one.__name__}"} for one in (ClipAnswer, TimelineAnswer)]
    times = {name: {"type": "number"} for name in ("seconds", "of_seconds")}
    return {
        "description": "A line a step of the work; the last one has `result` or `error` alone.",
        "type": "object",
        "properties": {"doing": TEXT, **times, "result": {"anyOf": shapes}, "error": TEXT},
    }
