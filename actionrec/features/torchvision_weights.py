"""torchvision's own weights, by name: found in torch's cache or downloaded there, their hash checked.

A download that breaks off is resumed by the next call.
"""

import logging
from pathlib import Path

import torchvision

from actionrec.core.errors import WeightsError
from actionrec.data.download import DownloadError, download, require_connection
from actionrec.features import weights_cache
from actionrec.io.files import sha256_of

logger = logging.getLogger(__name__)


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
    path = weights_cache.folder() / url.rsplit("/", 1)[-1]
    prefix = path.stem.rsplit("-", 1)[-1]
    came = not path.is_file()
    if came:
        logger.info("downloading %s to %s", url, path)
        path.parent.mkdir(parents=True, exist_ok=True)  # also for whoever has to put the file there by hand
        try:
            require_connection(url, weights_cache.PATIENCE_SECONDS)  # minutes of attempts without a network help nobody
            download(url, path)
        except DownloadError as error:
            raise WeightsError(
                f"{error}\nWithout a network, fetch that file elsewhere and put it at {path}; or set features.weights to its path."
            ) from None
    if not sha256_of(path).startswith(prefix):
        what = f"{path} is damaged: its SHA-256 does not start with {prefix}."
        if came:
            path.unlink()
            raise WeightsError(f"{what} It was damaged on its way, or is not the file that {url} should be. Run again.")
        raise WeightsError(f"{what} Remove it, to download it again.")
    return path
