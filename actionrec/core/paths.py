"""Where everything lies, relative to the project's root, where every stage runs."""

from pathlib import Path

PARAMS = Path("params.yaml")
PARAMS_CHECKED = Path("data/params_checked.txt")
WORK = Path(".work")
DOWNLOADS = WORK / "downloads"

RAW = Path("data/raw")
ARCHIVES = Path("data/archives.sha256")
WEIGHTS_CHECK = Path("data/weights.txt")
CLIPS = Path("data/clips.csv")
SPLIT = Path("data/split.csv")
FRAMES = Path("data/frames")
FEATURES = Path("data/features")
MODELS = Path("data/models")
PREDICTIONS = Path("data/predictions")

METRICS = Path("metrics")
SPLIT_METRICS = METRICS / "split.json"
FRAME_METRICS = METRICS / "extract_frames.json"
BASELINE_METRICS = METRICS / "baseline.json"
AUDIT = METRICS / "audit.json"
COMPARISON = METRICS / "compare.json"
REPORT = METRICS / "report.md"
RESULTS_CSV = METRICS / "results_table.csv"
RESULTS_TEX = METRICS / "results_table.tex"
CLASS_SCORES = METRICS / "per_class.csv"
CURVES = METRICS / "curves.csv"

PLOTS = Path("plots")


def model_folder(model: str) -> Path:
    """The bundle of a trained model: weights and model.json."""
    return MODELS / model


def predictions(model: str) -> Path:
    """Logits of a trained model for the validation and test clips."""
    return PREDICTIONS / f"{model}.npz"


def model_metrics(model: str) -> Path:
    """Accuracies and counts; the same bytes on every run."""
    return METRICS / model / "metrics.json"


def model_timing(model: str) -> Path:
    """Seconds; different on every run, hence in a file of its own."""
    return METRICS / model / "timing.json"


def model_epochs(model: str) -> Path:
    """DVCLive's folder: one value an epoch."""
    return METRICS / model / "epochs"


BEST = Path("data/best")
"""The bundle of the model that the comparison puts first, and its card."""


def model_card(model: str) -> Path:
    """What a trained model is, and what it is worth, in words and numbers."""
    return METRICS / "cards" / f"{model}.md"
