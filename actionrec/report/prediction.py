"""Output of `actionrec predict` as text, JSON and CSV."""

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from actionrec.core.text import printable
from actionrec.inference.explanation import Explanation
from actionrec.inference.predictor import Prediction, Predictor, Reading
from actionrec.inference.timeline import Moment, Segment, clock
from actionrec.io.files import write_rows_for_spreadsheets
from actionrec.training.bundle import Bundle
from actionrec.video.frame_settings import ONE_FRAME

CLIP_HEADER = ("video", "rank", "label", "probability", "none_of_these")
RUN_HEADER = ("video", "start_seconds", "end_seconds", "answer", "confidence", "windows", "none_of_these")
MOMENT_HEADER = ("start_seconds", "end_seconds", "answer", "confidence", "none_of_these")

_BAR = 24  # characters of a full bar
_LEVELS = "▁▂▃▄▅▆▇█"


def clip_text(video: str, prediction: Prediction, top: int, bundle: Bundle) -> str:
    """The video, the prediction, and bars of the most probable classes."""
    why = f" (below {percent(prediction.threshold)}; perhaps none of the classes)" if prediction.none_of_these else ""
    width = max(len(printable(label)) for label, _ in prediction.top(top))
    bars = [f"  {printable(label):{width}}  {percent(share):>7}  {bar(share)}" for label, share in prediction.top(top)]
    note = "" if bundle.is_calibrated else f"  ({bundle.calibration_note})\n"
    return (
        f"{printable(video)}: {printable(prediction.headline)}{why}\n"
        + "\n".join(bars)
        + f"\n{note}{_reading_note(prediction.reading)}"
    )


def _reading_note(reading: Reading | None) -> str:
    """A remark about a damaged file or too few frames."""
    if reading is None or not (reading.warning or reading.padded):
        return ""
    padded = f"only {reading.frames_read} frames; {reading.padded} of the sampled ones are repeats" if reading.padded else ""
    return f"  ({'; '.join(filter(None, (reading.warning, padded)))})\n"


def attention_text(explanation: Explanation) -> str:
    """A line with a column for each frame's attention and the frame with the most; empty for a model without attention."""
    shares = explanation.attention
    if shares is None:
        return ""
    highest = shares.max()
    columns = "".join(_LEVELS[round(share / highest * (len(_LEVELS) - 1))] for share in shares)
    return f"  attention over time  {columns}  most on frame {explanation.indices[int(shares.argmax())]}: {percent(highest)}\n"


def clip_json(video: str, model: str, prediction: Prediction, top: int, explanation: Explanation | None = None) -> str:
    explained = {"explanation": explanation_fields(explanation)} if explanation else {}
    return _line({"video": video, "model": model, **prediction_fields(prediction, top), **explained})


def prediction_fields(prediction: Prediction, top: int) -> dict[str, Any]:
    """A prediction as a JSON object."""
    return {
        "headline": prediction.headline,
        "answer": prediction.label,
        "none_of_these": prediction.none_of_these,
        "label": prediction.label,
        "confidence": prediction.confidence,
        "threshold": prediction.threshold,
        "top": [{"label": label, "probability": share} for label, share in prediction.top(top)],
        **(asdict(prediction.reading) if prediction.reading else {}),
    }


def explanation_fields(explanation: Explanation) -> dict[str, Any]:
    """The importance of frames and streams, and the attention over time, as a JSON object."""
    streams = {"streams": dict(explanation.streams), "stream_shares": explanation.stream_shares} if explanation.streams else {}
    return {
        "label": explanation.label,
        "frames": list(explanation.indices),
        "importance": explanation.importance.tolist(),
        "attention": None if explanation.attention is None else explanation.attention.tolist(),
        **streams,
    }


def clip_rows(video: str, prediction: Prediction, top: int) -> list[list[Any]]:
    """Rows under CLIP_HEADER."""
    none = _truth(prediction.none_of_these)
    return [[video, rank, label, f"{share:.6f}", none] for rank, (label, share) in enumerate(prediction.top(top), start=1)]


def timeline_text(video: str, runs: Sequence[Segment], warning: str = "") -> str:
    """One line per segment, and a warning if the file is damaged."""
    width = max(len(clock(run.end)) for run in runs)
    lines = [
        f"  {clock(run.start):>{width}} – {clock(run.end):>{width}}  {percent(run.confidence):>7}  {printable(run.headline)}"
        for run in runs
    ]
    lines += [f"  ({warning})"] if warning else []
    return f"{printable(video)}\n" + "\n".join(lines) + "\n"


def timeline_json(video: str, model: str, moments: Sequence[Moment], runs: Sequence[Segment], top: int, reading: Reading) -> str:
    return _line({"video": video, "model": model, **timeline_fields(moments, runs, top, reading)})


