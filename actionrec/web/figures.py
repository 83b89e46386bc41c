"""Figures of the project's comparison, if there is one: for the choice of a model, and for the page of results."""

from pathlib import Path
from typing import Any

from actionrec.core import paths
from actionrec.core.errors import DataError
from actionrec.io.files import read_json

TITLES = {
    "accuracy_intervals": "Top-1 with intervals",
    "accuracy_against_cost": "Accuracy against cost",
    "model_comparison": "The models side by side",
    "order_of_frames": "Does the order of frames matter?",
    "reliability": "Can confidence be believed?",
    "risk_coverage": "Risk against coverage",
    "missed_by_all": "Clips that all models miss",
    "suspect_labels": "Which labels are probably wrong?",
    "all_models_grid": "Training of all models",
}
"""Pictures of the comparison, in the order in which they are shown; others come after them by name."""

_SETTING = ("dataset", "protocol", "fold", "folds", "evaluated_folds", "backbone", "weights", "streams", "classes", "test_clips")
_COMPARED = ("rank", "top1", "top1_low", "top1_high", "mean_class", "parameters", "flops", "total_params", "total_flops")
_ABOUT = ("tied_with_best", "order_blind")
_TIMED = ("latency_ms", "memory_mb", "train_seconds", "device")


def of_model(name: str) -> dict[str, Any]:
    """One model's figures; those that were not measured are missing."""
    compared = _models(_read(paths.COMPARISON)).get(name, {})
    timed = _read(paths.model_timing(name)) if compared else {}
    figures = {key: compared[key] for key in (*_COMPARED, *_ABOUT) if key in compared} | {
        key: timed[key] for key in _TIMED if key in timed
    }
    before = _read(paths.CLIP_TIMING)
    steps = [before.get("decode_ms"), before.get("backbone_ms"), figures.get("latency_ms")]
    if figures and all(isinstance(step, int | float) for step in steps):
        figures["total_ms"] = sum(steps)  # from the clip's file to the answer
    return figures


def ranks() -> dict[str, int]:
    """The models' ranks in the comparison, from 1; 0 for the model to deploy."""
    recorded = _read(paths.COMPARISON)
    return {name: 0 if name == recorded.get("best") else one["rank"] for name, one in _models(recorded).items()}


def comparison() -> dict[str, Any]:
    """Setting, models in order of rank, the model to deploy, pictures and texts; no models if there was no comparison."""
    recorded = _read(paths.COMPARISON)
    setting = {key: recorded[key] for key in _SETTING if key in recorded}
    compared = _models(recorded)
    models = sorted(compared, key=lambda name: compared[name]["rank"])
    return {
        "setting": setting,
        "headline": [text for text in recorded.get("headline", []) if isinstance(text, str)],
        "models": [{"model": name, **of_model(name)} for name in models],
        "best": next((name for name in models if name == recorded.get("best")), None),
        "pictures": [
            {"title": title(name), "url": f"/plots/{name}.png", "model": next(iter([m for m in models if name in _of(m)]), None)}
            for name in (pictures() if models else {})
        ],
        "files": [f"/metrics/{path.name}" for path in texts().values()] if models else [],
    }


def dataset() -> str | None:
    """The compared data set; None if there was no comparison."""
    name = _read(paths.COMPARISON).get("dataset")
    return name if isinstance(name, str) else None


def suspect_labels() -> list[str]:
    """Test clips whose label is probably wrong."""
    clips = _read(paths.COMPARISON).get("suspect_labels")
    return [clip for clip in clips if isinstance(clip, str)] if isinstance(clips, list) else []


def pictures() -> dict[str, Path]:
    """The comparison's pictures by name, in the order in which they are shown."""
    plots = {path.stem: path for path in sorted(paths.PLOTS.glob("*.png"))}
    return {name: plots[name] for name in (*TITLES, *plots) if name in plots}


def texts() -> dict[str, Path]:
    """The comparison's files for download, by name."""
    return {path.name: path for path in (paths.REPORT, paths.DETAILS, paths.RESULTS_CSV, paths.COMPARISON) if path.is_file()}


def title(picture: str) -> str:
    """A picture's title.

    >>> title("stacked_lstm_confusion")
    'stacked_lstm: confusion'
    """
    model, _, what = picture.rpartition("_")
    return TITLES.get(picture, f"{model}: {what}" if model else what)


def _of(model: str) -> tuple[str, ...]:
    return f"{model}_confusion", f"{model}_curves"


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _models(comparison: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The entries of the compared models; those without a rank are left out."""
    entries = {name: _mapping(one) for name, one in _mapping(comparison.get("models")).items()}
    return {name: one for name, one in entries.items() if isinstance(one.get("rank"), int)}


def _read(path: Path) -> dict[str, Any]:
    """Read a file of figures; empty if it is missing or damaged, as predictions do not need it."""
    try:
        figures = read_json(path)
    except DataError:
        return {}
    return _mapping(figures)
