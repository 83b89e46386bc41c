"""Where torchvision's weights lie on this machine, and whether they can be had: told within seconds, without loading torch."""

import os
from pathlib import Path

from actionrec.core.errors import WeightsError
from actionrec.data.download import DownloadError, require_connection
from actionrec.features.settings import RANDOM, FeatureSettings

HOST = "https://download.pytorch.org/models/"  # of all files that torchvision publishes
PATIENCE_SECONDS = 2.5  # for the host to take a connection


def folder() -> Path:
    """torch's cache of published weights: $TORCH_HOME/hub/checkpoints, by default below ~/.cache/torch."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("TORCH_HOME") or f"{cache}/torch").expanduser() / "hub/checkpoints"


def require_weights(settings: FeatureSettings) -> None:
    """Make sure that there is a file of weights, or a network to fetch it over; what is in it is not looked at.

    Raises:
        WeightsError: there is neither.
    """
    if settings.is_file:
        if not Path(settings.weights).is_file():
            raise WeightsError(f"features.weights: {settings.weights}: no such weights file.")
    elif settings.weights != RANDOM and not _may_be_cached(settings.backbone):
        try:
            require_connection(HOST, PATIENCE_SECONDS)
        except DownloadError as error:
            raise WeightsError(
                f"features.weights: {settings.weights} of {settings.backbone} is not in {folder()}, and {error}\n"
                "Without a network, run `python -m stages.weights` on a machine that has one, and copy the file from that folder "
                "there to the one here; or set features.weights to the path of a file."
            ) from None


def _may_be_cached(backbone: str) -> bool:
    """Whether a file's name begins like the backbone's: torchvision's do, but for punctuation and x1 in place of x1_0."""
    start = _letters(backbone).rstrip("0")
    return any(_letters(path.stem).startswith(start) for path in folder().glob("*.pth"))


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))