def timeline_fields(moments: Sequence[Moment], runs: Sequence[Segment], top: int, reading: Reading) -> dict[str, Any]:
    """A timeline as a JSON object: frames read, the segments, and the windows that they were merged from."""
    return {
        "frames_read": reading.frames_read,
        "warning": reading.warning,
        "runs": [
            {
                "start_seconds": round(run.start, 3),
                "end_seconds": round(run.end, 3),
                "headline": run.headline,
                "answer": run.answer,
                "none_of_these": run.none_of_these,
                "confidence": run.confidence,
                "windows": run.windows,
            }
            for run in runs
        ],
        "windows": [window_fields(one, top) for one in moments],
    }


def window_fields(moment: Moment, top: int) -> dict[str, Any]:
    """A window of a timeline as a JSON object."""
    times = {"start_seconds": round(moment.start, 3), "end_seconds": round(moment.end, 3)}
    return times | prediction_fields(moment.prediction, top)


def run_rows(video: str, runs: Sequence[Segment]) -> list[list[Any]]:
    """Rows under RUN_HEADER."""
    return [
        [
            video,
            f"{run.start:.3f}",
            f"{run.end:.3f}",
            run.answer,
            f"{run.confidence:.6f}",
            run.windows,
            _truth(run.none_of_these),
        ]
        for run in runs
    ]


def moment_text(moment: Moment, top: int) -> str:
    """One line, most probable class first."""
    prediction = moment.prediction
    shares = "  ".join(f"{printable(label)} {percent(share)}" for label, share in prediction.top(top))
    none = "not sure: " if prediction.none_of_these else ""
    return f"{clock(moment.end):>9}  {none}{shares}\n"


def moment_json(moment: Moment, top: int) -> str:
    return _line(window_fields(moment, top))


def moment_row(moment: Moment) -> list[Any]:
    """A row under MOMENT_HEADER."""
    prediction = moment.prediction
    return [
        f"{moment.start:.3f}",
        f"{moment.end:.3f}",
        prediction.label,
        f"{prediction.confidence:.6f}",
        _truth(prediction.none_of_these),
    ]


def model_fields(predictor: Predictor) -> dict[str, Any]:
    """A bundle's description as a JSON object."""
    bundle = predictor.bundle
    return {
        "model": predictor.name,
        "architecture": bundle.architecture.model,
        "arguments": bundle.architecture.arguments,
        "class_names": list(predictor.class_names),
        "backbone": bundle.features["backbone"],
        "weights": bundle.features["weights"],
        "streams": list(predictor.streams),
        "frames": bundle.features["frames"],
        "window_seconds": predictor.default_window,
        "calibration": bundle.calibration,
        "calibration_note": bundle.calibration_note,
        "device": predictor.device,
    }


def model_json(predictor: Predictor) -> str:
    return _line(model_fields(predictor))


def model_text(predictor: Predictor) -> str:
    """A bundle in a few lines."""
    known = model_fields(predictor)
    about = predictor.sampling
    snippets = "" if about.snippet == ONE_FRAME else f" snippets of {about.snippet.phrase}"
    threshold = f"answers are unsure below {percent(predictor.threshold)}" if predictor.threshold else "no threshold"
    return (
        f"{known['model']}: {known['architecture']}, ready on {known['device']}\n"
        f"  frames     {about.count}{snippets} a clip, {about.resolution} x {about.resolution}, {about.format}\n"
        f"  window     {predictor.default_window:g} s, with --window auto\n"
        f"  backbone   {known['backbone']}, weights {known['weights']}, checked\n"
        f"  streams    {', '.join(predictor.streams)}\n"
        f"  confidence temperature {predictor.temperature:.3g}, {predictor.bundle.calibration_note}; {threshold}\n"
        f"  classes    {len(known['class_names'])}: {', '.join(map(printable, known['class_names']))}\n"
    )


def csv_lines(rows: Iterable[Sequence[Any]]) -> str:
    """CSV for spreadsheets; programs should use `--json`, which keeps names unchanged."""
    stream = io.StringIO()
    write_rows_for_spreadsheets(stream, rows)
    return stream.getvalue()


def percent(share: float) -> str:
    """A share as a percentage; values just below 1 are not rounded up to 100 %.

    >>> percent(0.99999)
    '>99.9 %'
    """
    return ">99.9 %" if 0.9995 <= share < 1 else f"{100 * share:.1f} %"


def bar(share: float) -> str:
    """A text bar with a resolution of an eighth of a character."""
    eighths = round(share * _BAR * 8)
    return "█" * (eighths // 8) + ("" if eighths % 8 == 0 else " ▏▎▍▌▋▊▉"[eighths % 8])


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"
