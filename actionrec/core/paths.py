"""Paths of the project's files and folders, relative to its root, where every stage runs."""

from pathlib import Path

PARAMS = Path("params.yaml")
PARAMS_CHECKED = Path("data/params_checked.txt")
WORK = Path(".work")
DOWNLOADS = WORK / "downloads"
HASHES = WORK / "hashes.sqlite"
"""Hashes of clips that have not changed; see actionrec.io.hash_memory."""

RAW = Path("data/raw")
ARCHIVES = Path("data/archives.sha256")
WEIGHTS_CHECK = Path("data/weights.txt")
CLIPS = Path("data/clips.csv")
TAR_MEMBERS = Path("data/tar_members.csv")
"""Where clips are in tar shards."""
SPLIT = Path("data/split.csv")
OTHER_FOLDS = Path("data/other_folds.csv")
FRAMES = Path("data/frames")
CLIP_SECONDS = Path("data/clip_seconds.csv")
BACKBONE = Path("data/backbone")
"""The tuned backbone, or a note that it is not tuned; see actionrec.features.tuned_backbone."""
FEATURES = Path("data/features")
MODELS = Path("data/models")
PREDICTIONS = Path("data/predictions")

METRICS = Path("metrics")
SPLIT_METRICS = METRICS / "split.json"
FRAME_METRICS = METRICS / "extract_frames.json"
AUDIT = METRICS / "audit.json"
FINETUNE_METRICS = METRICS / "finetune.json"
FINETUNE_TIMING = METRICS / "finetune_timing.json"  # differs on every run
CLIP_COST = METRICS / "clip_cost.json"
CLIP_TIMING = METRICS / "clip_timing.json"  # differs on every run
COMPARISON = METRICS / "compare.json"
SUMMARY = METRICS / "summary.json"
REPORT = METRICS / "report.md"
DETAILS = METRICS / "details.md"
RESULTS_CSV = METRICS / "results_table.csv"
RESULTS_TEX = METRICS / "results_table.tex"
CLASS_SCORES = METRICS / "per_class.csv"
SUSPECT_LABELS = METRICS / "suspect_labels.csv"
CURVES = METRICS / "curves.csv"

PLOTS = Path("plots")


def model_folder(model: str) -> Path:
    """Folder of a trained model's bundle: weights and model.json."""
    return MODELS / model


def predictions(model: str) -> Path:
    """Logits of a trained model for the validation and test clips."""
    return PREDICTIONS / f"{model}.npz"


def model_metrics(model: str) -> Path:
    """Accuracies and counts. Every run writes the same bytes."""
    return METRICS / model / "metrics.json"


def model_timing(model: str) -> Path:
    """Training times. They differ from run to run, so they have a separate file."""
    return METRICS / model / "timing.json"


def model_epochs(model: str) -> Path:
    """DVCLive's folder: metrics of each epoch."""
    return METRICS / model / "epochs"


BEST = Path("data/best")
"""Bundle and model card of the model that ranks first in the comparison."""


def model_card(model: str) -> Path:
    """A trained model's card."""
    return METRICS / "cards" / f"{model}.md"


DATASET_CARD = METRICS / "cards" / "DATASET.md"
