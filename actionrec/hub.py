"""torchvision's own weights, by name: found in torch's cache or downloaded there, their hash checked."""

import http.client
import logging
import socket
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torchvision

from actionrec.errors import WeightsError
from actionrec.files import sha256_of

logger = logging.getLogger(__name__)

SECONDS_WITHOUT_AN_ANSWER = 30.0


def weights_file(backbone: str, name: str) -> Path:
    """The file of a backbone's weights in torch's cache ($TORCH_HOME/hub/checkpoints), downloaded if need be.

    Args:
        name: such as IMAGENET1K_V1.

    Raises:
        WeightsError: no weights of that name, a download that fails, or a file whose hash is not the one in its name.
    """
    known = torchvision.models.get_model_weights(backbone)
    try:
        url = known[name].url
    except KeyError:
        names = ", ".join(["random", *known.__members__])
        raise WeightsError(f"features.weights: {backbone} has no weights {name!r}; wanted one of {names}, or a path.") from None
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    prefix = path.stem.rsplit("-", 1)[-1]
    if not path.is_file():
        logger.info("downloading %s to %s", url, path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _timeout(SECONDS_WITHOUT_AN_ANSWER):
                torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix)
        except (urllib.error.URLError, http.client.HTTPException, OSError, RuntimeError) as error:
            raise WeightsError(
                f"{url} cannot be downloaded ({error}). On a machine with network, fetch that file and put it at {path}; "
                "or set features.weights to its path."
            ) from None
    if not sha256_of(path).startswith(prefix):
        raise WeightsError(f"{path} is damaged: its SHA-256 does not start with {prefix}. Remove it, to download it again.")
    return path


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """Limit each wait for the network; torch's download would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
