"""Quick check that a backbone's weights are on this machine or can be downloaded, without loading torch."""

import os
from pathlib import Path

from actionrec.core.errors import WeightsError
from actionrec.data.download import DownloadError, require_connection
from actionrec.features.settings import RANDOM, FeatureSettings

HOST = "https://download.pytorch.org/models/"  # has all files that torchvision publishes
PATIENCE_SECONDS = 2.5  # longest wait for a connection to the host


def folder() -> Path:
    """torch's cache of published weights: $TORCH_HOME/hub/checkpoints; TORCH_HOME is ~/.cache/torch by default."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("TORCH_HOME") or f"{cache}/torch").expanduser() / "hub/checkpoints"


def require_weights(settings: FeatureSettings) -> None:
    """Check that the weights file exists, or that its host can be reached. The file is not read.

    Raises:
        WeightsError: neither is so.
    """
    if settings.is_file:
        if not Path(settings.weights).is_file():
            raise WeightsError(f"features.weights: {settings.weights}: the weights file does not exist.")
    elif settings.weights != RANDOM and not _may_be_cached(settings.backbone):
        try:
            require_connection(HOST, PATIENCE_SECONDS)
        except DownloadError as error:
            raise WeightsError(
                f"features.weights: {settings.weights} of {settings.backbone} is not in {folder()}, and {error}\n"
                "Without a network, run `python -m stages.weights` on a machine with one and copy the file from that folder to the "
                "same folder here, or set features.weights to the path of a file."
            ) from None


def _may_be_cached(backbone: str) -> bool:
    """Whether a cached file's name starts like the backbone's, ignoring punctuation and a final 0 (torchvision has x1 for x1_0)."""
    start = _letters(backbone).rstrip("0")
    return any(_letters(path.stem).startswith(start) for path in folder().glob("*.pth"))


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))
